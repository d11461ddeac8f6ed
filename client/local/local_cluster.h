// A cluster of real processes on this machine: to try things out, and for tests
// of programs that submit jobs.
//
//   DIR/cluster.json      what runs: name, pid and start time of each process
//   DIR/lock              held while a cluster is brought up or down
//   DIR/logs/NAME.log     stdout and stderr of each process; of a master or
//                         worker the older part is in NAME.log.1 when there is
//                         much
//   DIR/run/NAME.address  host:port, written by the process once it serves
//   DIR/run/NAME.listen   of a master: the host:port that it keeps, so that the
//                         others find it again at a later start
//   DIR/NAME/             its data; a later start in DIR goes on with them
//   DIR/run/chaos.ready, chaos.begin   see local/chaos_process.h
//
// The processes are detached: they outlive whoever started them and are stopped
// by StopLocalCluster, of any later process.
#ifndef MILLRACE_CLIENT_LOCAL_LOCAL_CLUSTER_H_
#define MILLRACE_CLIENT_LOCAL_LOCAL_CLUSTER_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/local/daemon_process.h"
#include "common/clock.h"
#include "rpc/stop_signal.h"

namespace millrace::client {

struct LocalClusterOptions {
  std::string directory;      // Made, with the directories above it.
  std::string bin_directory;  // Holds millrace-master and millrace-worker.
  // 0: as many as there were at the last start in the directory, else one.
  int masters = 0;
  int workers = 2;
  int slots = 0;           // Of each worker; 0: the cores, shared out.
  bool same_host = false;  // All workers have one host id: the short cut.
  // That masters keep, older ones are forgotten; 0: as a master's default.
  int finished_jobs = 0;
  // What millrace-chaos is told beside --dir, --masters and --workers; empty:
  // no such process.
  std::vector<std::string> chaos = {};
  absl::Duration patience = absl::Seconds(60);  // Until all have joined.
  Clock* clock = &Clock::Real();
  // Ends the waiting; what was started is stopped again. May be null.
  rpc::StopSignal* stop = nullptr;
  // Told what is waited for, in words; may be null.
  std::function<void(std::string_view)> on_step = nullptr;
};

// kChaos: the process that does harm to the others on purpose (chaos/).
enum class LocalRole { kMaster, kWorker, kChaos };

// "master", "worker", "chaos".
std::string_view RoleName(LocalRole role);

struct LocalProcess {
  std::string name;  // "master-1", "worker-2", "chaos".
  LocalRole role = LocalRole::kWorker;
  ProcessIdentity identity;
  std::string address;  // "" until it serves.
  std::string log;      // Path.
  bool running = false;
};

struct LocalCluster {
  std::string directory;
  std::string masters;  // "host:port,...": for ClusterClient::Connect.
  std::vector<LocalProcess> processes;  // Chaos, masters, workers.

  bool AnyRunning() const;
  bool AllRunning() const;
};

// Returns when the masters are one group, each with a vote, and every worker
// has joined. When that does not come about, everything that was started is
// stopped again. More masters than at the last start in the directory are added
// to the group.
//   kAlreadyExists     a cluster runs in that directory
//   kInvalidArgument   the numbers make no cluster; or they are fewer masters
//                      than the directory has, which could not go on
//   kNotFound          the programs are not in bin_directory
//   kDeadlineExceeded, kUnavailable  a process ended, or did not get ready: the
//                      message says which and shows the end of its log
//   kCancelled         the stop signal came
absl::StatusOr<LocalCluster> StartLocalCluster(
    const LocalClusterOptions& options);

// What was started in the directory and whether it still runs. kNotFound:
// nothing was, or it was stopped.
absl::StatusOr<LocalCluster> ReadLocalCluster(const std::string& directory);

// Stops exactly the recorded processes, workers first, and forgets them; what
// chaos has on is ended before. The data stay. Returns what it was. kNotFound
// as above.
absl::StatusOr<LocalCluster> StopLocalCluster(const std::string& directory,
                                              absl::Duration grace,
                                              Clock& clock);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_LOCAL_LOCAL_CLUSTER_H_
