// A cluster of real processes in a temporary directory: masters and workers, as
// an operator would start them.
#ifndef MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_
#define MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/tcp_proxy.h"
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
    // Words before the workers' own: a program that becomes the worker, as
    // another user, say. What it needs is opened to everybody.
    std::vector<std::string> worker_prefix = {};
    int masters = 1;  // More than one: made one group.
    // Beside those that it sets itself, of each master and each worker.
    std::vector<std::string> master_flags = {};
    std::vector<std::string> every_workers_flags = {};
    // Of the workers. Those that are killed leave their cgroups behind, so the
    // tests that have no use for them do without.
    std::string memory_guard = "rss";
    // Masters reach each other, and are reached by all, through a proxy each.
    bool proxies = false;
    // MILLRACE_FAULT of masters and workers; %d in it is the cluster's
    // temporary directory, %n the number of the process.
    std::string master_faults = {};
    std::string worker_faults = {};
    // Number of a worker -> further flags of it.
    std::map<int, std::vector<std::string>> worker_flags = {};
    // Number of a worker -> what it has in its environment besides, as have the
    // job processes that it starts: "NAME=value".
    std::map<int, std::string> worker_environment = {};
  };

  // Starts the processes; the workers have not found their master yet.
  explicit MiniCluster(const Options& options);
  // Stops them and looks for what they left: processes, files in the spools.
  ~MiniCluster();

  // Those that are started later get later numbers; a number stays.
  Daemon& master(int i = 0) { return *masters_[static_cast<size_t>(i)].daemon; }
  TcpProxy& proxy(int i) { return *masters_[static_cast<size_t>(i)].proxy; }
  int num_masters() const { return static_cast<int>(masters_.size()); }
  Daemon& worker(int i) { return *workers_[static_cast<size_t>(i)]; }
  int num_workers() const { return static_cast<int>(workers_.size()); }

  // Where master `i` is reached.
  std::string AddressOf(int i) const;
  std::string DirectoryOf(int i) const;
  // Of all masters, as --masters takes them.
  std::string Masters() const;

  // Kills the master and starts it again at the same address.
  void RestartMaster(int i = 0);
  // Starts it again; it was killed or stopped.
  void StartMaster(int i);
  // At its next start, on an empty directory, it waits to be added.
  void JoinNextTime(int i);
  // Starts another one, on an empty directory, which waits to be added; its
  // number.
  int StartNewMaster();
  // `millrace master add`; it has a vote afterwards.
  void AddMaster(int i);
  // The one that leads, as `millrace master list` says; -1: none, for so long.
  int WaitForLeader(absl::Duration patience = absl::Seconds(30));
  // How many members the leader lists, and how many of them vote.
  std::pair<int, int> CountMembers() const;

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
  struct Master {
    std::unique_ptr<TcpProxy> proxy;  // Null: none.
    std::unique_ptr<Daemon> daemon;
  };

  std::vector<std::string> MasterArgv(int i, const std::string& listen) const;
  std::vector<std::string> FaultsOf(const std::string& faults, int i) const;
  void AddMasterProcess();

  TempDir temp_;
  const Options options_;
  std::vector<Master> masters_;
  std::vector<std::unique_ptr<Daemon>> workers_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_MINI_CLUSTER_H_
