#include "common/flag_kinds.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "common/strings.h"

namespace millrace {

std::optional<uint64_t> ParseBytes(const std::string& text) {
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  std::string unit = text.substr(used);
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  static constexpr std::pair<const char*, int> kUnits[] = {
      {"", 0},     {"b", 0},   {"k", 10},   {"kb", 10}, {"kib", 10},
      {"m", 20},   {"mb", 20}, {"mib", 20}, {"g", 30},  {"gb", 30},
      {"gib", 30}, {"t", 40},  {"tb", 40},  {"tib", 40}};
  for (const auto& [name, shift] : kUnits) {
    if (unit != name) continue;
    value = std::ldexp(value, shift);
    if (!(value >= 0) || value >= 9.2e18) return std::nullopt;
    return static_cast<uint64_t>(value);
  }
  return std::nullopt;
}

std::optional<absl::Duration> ParseSeconds(const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(Av(text), &duration) &&
      !absl::ParseDuration(Av(Cat(text, "s")), &duration)) {
    return std::nullopt;
  }
  if (duration < absl::ZeroDuration()) return std::nullopt;
  return duration;
}

CLI::Option* AddBytes(CLI::App& app, const std::string& name,
                      std::string& value, const std::string& help, uint64_t min,
                      uint64_t max) {
  return app.add_option(name, value, help)
      ->type_name("BYTES")
      ->check([min, max](const std::string& text) -> std::string {
        const std::optional<uint64_t> bytes = ParseBytes(text);
        if (!bytes.has_value()) {
          return Cat(
              "\"", Printable(text),
              "\" is no size; write a number with K, M or G, as in 256M");
        }
        if (*bytes != 0 && *bytes < min) {
          return Cat(Printable(text), " is too small; at least ",
                     HumanBytes(min));
        }
        if (*bytes > max) {
          return Cat(Printable(text), " is too much; at most ",
                     HumanBytes(max));
        }
        return "";
      });
}

CLI::Option* AddSeconds(CLI::App& app, const std::string& name,
                        std::string& value, const std::string& help) {
  return app.add_option(name, value, help)
      ->type_name("TIME")
      ->check([](const std::string& text) -> std::string {
        if (ParseSeconds(text).has_value()) return "";
        return Cat("\"", Printable(text),
                   "\" is no time; write seconds, or 90s, 5m, 1h");
      });
}

CLI::Option* AddRepeated(CLI::App& app, const std::string& name,
                         std::vector<std::string>& values,
                         const std::string& type, const std::string& help) {
  CLI::Option* option = app.add_option(name, values, help)
                            ->type_name(type)
                            ->type_size(1)
                            ->allow_extra_args(false)
                            ->expected(1)
                            ->take_all();
  option->default_str("");
  return option;
}

std::string_view FlagWithoutValue(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") break;
    if (argument.size() > 3 && argument.substr(0, 2) == "--" &&
        argument.find('=') == argument.size() - 1) {
      return argument;
    }
  }
  return "";
}

std::string CheckNumber(const std::string& text, uint64_t low, uint64_t high) {
  uint64_t number = 0;
  if (absl::SimpleAtoi(text, &number) && low <= number && number <= high) {
    return "";
  }
  return Cat("\"", Printable(text), "\" is no whole number from ", low, " to ",
             high);
}

std::string UsageErrorText(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() !=
      static_cast<int>(CLI::ExitCodes::RequiredError)) {
    return error.what();
  }
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (unknown.empty()) return error.what();
  return Cat(unknown.size() == 1
                 ? "The following argument was not expected: "
                 : "The following arguments were not expected: ",
             absl::StrJoin(unknown, " "));
}

}  // namespace millrace
