// Copies of blobs on this host: programs, plans, side files, manifests. A file
// in the cache is named by its SHA-256.
#ifndef MILLRACE_WORKER_SPOOL_BLOB_CACHE_H_
#define MILLRACE_WORKER_SPOOL_BLOB_CACHE_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "worker/blob_client.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

// Thread-safe. Nothing is believed: what was fetched is hashed before it gets
// its name, and what was there at the start is hashed before its first use. So
// nothing is synced: what a power cut takes is fetched again.
class BlobCache {
 public:
  // Gives a file mode 0555, for which FileSystem has no word.
  using MakeExecutable = std::function<absl::Status(const std::string& path)>;
  static absl::Status ChangeMode(const std::string& path);

  // All arguments outlive the cache. `spare_bytes_max`: of blobs that no job
  // needs, which may come handy when the same program is submitted again.
  // `make_executable` goes with `fs`.
  BlobCache(FileSystem& fs, BlobClient& client, const WorkerLayout& layout,
            uint64_t spare_bytes_max,
            MakeExecutable make_executable = &ChangeMode);

  // Removes what an earlier run left half done. Call once, first.
  absl::Status Open();

  // The blob is needed from now on: Trim does not take it. Returns at once.
  void Want(const std::string& sha256);
  // Of all that are wanted, only these are wanted still. Returns at once; Trim
  // does the work.
  void WantOnly(const std::set<std::string>& wanted);

  // Brings a wanted blob here, unless it is. Programs are executed by this path
  // (layout.Blob), so every blob is executable and nobody may write it. Errors
  // as of BlobClient::Get; kDataLoss: what the masters sent is something else.
  absl::Status Get(const std::string& sha256);

  // Of a blob that Get has brought. kOutOfRange: it is longer.
  absl::StatusOr<std::string> Read(const std::string& sha256,
                                   uint64_t bytes_max);

  // Stores the file at `path` at the masters, moves it into the cache, where it
  // is wanted, and returns its hash.
  absl::StatusOr<std::string> Put(const std::string& path);
  // The same with bytes.
  absl::StatusOr<std::string> PutBytes(std::string_view bytes);

  // Removes blobs that are not wanted, the oldest first, until no more than
  // spare_bytes_max are left of them.
  void Trim();

 private:
  std::string TemporaryPath() ABSL_LOCKS_EXCLUDED(mu_);
  // Gives the verified file at `temporary` its name.
  absl::Status Adopt(const std::string& temporary, const std::string& sha256)
      ABSL_LOCKS_EXCLUDED(mu_);

  FileSystem& fs_;
  BlobClient& client_;
  const WorkerLayout layout_;
  const uint64_t spare_bytes_max_;
  const MakeExecutable make_executable_;

  absl::Mutex mu_;
  std::set<std::string> wanted_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> verified_ ABSL_GUARDED_BY(mu_);  // Are here.
  uint64_t next_temporary_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_BLOB_CACHE_H_
