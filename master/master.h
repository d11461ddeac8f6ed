// A master: the replicated log, the state, the scheduler and the services, put
// together.
//
//   new directory ──────────────────────────► member (a group of one)
//   new directory, --join ──► waits ─adopted─► member ──removed──► no member
//
// Who is no member serves, too, and tells everybody why it does not lead.
#ifndef MILLRACE_MASTER_MASTER_H_
#define MILLRACE_MASTER_MASTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "master/scheduler/options.h"
#include "rpc/credentials.h"

namespace millrace::master {

struct MasterOptions {
  // Log, blobs and identity; made if it is not there, its parent must be. A
  // second master on the same directory is refused.
  std::string directory;
  std::string listen = "127.0.0.1:0";
  // Where others reach this master, if that is not where it listens (all
  // interfaces, a proxy in between); empty: it is.
  std::string advertise;
  // In a new directory: wait until the leader of a group adopts this master,
  // instead of founding a group of one. In a used one it changes nothing.
  bool join = false;
  SchedulerOptions scheduler;
};

// Thread-safe.
class Master {
 public:
  // Recovers what the directory holds and serves. Clock, file system and
  // credentials outlive the master. Errors are one line that names what is in
  // the way:
  //   kFailedPrecondition  the directory is in use or belongs to another
  //                        cluster; or listening there is not allowed
  //   kDataLoss            the log is damaged: file and offset
  //   kAlreadyExists       the port is in use
  static absl::StatusOr<std::unique_ptr<Master>> Start(
      const MasterOptions& options, const rpc::Credentials& credentials,
      FileSystem& fs, Clock& clock);
  // Hands leadership over, if it leads others; answers what it can; ends. What
  // was acknowledged is on the disk.
  virtual ~Master() = default;

  // "host:port" that clients, workers and other masters dial.
  virtual std::string address() const = 0;
  // Where it listens.
  virtual std::string listening() const = 0;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_MASTER_H_
