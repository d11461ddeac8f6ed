// The program `millrace`: what is done to jobs and outputs from a terminal.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "common/version.h"

int main(int argc, char** argv) {
  using namespace millrace;  // NOLINT(google-build-using-namespace)

  CLI::App app("Millrace: MapReduce in C++.", "millrace");
  app.footer(
      "Exit codes: 0 success, 1 failed or damaged, 2 usage, 4 not found, "
      "5 refused.\nA job runs by its own program: ./wordcount --help");
  app.require_subcommand(1);
  app.set_version_flag("--version", Cat("millrace ", Version()));

  cli::Action action;
  cli::AddCat(app, FileSystem::Posix(), action);
  cli::AddVerify(app, FileSystem::Posix(), action);
  cli::AddVersion(app, action);
  cli::AddCompletion(app, action);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and --version end here too, with success.
    if (error.get_exit_code() == 0) return app.exit(error);
    const std::vector<CLI::App*> given = app.get_subcommands();
    if (!given.empty()) {
      const std::string& name = given[0]->get_name();
      return cli::Fail(cli::kUsage, name, error.what(),
                       Cat("see millrace ", name, " --help"));
    }
    const std::vector<std::string> unknown = app.remaining();
    return cli::Fail(cli::kUsage, "usage",
                     unknown.empty() ? std::string(error.what())
                                     : Cat("there is no command or flag \"",
                                           unknown[0], "\""),
                     "see millrace --help");
  }
  return action();
}
