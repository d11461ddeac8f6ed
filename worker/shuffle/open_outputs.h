// Map outputs that are being served: each verified once, however many
// partitions of it are asked for.
#ifndef MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_
#define MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "engine/format/map_output.h"
#include "worker/shuffle/index_cache.h"
#include "worker/shuffle/output_store.h"

namespace millrace::worker {

// What a verified index says of a file that had this identity.
struct VerifiedIndex {
  FileIdentity identity;
  uint32_t map_index = 0;
  engine::MapOutputSummary summary;
  uint64_t index_offset = 0;
};

struct OpenOutput {
  std::unique_ptr<ReadFile> file;
  // Second owner: the cache.
  std::shared_ptr<const VerifiedIndex> index;

  // Index and trailer as they stand in the file.
  absl::StatusOr<std::string> ReadIndexBytes() const;
};

// Thread-safe. Keeps indexes and no open files: a file that is deleted gives
// its space back at once.
class OpenOutputs {
 public:
  // Borrows both. `rows_max`: of the indexes that are kept, see IndexCache.
  OpenOutputs(FileSystem& fs, const OutputStore& store, uint64_t rows_max)
      : fs_(fs), store_(store), indexes_(rows_max) {}

  // Blocks for the disk. Messages name ids, no path.
  //   kNotFound  there is no such output (any more)
  //   kDataLoss  it is damaged, or not the one its place says
  absl::StatusOr<OpenOutput> Open(const JobId& job, uint32_t map_index,
                                  const AttemptUid& uid)
      ABSL_LOCKS_EXCLUDED(mu_);

  void ForgetJob(const JobId& job) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    indexes_.ForgetJob(job);
  }

 private:
  std::shared_ptr<const VerifiedIndex> Find(const JobId& job,
                                            const AttemptUid& uid,
                                            const FileIdentity& identity)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Keep(const JobId& job, const AttemptUid& uid,
            std::shared_ptr<const VerifiedIndex> index)
      ABSL_LOCKS_EXCLUDED(mu_);

  FileSystem& fs_;
  const OutputStore& store_;

  absl::Mutex mu_;
  IndexCache<VerifiedIndex> indexes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_
