// Tables and JSON as the commands print them.
#ifndef MILLRACE_CLI_TABLE_H_
#define MILLRACE_CLI_TABLE_H_

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::cli {

// A column of numbers is set to the right.
struct Column {
  std::string title;
  bool number = false;
};

// Columns two spaces apart, as wide as their widest cell, without a rule, no
// spaces at the ends of lines: easy to read and to cut with awk. A cell is one
// line of printable characters, whatever was handed over; an empty one is "-".
std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows);

// With a final newline. Names that are no UTF-8 come out as something that is.
std::string FormatJson(const nlohmann::ordered_json& json);

// -o, --output-format; "table" by default.
CLI::Option* AddFormat(CLI::App& command, std::string& format,
                       const std::vector<std::string>& formats);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_TABLE_H_
