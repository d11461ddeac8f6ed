// The subcommands of `millrace`: each adds itself, with its flags, to the
// application, and hands over what to run when it is the one that was given.
//
// Data goes to stdout, everything else to stderr. An error is one line: what
// failed, on what, why, and what to try.
#ifndef MILLRACE_CLI_COMMANDS_H_
#define MILLRACE_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "cli/exit_code.h"
#include "common/file_system.h"

namespace millrace::cli {

// Set by the subcommand that was given; returns the exit code.
using Action = std::function<ExitCode()>;

// What stands beside the commands on the command line.
struct Globals {
  std::string cluster;  // --cluster; "": not given.
  // How long a cluster that does not answer is tried: ParseSeconds takes it.
  std::string patience = "15s";
  std::vector<std::string> program_arguments;  // Behind "--", of submit.
};

// `app` and the others outlive the parsing and the action.
void AddCat(CLI::App& app, FileSystem& fs, Action& action);
void AddVerify(CLI::App& app, FileSystem& fs, Action& action);
void AddVersion(CLI::App& app, Action& action);
// Reads the other commands from `app` when it runs, so order does not matter.
void AddCompletion(CLI::App& app, Action& action);

void AddSubmit(CLI::App& app, Globals& globals, Action& action);
void AddList(CLI::App& app, Globals& globals, Action& action);
void AddStatus(CLI::App& app, Globals& globals, Action& action);
void AddDescribe(CLI::App& app, Globals& globals, Action& action);
void AddWhy(CLI::App& app, Globals& globals, Action& action);
void AddWait(CLI::App& app, Globals& globals, Action& action);
void AddKill(CLI::App& app, Globals& globals, Action& action);
void AddLogs(CLI::App& app, Globals& globals, Action& action);
void AddReplay(CLI::App& app, Globals& globals, Action& action);
void AddCounters(CLI::App& app, Globals& globals, Action& action);
void AddWorker(CLI::App& app, Globals& globals, Action& action);
void AddMaster(CLI::App& app, Globals& globals, Action& action);
void AddCluster(CLI::App& app, Globals& globals, Action& action);

// "millrace <command>: <message>" on stderr, on one line whatever is in it, and
// the exit code back. `try_this` may be empty.
ExitCode Fail(ExitCode code, std::string_view command, std::string_view message,
              std::string_view try_this = "");
// The same for a status that came from below.
ExitCode Fail(const absl::Status& status, std::string_view command,
              std::string_view try_this = "");

// Writes to stdout, through stdio's buffer.
absl::Status WriteOut(std::string_view bytes);
// Call last: an error that was late, such as a full disk, comes out here.
absl::Status FlushOut();
// The whole result of a command, and its exit code.
ExitCode Print(std::string_view command, std::string_view bytes);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_COMMANDS_H_
