// How whoever starts a local cluster and the process that does harm to it on
// purpose, millrace-chaos, come to terms:
//
//   1. millrace-chaos is started first. When it has its proxies, disks and so
//      on, it writes DIR/run/chaos.ready: how the others are to be started.
//   2. They are. When all are ready, DIR/run/chaos.begin is made: from then on
//      faults happen.
//   3. Before the cluster is stopped, SIGUSR1: millrace-chaos ends the faults
//      that are on, starts again what it has killed, and removes chaos.begin.
//      It goes on carrying bytes until the others have been stopped.
#ifndef MILLRACE_CLIENT_LOCAL_CHAOS_PROCESS_H_
#define MILLRACE_CLIENT_LOCAL_CHAOS_PROCESS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace::client {

inline constexpr char kChaosName[] = "chaos";

std::string ChaosReadyPath(std::string_view directory);
std::string ChaosBeginPath(std::string_view directory);
// Where a process keeps the address that it listens on at later starts.
std::string ListenPath(std::string_view directory, std::string_view name);

struct ChaosStart {
  // Where the process says that it is reached; "": where it listens.
  std::string advertise;
  std::vector<std::string> flags;        // More flags.
  std::vector<std::string> environment;  // "NAME=value".
};

// By name: "master-1". Replaces the file at once.
absl::Status WriteChaosReady(const std::string& directory,
                             const std::map<std::string, ChaosStart>& starts);
// kNotFound: not yet.
absl::StatusOr<std::map<std::string, ChaosStart>> ReadChaosReady(
    const std::string& directory);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_LOCAL_CHAOS_PROCESS_H_
