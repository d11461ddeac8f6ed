// millrace completion SHELL: a completion script, made from the flags as they
// are, so that it cannot lag behind them.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct Flag {
  std::vector<std::string> names;  // "-o", "--output-format"; none: positional.
  std::string label;               // What its value is called.
  std::string description;
  bool takes_value = false;
  std::vector<std::string> choices;  // The values it takes, where listed.
};

struct Command {
  std::string name;
  std::string description;
  std::vector<Flag> flags;
  std::vector<Flag> positionals;
};

// CLI11 keeps the members of IsMember in the type's name alone:
// "TEXT:{table,json}".
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

Flag Describe(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_snames()) {
    flag.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    flag.names.push_back("--" + name);
  }
  flag.label = option.get_positional() ? option.get_name(true) : "VALUE";
  flag.description = option.get_description();
  flag.takes_value = option.get_expected_max() > 0;
  flag.choices = ChoicesOf(option);
  return flag;
}

Command Describe(const CLI::App& app) {
  Command command{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    (option->get_positional() ? command.positionals : command.flags)
        .push_back(Describe(*option));
  }
  return command;
}

std::vector<Command> CommandsOf(const CLI::App& root) {
  std::vector<Command> commands;
  for (const CLI::App* app : root.get_subcommands(nullptr)) {
    commands.push_back(Describe(*app));
  }
  return commands;
}

std::string NamesOf(const std::vector<Command>& commands,
                    std::string_view separator) {
  return absl::StrJoin(
      commands, Av(separator),
      [](std::string* out, const Command& command) { *out += command.name; });
}

std::string FlagNames(const Command& command) {
  std::vector<std::string> names;
  for (const Flag& flag : command.flags) {
    names.insert(names.end(), flag.names.begin(), flag.names.end());
  }
  return absl::StrJoin(names, " ");
}

bool IsLong(const std::string& name) { return name.substr(0, 2) == "--"; }

// Inside single quotes of a shell.
std::string Quoted(const std::string& text) {
  return Cat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// ---------------------------------------------------------------------- bash

std::string BashScript(const Command& top,
                       const std::vector<Command>& commands) {
  std::string values;  // What follows a flag with a value.
  std::string words;   // Flags of each command.
  std::string places;  // What a positional may be, where it is no path.
  for (const Command& command : commands) {
    for (const Flag& flag : command.flags) {
      if (!flag.takes_value) continue;
      for (const std::string& name : flag.names) {
        values += Cat("    ", Quoted(Cat(command.name, " ", name)),
                      ") COMPREPLY=($(compgen -W ",
                      Quoted(absl::StrJoin(flag.choices, " ")),
                      " -- \"$cur\")); return ;;\n");
      }
    }
    words += Cat("    ", command.name, ") words=", Quoted(FlagNames(command)),
                 " ;;\n");
    for (const Flag& flag : command.positionals) {
      if (flag.choices.empty()) continue;
      places += Cat("    ", command.name, ") COMPREPLY=($(compgen -W ",
                    Quoted(absl::StrJoin(flag.choices, " ")),
                    " -- \"$cur\")); return ;;\n");
    }
  }
  return Cat(
      "# bash completion of millrace; made by: millrace completion bash\n"
      "_millrace() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
      "  local prev=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      ",
      NamesOf(commands, "|"),
      ") command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$command $prev\" in\n",
      values,
      "  esac\n"
      "  case $command in\n"
      "    '') words=",
      Quoted(Cat(NamesOf(commands, " "), " ", FlagNames(top))), " ;;\n", words,
      "  esac\n"
      "  if [[ -z $command || $cur == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "    return\n"
      "  fi\n"
      "  case $command in\n",
      places,
      "  esac\n"
      "  local IFS=$'\\n'\n"
      "  compopt -o filenames 2>/dev/null\n"
      "  COMPREPLY=($(compgen -d -- \"$cur\"))\n"
      "}\n"
      "complete -F _millrace millrace\n");
}

// ----------------------------------------------------------------------- zsh

// A description inside an argument of _arguments.
std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text, {{"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string ZshValue(const Flag& flag) {
  return Cat(":", flag.label, ":",
             flag.choices.empty()
                 ? std::string()
                 : Cat("(", absl::StrJoin(flag.choices, " "), ")"));
}

std::string ZshScript(const std::vector<Command>& commands) {
  std::string list;
  std::string cases;
  for (const Command& command : commands) {
    list +=
        Cat("    ",
            Quoted(Cat(command.name, ":", ZshText(command.description))), "\n");
    cases += Cat("    ", command.name, ")\n      _arguments");
    for (const Flag& flag : command.flags) {
      for (const std::string& name : flag.names) {
        cases +=
            Cat(" \\\n        ",
                Quoted(Cat(name, flag.takes_value && IsLong(name) ? "=" : "",
                           "[", ZshText(flag.description), "]",
                           flag.takes_value ? ZshValue(flag) : "")));
      }
    }
    int place = 0;
    for (const Flag& flag : command.positionals) {
      cases += Cat(" \\\n        ",
                   Quoted(Cat(++place, flag.choices.empty()
                                           ? Cat(":", flag.label, ":_files -/")
                                           : ZshValue(flag))));
    }
    cases += " ;;\n";
  }
  return Cat(
      "#compdef millrace\n"
      "# zsh completion of millrace; made by: millrace completion zsh\n"
      "_millrace() {\n"
      "  local -a commands\n"
      "  commands=(\n",
      list,
      "  )\n"
      "  if ((CURRENT == 2)); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words\n"
      "  ((CURRENT--))\n"
      "  case $command in\n",
      cases,
      "  esac\n"
      "}\n"
      "if [[ $funcstack[1] == _millrace ]]; then\n"
      "  _millrace \"$@\"\n"
      "else\n"
      "  compdef _millrace millrace\n"
      "fi\n");
}

// ---------------------------------------------------------------------- fish

std::string FishScript(const std::vector<Command>& commands) {
  std::string script =
      "# fish completion of millrace; made by: millrace completion fish\n"
      "complete -c millrace -f\n";
  for (const Command& command : commands) {
    script += Cat("complete -c millrace -n __fish_use_subcommand -a ",
                  command.name, " -d ", Quoted(command.description), "\n");
    const std::string seen =
        Cat(" -n ", Quoted(Cat("__fish_seen_subcommand_from ", command.name)));
    for (const Flag& flag : command.flags) {
      script += Cat("complete -c millrace", seen);
      for (const std::string& name : flag.names) {
        script += IsLong(name) ? Cat(" -l ", name.substr(2))
                               : Cat(" -s ", name.substr(1));
      }
      if (flag.takes_value) script += " -x";
      if (!flag.choices.empty()) {
        script += Cat(" -a ", Quoted(absl::StrJoin(flag.choices, " ")));
      }
      script += Cat(" -d ", Quoted(flag.description), "\n");
    }
    for (const Flag& flag : command.positionals) {
      script += Cat("complete -c millrace", seen, " -a ",
                    flag.choices.empty()
                        ? std::string("'(__fish_complete_directories)'")
                        : Quoted(absl::StrJoin(flag.choices, " ")),
                    "\n");
    }
  }
  return script;
}

ExitCode RunCompletion(const CLI::App& root, const std::string& shell) {
  const std::vector<Command> commands = CommandsOf(root);
  const std::string script = shell == "bash"
                                 ? BashScript(Describe(root), commands)
                             : shell == "zsh" ? ZshScript(commands)
                                              : FishScript(commands);
  absl::Status written = WriteOut(script);
  if (written.ok()) written = FlushOut();
  return written.ok() ? kOk : Fail(written, "completion");
}

}  // namespace

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
