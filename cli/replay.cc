// millrace replay ID TASK, millrace replay DIR: run an attempt again, on this
// machine, on its exact input.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "client/replay_request.h"
#include "client/run_child.h"
#include "common/bundle_names.h"
#include "common/clock.h"
#include "common/errno_status.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct ReplayFlags {
  std::string what;  // A job, or the directory of a bundle.
  std::string task;
  std::string bundle;
  bool gdb = false;
};

// In place of this process; an error comes back.
ExitCode Become(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int error = errno;
  if (error == ENOENT && words[0] == "gdb") {
    return Fail(kNotFound, "replay", "there is no gdb in $PATH",
                "install it, or replay without --gdb");
  }
  return Fail(ErrnoStatus(error, "execute", words[0]), "replay");
}

ExitCode RunBundle(const std::string& directory, bool gdb) {
  const std::string program = JoinPath(directory, kBundleProgram);
  if (access(program.c_str(), X_OK) != 0) {
    return Fail(kNotFound, "replay",
                Cat(Printable(directory, 4096),
                    " is no bundle of an attempt: it has no program"));
  }
  if (!gdb) return Become({program, kReplayArgument, directory});
  // What the debugger sees is the attempt, and no copying before it.
  client::ChildCommand prepare;
  prepare.executable = program;
  prepare.arguments = {kReplayArgument, directory, "--prepare"};
  prepare.timeout = absl::InfiniteDuration();
  const auto prepared = client::RunChild(prepare, Clock::Real());
  if (!prepared.ok()) return Fail(prepared.status(), "replay");
  if (!prepared->Succeeded()) {
    return Fail(prepared->exit_code == kNotFound ? kNotFound : kRefused,
                "replay", prepared->err);
  }
  return Become(
      {"gdb", "--args", program, kReplayArgument, directory, "--in-process"});
}

ExitCode RunReplay(const Globals& globals, const ReplayFlags& flags) {
  FileSystem& fs = FileSystem::Posix();
  if (flags.task.empty()) {
    if (!flags.bundle.empty()) {
      return Fail(kUsage, "replay", "--bundle: of which task of the job?",
                  "name it: m17 for map task 17, r3 for reduce task 3");
    }
    if (!fs.Stat(flags.what).ok()) {
      return Fail(kNotFound, "replay",
                  Cat("there is no directory ", Printable(flags.what, 4096)),
                  "to replay a job's task, name it behind the job: m17, r3");
    }
    return RunBundle(flags.what, flags.gdb);
  }
  const auto task = ParseTask(flags.task);
  if (!task.has_value() ||
      (task->kind() != proto::MAP_TASK && task->kind() != proto::REDUCE_TASK)) {
    return Fail(
        kUsage, "replay",
        Cat("\"", Printable(flags.task), "\" is no task that can be replayed"),
        "write m17 for map task 17, r3 for reduce task 3");
  }
  Interrupt interrupt;
  const auto cluster = ConnectToCluster(globals, &interrupt.signal());
  if (!cluster.ok()) return FailCluster(cluster.status(), "replay");
  const std::string directory =
      flags.bundle.empty() ? Cat("replay-", flags.what, "-", flags.task)
                           : flags.bundle;
  const absl::Status fetched =
      client::FetchBundle(**cluster, fs, flags.what, *task, directory);
  if (absl::IsAlreadyExists(fetched)) {
    return Fail(kRefused, "replay",
                Cat(Printable(directory, 4096), " exists already"),
                Cat("run it again with: millrace replay ",
                    Printable(directory, 4096), ", or name another --bundle"));
  }
  if (!fetched.ok()) return FailCluster(fetched, "replay");
  std::fprintf(stderr, "millrace replay: %s of job %s is in %s\n",
               flags.task.c_str(), Printable(flags.what).c_str(),
               Printable(directory, 4096).c_str());
  return RunBundle(directory, flags.gdb);
}

}  // namespace

void AddReplay(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "replay",
      "Run a task of a job again, on this machine and its input");
  auto flags = std::make_shared<ReplayFlags>();  // Shared with both callbacks.
  command
      ->add_option("ID", flags->what,
                   "Job, by the first digits of its id; or the directory of a "
                   "bundle, without a task")
      ->required();
  command->add_option("TASK", flags->task, "m17 or r3");
  command
      ->add_option("--bundle", flags->bundle,
                   "Directory to make for it; default: replay-ID-TASK")
      ->type_name("DIR");
  command->add_flag("--gdb", flags->gdb,
                    "Under gdb, in one process: type \"run\"");
  command->footer(
      "Program, plan and side files come from the cluster, as long as it "
      "retains the job;\nthe input files from where the job found them, and "
      "must not have changed. The input\nof a reduce is made again: all maps "
      "run here first. The directory has all of it,\nand can be taken to "
      "another machine: millrace replay DIR. A local run makes one with\n"
      "--keep-bundle. Exit codes: 0 the attempt ended well, 1 it failed, 2 "
      "usage, 3 cluster\nnot reached, 4 not found, 5 refused (the input "
      "changed, the directory exists).");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunReplay(globals, *flags); };
  });
}

}  // namespace millrace::cli
