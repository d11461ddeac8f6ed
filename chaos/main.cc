// The program `millrace-chaos`: started by `millrace cluster up --chaos`, it
// does harm to the processes of that cluster and notes what came of it.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "chaos/controller.h"
#include "chaos/spec.h"
#include "common/clock.h"
#include "common/flag_kinds.h"
#include "common/logging.h"
#include "common/strings.h"
#include "common/version.h"

namespace millrace::chaos {
namespace {

enum ExitCode : int { kOk = 0, kUsage = 2, kRefused = 5 };

constexpr long kTickNs = 5'000'000;

int Complain(int exit_code, std::string_view what) {
  std::fprintf(stderr, "millrace-chaos: %s\n", std::string(what).c_str());
  return exit_code;
}

// Beside this program, or where it is installed.
std::string FindPreload() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const char* name :
       {"libmillrace-chaos.so", "../lib/millrace/libmillrace-chaos.so"}) {
    const auto path = (self.parent_path() / name).lexically_normal();
    if (std::filesystem::exists(path, error)) return path.string();
  }
  return "";
}

int Run(const ControllerOptions& options) {
  // Before any thread starts, so that all of them leave the signals to us.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  Controller controller(options, Clock::Real());
  const absl::Status prepared = controller.Prepare();
  if (!prepared.ok()) return Complain(kRefused, ToStd(prepared.message()));
  bool calm = false;
  for (;;) {
    const timespec tick = {0, kTickNs};
    const int signal_number = sigtimedwait(&signals, nullptr, &tick);
    if (signal_number > 0 && !calm) {
      controller.Calm();
      calm = true;
    }
    if (signal_number > 0 && signal_number != SIGUSR1) return kOk;
    controller.Tick();
  }
}

}  // namespace
}  // namespace millrace::chaos

int main(int argc, char** argv) {
  using namespace millrace;         // NOLINT(google-build-using-namespace)
  using namespace millrace::chaos;  // NOLINT(google-build-using-namespace)

  CLI::App app(
      "Does harm to a local cluster; started by millrace cluster up --chaos.",
      "millrace-chaos");
  app.set_version_flag("--version", Cat("millrace-chaos ", Version()));
  ControllerOptions options;
  app.add_option("--dir", options.directory, "Directory of the cluster")
      ->required();
  app.add_option("--spec", options.spec_text, "Which faults")->required();
  app.add_option("--seed", options.seed, "Decides when and to whom");
  AddNumber(app, "--masters", options.masters, "Masters of the cluster", 1, 7);
  AddNumber(app, "--workers", options.workers, "Workers of it", 1, 1000);
  app.add_flag("--private-mounts", options.private_mounts,
               "This process and the cluster's have mounts of their own");
  app.footer(SpecHelp() +
             "SIGUSR1 ends all faults and the chaos; SIGTERM the program.\n"
             "Exit codes: 0 stopped by a signal, 2 usage, 5 refused.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return Complain(kUsage, Cat(error.what(), "; see millrace-chaos --help"));
  }
  const auto spec = ParseSpec(options.spec_text);
  if (!spec.ok()) {
    return Complain(kUsage, Cat("--spec: ", ToStd(spec.status().message())));
  }
  options.spec = *spec;
  options.preload = FindPreload();
  InitLogging(argv[0], 0);
  return Run(options);
}
