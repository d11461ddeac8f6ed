// What completion scripts are made from: the commands and flags as CLI11 knows
// them.
#ifndef MILLRACE_CLI_COMPLETION_H_
#define MILLRACE_CLI_COMPLETION_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace millrace::cli {

// What a value may be.
enum class ValueKind { kOther, kFile, kDirectory };

struct FlagModel {
  std::vector<std::string> names;  // "-o", "--output-format"; none: positional.
  std::string label;               // What its value is called.
  std::string description;
  bool takes_value = false;
  ValueKind kind = ValueKind::kOther;
  std::vector<std::string> choices;  // The values it takes, where listed.
};

struct CommandModel {
  std::string name;  // The last word of it: "drain".
  std::string description;
  std::vector<FlagModel> flags;
  std::vector<FlagModel> positionals;
  std::vector<CommandModel> below;  // Of "worker": "list", "drain", ...
};

// The whole application.
CommandModel Describe(const CLI::App& app);

std::string BashScript(const CommandModel& top);
std::string ZshScript(const CommandModel& top);
std::string FishScript(const CommandModel& top);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_COMPLETION_H_
