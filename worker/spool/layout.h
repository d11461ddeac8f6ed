// Where a worker keeps what, below its directory:
//
//   id                  cluster id and name (worker/spool/worker_directory.h)
//   lock                held with flock while a worker runs here
//   boot                boot id of the host when the spool was last used
//   spool/<job>/        of one job. It stays, empty, until the job is dropped,
//                       through restarts: its S may be there still
//       <uid>.map       the map output of an attempt
//       <uid>/          what else an attempt writes: spill runs, fetched
//                       sections, the plan of a planning task. Maps make it if
//                       they spill: most do not, and a directory of each costs
//                       more than a small map's file
//   blobs/<sha256>      verified copies of blobs; programs are executable
//   logs/<job>/<uid>    what the attempt's process printed; beside it an empty
//                       file whose name says of which task that is
//                       (worker/spool/log_labels.h)
//
// Ids and hashes are in hexadecimal, so no path is ever made from a text that
// somebody sent.
#ifndef MILLRACE_WORKER_SPOOL_LAYOUT_H_
#define MILLRACE_WORKER_SPOOL_LAYOUT_H_

#include <string>
#include <string_view>

#include "common/file_system.h"
#include "common/ids.h"
#include "common/strings.h"

namespace millrace::worker {

inline constexpr std::string_view kMapOutputSuffix = ".map";

// `spool` is Hello.spool_dir: of this worker, or of another on the same host.
inline std::string JobSpool(std::string_view spool, const JobId& job) {
  return JoinPath(spool, job.ToHex());
}
inline std::string AttemptScratch(std::string_view spool, const JobId& job,
                                  const AttemptUid& uid) {
  return JoinPath(JobSpool(spool, job), uid.ToHex());
}
inline std::string MapOutputPath(std::string_view spool, const JobId& job,
                                 const AttemptUid& uid) {
  return JoinPath(JobSpool(spool, job), Cat(uid.ToHex(), kMapOutputSuffix));
}

struct WorkerLayout {
  std::string root;

  std::string Id() const { return JoinPath(root, "id"); }
  std::string Lock() const { return JoinPath(root, "lock"); }
  std::string Boot() const { return JoinPath(root, "boot"); }
  std::string Spool() const { return JoinPath(root, "spool"); }
  std::string Blobs() const { return JoinPath(root, "blobs"); }
  std::string Logs() const { return JoinPath(root, "logs"); }

  std::string Blob(std::string_view sha256) const {
    return JoinPath(Blobs(), HexEncode(sha256));
  }
  std::string JobLogs(const JobId& job) const {
    return JoinPath(Logs(), job.ToHex());
  }
  std::string AttemptLog(const JobId& job, const AttemptUid& uid) const {
    return JoinPath(JobLogs(job), uid.ToHex());
  }
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_LAYOUT_H_
