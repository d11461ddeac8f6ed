// Map outputs that are being served: each opened and verified once, however
// many partitions of it are asked for.
#ifndef MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_
#define MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "engine/format/map_output.h"
#include "worker/shuffle/output_store.h"

namespace millrace::worker {

struct OpenOutput {
  std::unique_ptr<ReadFile> file;
  FileIdentity identity;
  engine::MapOutputSummary summary;
  uint64_t index_offset = 0;

  // Index and trailer as they stand in the file.
  absl::StatusOr<std::string> ReadIndexBytes() const;
};

// Thread-safe.
class OpenOutputs {
 public:
  // Borrows both. Keeps at most `files_max` files open that nobody reads.
  OpenOutputs(FileSystem& fs, const OutputStore& store, size_t files_max)
      : fs_(fs), store_(store), files_max_(files_max) {}

  // Blocks for the disk. Messages name ids, no path.
  //   kNotFound  there is no such output (any more)
  //   kDataLoss  it is damaged, or not the one its place says
  absl::StatusOr<std::shared_ptr<const OpenOutput>> Get(const JobId& job,
                                                        uint32_t map_index,
                                                        const AttemptUid& uid)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Closes what is open of the job, so that its space is free once it has been
  // deleted.
  void Forget(const JobId& job) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Key = std::pair<JobId, AttemptUid>;
  struct Entry {
    std::shared_ptr<const OpenOutput> output;
    std::list<Key>::iterator use;
  };

  void EraseLocked(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  FileSystem& fs_;
  const OutputStore& store_;
  const size_t files_max_;

  absl::Mutex mu_;
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::list<Key> use_ ABSL_GUARDED_BY(mu_);  // Least recently used first.
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_OPEN_OUTPUTS_H_
