// A cluster of real processes in a temporary directory: one master and some
// workers, as an operator would start them.
#ifndef MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_
#define MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tests/cluster/daemon.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {

// Thread-compatible.
class MiniCluster {
 public:
  struct Options {
    int workers = 1;
    int slots = 1;           // Of each worker.
    bool same_host = false;  // One host id for all: no network shuffle.
  };

  // Starts the processes; they have not found each other yet.
  explicit MiniCluster(const Options& options);
  // Stops them and looks for what they left: processes, files in the spools.
  ~MiniCluster();

  Daemon& master() { return *master_; }
  Daemon& worker(int i) { return *workers_[static_cast<size_t>(i)]; }
  int num_workers() const { return static_cast<int>(workers_.size()); }

  // Kills the master and starts it again at the same address.
  void RestartMaster();
  // Until `count` workers are up, as `millrace worker list` says.
  void WaitForWorkers(int count);

  // `millrace <arguments>` with this cluster in its environment.
  ProgramOptions Command(std::vector<std::string> arguments,
                         absl::Duration deadline = absl::Seconds(120)) const;
  ProgramResult Cli(std::vector<std::string> arguments) const;

  // Paths below the cluster's temporary directory; "" is the directory.
  std::string Path(std::string_view name) const { return temp_ / name; }
  std::string SpoolOf(int worker) const;
  // The logs of all daemons, for failure messages.
  std::string Logs() const;

  static std::string Program(const std::string& name);

 private:
  TempDir temp_;
  const Options options_;
  std::unique_ptr<Daemon> master_;
  std::vector<std::unique_ptr<Daemon>> workers_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_
