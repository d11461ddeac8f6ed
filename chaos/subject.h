// The processes of a local cluster as those see them who do harm to them.
#ifndef MILLRACE_CHAOS_SUBJECT_H_
#define MILLRACE_CHAOS_SUBJECT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "chaos/fault_page.h"
#include "client/local/daemon_process.h"
#include "client/local/local_cluster.h"
#include "common/tcp_proxy.h"

namespace millrace::chaos {

// One master or worker. Confined to the loop of millrace-chaos.
struct Subject {
  std::string name;
  client::LocalRole role = client::LocalRole::kWorker;
  client::ProcessIdentity identity;
  std::string spool;  // Of a worker.
  // What stands between it and the others; null: nothing.
  std::unique_ptr<TcpProxy> proxy;
  // What its preloaded library is told; null: there is none.
  std::unique_ptr<FaultPage> page;
  // Where a file system of its own is mounted, that of the whole directory:
  // a worker moves files out of its spool. "": none is.
  std::string disk;

  // As it was started.
  std::string executable;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string log;

  // It is down because somebody killed it on purpose.
  bool killed = false;
  // It was started (again), and its proxy does not know yet where it listens.
  bool unaimed = false;

  bool running() const { return client::IsRunning(identity); }
};

// The words of the command line with which a process was started.
// kNotFound: it has ended.
absl::StatusOr<std::vector<std::string>> CommandLineOf(pid_t pid);

// Where the process listens for TCP connections, as the kernel says:
// "127.0.0.1:port"; "" if it does not, or not yet.
std::string ListeningAddressOf(pid_t pid);

// Starts it again as it was started; a new process, with the same directory.
absl::Status StartAgain(Subject& subject);

// Of the job processes of a worker: the children that it has now.
std::vector<client::ProcessIdentity> JobProcessesOf(const Subject& worker);

// Until the process is in one of these states (as in /proc/<pid>/stat; "" means
// gone, ended and not collected included). False: not within a few seconds.
bool AwaitState(const client::ProcessIdentity& process,
                std::string_view states);

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_SUBJECT_H_
