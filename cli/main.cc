// The program `millrace`: what is done to jobs, outputs and clusters from a
// terminal.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/suggest.h"
#include "common/file_system.h"
#include "common/flag_kinds.h"
#include "common/logging.h"
#include "common/strings.h"
#include "common/version.h"

namespace millrace::cli {
namespace {

void AddCommands(CLI::App& app, Globals& globals, Action& action) {
  AddSubmit(app, globals, action);
  AddList(app, globals, action);
  AddStatus(app, globals, action);
  AddDescribe(app, globals, action);
  AddWhy(app, globals, action);
  AddWait(app, globals, action);
  AddKill(app, globals, action);
  AddLogs(app, globals, action);
  AddCounters(app, globals, action);
  AddReplay(app, globals, action);
  AddWorker(app, globals, action);
  AddMaster(app, globals, action);
  AddCluster(app, globals, action);
  AddCat(app, FileSystem::Posix(), action);
  AddVerify(app, FileSystem::Posix(), action);
  AddVersion(app, action);
  AddCompletion(app, action);
  // --cluster may stand behind the command, too.
  for (CLI::App* command : app.get_subcommands(nullptr)) {
    command->fallthrough();
    for (CLI::App* below : command->get_subcommands(nullptr)) {
      below->fallthrough();
    }
  }
}

// Behind "--", what stands on the command line of submit belongs to the job
// program, whatever it looks like. Returns how many words are ours.
int TakeProgramArguments(int argc, char** argv, Globals& globals) {
  bool submit = false;
  for (int i = 1; i < argc; ++i) {
    submit = submit || std::strcmp(argv[i], "submit") == 0;
    if (std::strcmp(argv[i], "--") != 0) continue;
    if (!submit) return argc;
    globals.program_arguments.assign(argv + i + 1, argv + argc);
    return i;
  }
  return argc;
}

// The innermost command that was given, with its name as it is typed.
std::string GivenCommand(const CLI::App& app, const CLI::App** given) {
  std::string name;
  *given = &app;
  while (true) {
    const std::vector<CLI::App*> below = (*given)->get_subcommands();
    if (below.empty()) return name;
    *given = below[0];
    name += (name.empty() ? "" : " ") + (*given)->get_name();
  }
}

ExitCode FailUsage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* given = nullptr;
  const std::string name = GivenCommand(app, &given);
  const std::string help =
      Cat("see millrace", name.empty() ? "" : " ", name, " --help");
  std::vector<std::string> commands;
  for (const CLI::App* command : given->get_subcommands(nullptr)) {
    commands.push_back(command->get_name());
  }
  const std::vector<std::string> unknown = app.remaining(true);
  if (commands.empty() || unknown.empty()) {
    return Fail(kUsage, name.empty() ? "usage" : name,
                UsageErrorText(app, error), help);
  }
  const std::string nearest = NearestName(unknown[0], commands);
  return Fail(kUsage, name.empty() ? "usage" : name,
              Cat("there is no command or flag \"", unknown[0], "\"",
                  nearest.empty() ? "" : "; did you mean ", nearest,
                  nearest.empty() ? "" : "?"),
              help);
}

int Main(int argc, char** argv) {
  // Of gRPC, what is worse than a failed call; those are reported as such.
  InitLogging(argv[0], /*min_severity=*/2);
  // A connection that breaks is an error to be read, not a death.
  signal(SIGPIPE, SIG_IGN);

  CLI::App app("Millrace: MapReduce in C++.", "millrace");
  app.footer(
      "Exit codes: 0 success, 1 failed or damaged, 2 usage, 3 cluster not "
      "reached,\n4 not found, 5 refused, 6 killed, 124 timeout, 130 "
      "interrupted.\nA job runs on this machine alone by its own program: "
      "./wordcount --help");
  app.require_subcommand(1);
  app.set_version_flag("--version", Cat("millrace ", Version()));
  Globals globals;
  app.add_option("--cluster", globals.cluster,
                 "The masters; default: $MILLRACE_CLUSTER, or the last cluster "
                 "up")
      ->type_name("HOST:PORT,...");
  AddSeconds(app, "--patience", globals.patience,
             "How long a cluster that does not answer is tried; default: 15s");
  Action action;
  AddCommands(app, globals, action);

  try {
    app.parse(TakeProgramArguments(argc, argv, globals), argv);
  } catch (const CLI::ParseError& error) {
    // Help and --version end here too, with success.
    if (error.get_exit_code() == 0) return app.exit(error);
    return FailUsage(app, error);
  }
  return action();
}

}  // namespace
}  // namespace millrace::cli

int main(int argc, char** argv) { return millrace::cli::Main(argc, argv); }
