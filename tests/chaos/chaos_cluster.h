// A cluster as a user gets it: brought up with chaos, used and taken down by
// the command line.
#ifndef MILLRACE_TESTS_CHAOS_CHAOS_CLUSTER_H_
#define MILLRACE_TESTS_CHAOS_CHAOS_CLUSTER_H_

#include <sys/types.h>

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/chaos/plan.h"
#include "tests/testing/run_program.h"

namespace millrace::chaostest {

struct FaultCount {
  int tried = 0;
  int effective = 0;
};

// Thread-compatible.
class ChaosCluster {
 public:
  // In this directory, which exists.
  explicit ChaosCluster(std::string directory);
  // Takes it down if it is up.
  ~ChaosCluster();

  // Each returns "" or what is wrong.
  std::string Up(const RunPlan& plan);
  std::string Down();

  // `millrace <arguments>` for this cluster.
  ProgramResult Cli(std::vector<std::string> arguments,
                    absl::Duration deadline = absl::Seconds(60)) const;
  // What the command prints with -o json; null if it fails.
  nlohmann::json Json(std::vector<std::string> arguments) const;

  // Name -> process of each master and worker that runs.
  std::map<std::string, pid_t> Daemons() const;

  // The process of the master that leads; 0: not known.
  pid_t Leader() const;

  // By kind, as the journal says; of "ended-by-itself" none is to be there.
  std::map<std::string, FaultCount> Faults() const;
  // The spool of a worker, from outside of the cluster's mounts.
  std::string SpoolOf(int worker) const;

  const std::string& directory() const { return directory_; }

 private:
  const std::string directory_;
  bool up_ = false;
  pid_t chaos_ = 0;
};

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_CHAOS_CLUSTER_H_
