// Kinds of command line flags that several programs have, over CLI11: sizes,
// times, whole numbers, repeated values. Each is checked while CLI11 parses, so
// that an error names the flag.
//
// Part of millrace::job_flags, not of millrace::common: only programs with a
// command line need CLI11.
#ifndef MILLRACE_COMMON_FLAG_KINDS_H_
#define MILLRACE_COMMON_FLAG_KINDS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace millrace {

// "64M", "64MiB", "1.5g", "1048576"; powers of 1024.
std::optional<uint64_t> ParseBytes(const std::string& text);

// "600", "90s", "5m", "1h30m"; a bare number is seconds. Not negative.
std::optional<absl::Duration> ParseSeconds(const std::string& text);

// A size from `min` to `max`, or 0. `value` is the text: take it with
// ParseBytes.
CLI::Option* AddBytes(CLI::App& app, const std::string& name,
                      std::string& value, const std::string& help, uint64_t min,
                      uint64_t max = ~uint64_t{0});

// A time. `value` is the text: take it with ParseSeconds.
CLI::Option* AddSeconds(CLI::App& app, const std::string& name,
                        std::string& value, const std::string& help);

// An option that may be given several times, each with one value.
CLI::Option* AddRepeated(CLI::App& app, const std::string& name,
                         std::vector<std::string>& values,
                         const std::string& type, const std::string& help);

// "" when `text` is a whole number from `low` to `high`, else what is wrong.
std::string CheckNumber(const std::string& text, uint64_t low, uint64_t high);

// A whole number from `low` to `high`. CLI11's own Range would put its bounds
// into every line of the help text.
template <typename T>
CLI::Option* AddNumber(CLI::App& app, const std::string& name, T& value,
                       const std::string& help, uint64_t low, uint64_t high) {
  return app.add_option(name, value, help)
      ->type_name("N")
      ->check([low, high](const std::string& text) {
        return CheckNumber(text, low, high);
      });
}

// The first argument before "--" of the form "--flag=", as scripts write it
// when a variable of theirs is empty; "": none. To be asked before the parsing:
// CLI11 takes the next argument, maybe another flag, for the value.
std::string_view FlagWithoutValue(int argc, char** argv);

// What is wrong with the command line that `app` did not take: error.what(),
// but where a flag is missing and another one unknown it names the unknown one.
// The two are often one flag, mistyped.
std::string UsageErrorText(const CLI::App& app, const CLI::ParseError& error);

}  // namespace millrace

#endif  // MILLRACE_COMMON_FLAG_KINDS_H_
