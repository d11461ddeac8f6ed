// The scripts of completion.h. Commands are one or two words; both forms are
// told apart by the words before the one that is typed.
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/completion.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

std::string NamesOf(const std::vector<CommandModel>& commands,
                    std::string_view separator) {
  return absl::StrJoin(commands, Av(separator),
                       [](std::string* out, const CommandModel& command) {
                         *out += command.name;
                       });
}

std::string FlagNames(const CommandModel& command) {
  std::vector<std::string> names;
  for (const FlagModel& flag : command.flags) {
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

struct BashCases {
  std::string values;  // What follows a flag with a value.
  std::string words;   // Commands below, or flags, of each command.
  std::string places;  // What a positional may be.
  std::string below;   // Which words go on with a command: "worker list".
};

std::string BashComplete(const FlagModel& flag) {
  if (flag.kind != ValueKind::kOther) {
    return Cat("_millrace_paths ",
               flag.kind == ValueKind::kDirectory ? "-d" : "-f", "; return");
  }
  return Cat("COMPREPLY=($(compgen -W ",
             Quoted(absl::StrJoin(flag.choices, " ")),
             " -- \"$cur\")); return");
}

// `name` is the whole command: "worker drain", or "" for none.
void AddBashCases(const CommandModel& command, const std::string& name,
                  BashCases& cases) {
  for (const FlagModel& flag : command.flags) {
    if (!flag.takes_value) continue;
    for (const std::string& flag_name : flag.names) {
      cases.values += Cat("    ", Quoted(Cat(name, " ", flag_name)), ") ",
                          BashComplete(flag), " ;;\n");
    }
  }
  const std::string below = NamesOf(command.below, " ");
  cases.words +=
      Cat("    ", Quoted(name), ") words=",
          Quoted(Cat(below, below.empty() ? "" : " ", FlagNames(command))),
          " ;;\n");
  for (const FlagModel& flag : command.positionals) {
    cases.places +=
        Cat("    ", Quoted(name), ") ", BashComplete(flag), " ;;\n");
  }
  for (const CommandModel& next : command.below) {
    const std::string whole =
        name.empty() ? next.name : Cat(name, " ", next.name);
    cases.below += Cat("      ", Quoted(Cat(name, "/", next.name)),
                       ") command=", Quoted(whole), " ;;\n");
    AddBashCases(next, whole, cases);
  }
}

// ----------------------------------------------------------------------- zsh

// A description inside an argument of _arguments.
std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text, {{"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string ZshValue(const FlagModel& flag) {
  std::string values;
  if (!flag.choices.empty()) {
    values = Cat("(", absl::StrJoin(flag.choices, " "), ")");
  } else if (flag.kind == ValueKind::kDirectory) {
    values = "_files -/";
  } else if (flag.kind == ValueKind::kFile) {
    values = "_files";
  }
  return Cat(":", flag.label, ":", values);
}

std::string ZshArguments(const CommandModel& command,
                         const std::string& indent) {
  std::string text = Cat(indent, "_arguments");
  const std::string next = Cat(" \\\n", indent, "  ");
  for (const FlagModel& flag : command.flags) {
    for (const std::string& name : flag.names) {
      text += Cat(next,
                  Quoted(Cat(name, flag.takes_value && IsLong(name) ? "=" : "",
                             "[", ZshText(flag.description), "]",
                             flag.takes_value ? ZshValue(flag) : "")));
    }
  }
  int place = 0;
  for (const FlagModel& flag : command.positionals) {
    text += Cat(next, Quoted(Cat(++place, ZshValue(flag))));
  }
  return text;
}

// Completes one of the commands below, or goes on with the one that is there.
std::string ZshLevel(const CommandModel& command, const std::string& indent) {
  if (command.below.empty()) return ZshArguments(command, indent);
  std::string list;
  std::string cases;
  for (const CommandModel& below : command.below) {
    list += Cat(indent, "    ",
                Quoted(Cat(below.name, ":", ZshText(below.description))), "\n");
    cases += Cat(indent, "  ", below.name, ")\n",
                 ZshLevel(below, indent + "    "), " ;;\n");
  }
  return Cat(indent, "commands=(\n", list, indent, ")\n", indent,
             "if ((CURRENT == 2)); then\n", indent,
             "  _describe command commands\n", indent, "  return\n", indent,
             "fi\n", indent, "shift words\n", indent, "((CURRENT--))\n", indent,
             "case $words[1] in\n", cases, indent, "esac");
}

// ---------------------------------------------------------------------- fish

std::string FishComplete(const CommandModel& command,
                         const std::string& condition) {
  std::string script;
  for (const FlagModel& flag : command.flags) {
    script += Cat("complete -c millrace -n ", Quoted(condition));
    for (const std::string& name : flag.names) {
      script += IsLong(name) ? Cat(" -l ", name.substr(2))
                             : Cat(" -s ", name.substr(1));
    }
    if (flag.takes_value)
      script += flag.kind == ValueKind::kOther ? " -x" : " -r";
    if (!flag.choices.empty()) {
      script += Cat(" -a ", Quoted(absl::StrJoin(flag.choices, " ")));
    }
    script += Cat(" -d ", Quoted(flag.description), "\n");
  }
  for (const FlagModel& flag : command.positionals) {
    std::string values;
    if (!flag.choices.empty()) {
      values = absl::StrJoin(flag.choices, " ");
    } else if (flag.kind == ValueKind::kDirectory) {
      values = "(__fish_complete_directories)";
    } else if (flag.kind == ValueKind::kFile) {
      values = "(__fish_complete_path)";
    } else {
      continue;
    }
    script += Cat("complete -c millrace -n ", Quoted(condition), " -a ",
                  Quoted(values), "\n");
  }
  return script;
}

std::string FishCommand(const CommandModel& command,
                        const std::string& condition) {
  return Cat("complete -c millrace -n ", Quoted(condition), " -a ",
             command.name, " -d ", Quoted(command.description), "\n");
}

}  // namespace

std::string BashScript(const CommandModel& top) {
  BashCases cases;
  AddBashCases(top, "", cases);
  return Cat(
      "# bash completion of millrace; made by: millrace completion bash\n"
      "_millrace_paths() {\n"
      "  local IFS=$'\\n'\n"
      "  compopt -o filenames 2>/dev/null\n"
      "  COMPREPLY=($(compgen \"$1\" -- \"$cur\"))\n"
      "}\n"
      "_millrace() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
      "  local prev=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"$command/${COMP_WORDS[i]}\" in\n",
      cases.below,
      "    esac\n"
      "  done\n"
      "  case \"$command $prev\" in\n",
      cases.values,
      "  esac\n"
      "  case $command in\n",
      cases.words,
      "  esac\n"
      "  if [[ $cur != -* ]]; then\n"
      "    case $command in\n",
      cases.places,
      "    esac\n"
      "  fi\n"
      "  if [[ $words == -* && $cur != -* ]]; then return; fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}\n"
      "complete -F _millrace millrace\n");
}

std::string ZshScript(const CommandModel& top) {
  return Cat(
      "#compdef millrace\n"
      "# zsh completion of millrace; made by: millrace completion zsh\n"
      "_millrace() {\n"
      "  local -a commands\n",
      ZshLevel(top, "  "),
      "\n"
      "}\n"
      "if [[ $funcstack[1] == _millrace ]]; then\n"
      "  _millrace \"$@\"\n"
      "else\n"
      "  compdef _millrace millrace\n"
      "fi\n");
}

std::string FishScript(const CommandModel& top) {
  std::string script =
      "# fish completion of millrace; made by: millrace completion fish\n"
      "complete -c millrace -f\n";
  std::vector<std::string> groups;
  for (const CommandModel& command : top.below) {
    if (!command.below.empty()) groups.push_back(command.name);
  }
  for (const CommandModel& command : top.below) {
    script += FishCommand(command, "__fish_use_subcommand");
    const std::string seen = Cat("__fish_seen_subcommand_from ", command.name);
    if (command.below.empty()) {
      // "list" is a command, and so is the second word of "worker list".
      script += FishComplete(command,
                             Cat(seen, "; and not __fish_seen_subcommand_from ",
                                 absl::StrJoin(groups, " ")));
      continue;
    }
    for (const CommandModel& below : command.below) {
      script +=
          FishCommand(below, Cat(seen, "; and not __fish_seen_subcommand_from ",
                                 NamesOf(command.below, " ")));
      script += FishComplete(
          below, Cat(seen, "; and __fish_seen_subcommand_from ", below.name));
    }
  }
  return script;
}

}  // namespace millrace::cli
