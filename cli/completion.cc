// millrace completion SHELL: a completion script, made from the flags as they
// are, so that it cannot lag behind them.
#include "cli/completion.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "cli/commands.h"

namespace millrace::cli {
namespace {

// CLI11 keeps the members of IsMember in the type's name alone:
// "TEXT:{table,json}".
std::vector<std::string> ChoicesOf(const std::string& type) {
  const size_t open = type.find('{');
  const size_t close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

ValueKind KindOf(const std::string& label, const std::string& type) {
  if (label == "OUTPUT" || type == "DIR") return ValueKind::kDirectory;
  if (label == "BIN" || type == "PATTERN") return ValueKind::kFile;
  return ValueKind::kOther;
}

FlagModel DescribeOption(const CLI::Option& option) {
  FlagModel flag;
  for (const std::string& name : option.get_snames()) {
    flag.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    flag.names.push_back("--" + name);
  }
  const std::string type = option.get_type_name();
  flag.label = option.get_positional() ? option.get_name(true) : "VALUE";
  flag.description = option.get_description();
  flag.takes_value = option.get_expected_max() > 0;
  flag.choices = ChoicesOf(type);
  flag.kind = KindOf(flag.label, type);
  return flag;
}

ExitCode RunCompletion(const CLI::App& root, const std::string& shell) {
  const CommandModel top = Describe(root);
  return Print("completion", shell == "bash"  ? BashScript(top)
                             : shell == "zsh" ? ZshScript(top)
                                              : FishScript(top));
}

}  // namespace

CommandModel Describe(const CLI::App& app) {
  CommandModel command;
  command.name = app.get_name();
  command.description = app.get_description();
  for (const CLI::Option* option : app.get_options()) {
    (option->get_positional() ? command.positionals : command.flags)
        .push_back(DescribeOption(*option));
  }
  for (const CLI::App* below : app.get_subcommands(nullptr)) {
    command.below.push_back(Describe(*below));
  }
  return command;
}

void AddCompletion(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<std::string>();  // As in AddVerify.
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(
      "bash: source <(millrace completion bash)\n"
      "zsh:  millrace completion zsh > ~/.zfunc/_millrace  (in $fpath)\n"
      "fish: millrace completion fish | source");
  command->callback([shell, &app, &action] {
    action = [shell, &app] { return RunCompletion(app, *shell); };
  });
}

}  // namespace millrace::cli
