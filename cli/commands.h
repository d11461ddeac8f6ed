// The subcommands of `millrace`: each adds itself, with its flags, to the
// application, and hands over what to run when it is the one that was given.
//
// Data goes to stdout, everything else to stderr. An error is one line: what
// failed, on what, why, and what to try.
#ifndef MILLRACE_CLI_COMMANDS_H_
#define MILLRACE_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "cli/exit_code.h"
#include "common/file_system.h"

namespace millrace::cli {

// Set by the subcommand that was given; returns the exit code.
using Action = std::function<ExitCode()>;

// `app`, `fs` and `action` outlive the parsing and the action.
void AddCat(CLI::App& app, FileSystem& fs, Action& action);
void AddVerify(CLI::App& app, FileSystem& fs, Action& action);
void AddVersion(CLI::App& app, Action& action);
// Reads the other commands from `app` when it runs, so order does not matter.
void AddCompletion(CLI::App& app, Action& action);

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

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_COMMANDS_H_
