// millrace wait ID: until the job has ended, without progress.
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/watch.h"
#include "common/flag_kinds.h"

namespace millrace::cli {
namespace {

struct WaitFlags {
  std::string id;
  std::string timeout;  // "": for ever.
};

ExitCode RunWait(const Globals& globals, const WaitFlags& flags) {
  Interrupt interrupt;
  const auto cluster = ConnectToCluster(globals, &interrupt.signal());
  if (!cluster.ok()) return FailCluster(cluster.status(), "wait");
  WatchOptions options;
  options.command = "wait";
  options.quiet = true;
  if (!flags.timeout.empty()) options.timeout = *ParseSeconds(flags.timeout);
  return WatchToEnd(**cluster, flags.id, options);
}

}  // namespace

void AddWait(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "wait", "Wait for a job to end; the exit code says how it did");
  auto flags = std::make_shared<WaitFlags>();  // Shared with both callbacks.
  command->add_option("ID", flags->id, "Job, by the first digits of its id")
      ->required();
  AddSeconds(*command, "--timeout", flags->timeout,
             "Give up after so long, with exit code 124; the job goes on");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunWait(globals, *flags); };
  });
}

}  // namespace millrace::cli
