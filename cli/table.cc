#include "cli/table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

constexpr size_t kCellBytesMax = 300;

std::string Cell(const std::string& text) {
  return text.empty() ? "-" : Printable(text, kCellBytesMax);
}

}  // namespace

std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const Column& column : columns) widths.push_back(column.title.size());
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < columns.size(); ++i) {
      widths[i] = std::max(widths[i], Cell(row[i]).size());
    }
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string cell = cell_of(i);
      const std::string padding(widths[i] - cell.size(), ' ');
      if (i > 0) line += "  ";
      line += columns[i].number ? padding + cell : cell + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](size_t i) { return columns[i].title; });
  for (const std::vector<std::string>& row : rows) {
    add_line([&](size_t i) { return Cell(row[i]); });
  }
  return text;
}

std::string FormatJson(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

CLI::Option* AddFormat(CLI::App& command, std::string& format,
                       const std::vector<std::string>& formats) {
  return command
      .add_option("-o,--output-format", format, absl::StrJoin(formats, ", "))
      ->check(CLI::IsMember(formats));
}

}  // namespace millrace::cli
