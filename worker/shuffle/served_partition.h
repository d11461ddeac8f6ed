// What a holder does for one section, but for the network: finds the map
// output, says what it is, reads it piece by piece.
#ifndef MILLRACE_WORKER_SHUFFLE_SERVED_PARTITION_H_
#define MILLRACE_WORKER_SHUFFLE_SERVED_PARTITION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "proto/messages/shuffle.pb.h"
#include "worker/shuffle/open_outputs.h"

namespace millrace::worker {

// A section that a valid request names.
struct FetchTarget {
  JobId job;
  uint32_t map_index = 0;
  AttemptUid uid;
  uint32_t partition = 0;
  uint64_t offset = 0;
  bool want_index = false;
};

// In their order. kInvalidArgument: an id is not 16 bytes long, or there are no
// sections or too many.
absl::StatusOr<std::vector<FetchTarget>> TargetsOf(
    const proto::FetchRequest& request);

// Blocks for the disk. Messages name ids, no path. Thread-compatible.
class ServedPartition {
 public:
  explicit ServedPartition(const FetchTarget& target) : target_(target) {}

  // Fills the header of the first piece. Once, first. Errors of
  // OpenOutputs::Open, and kInvalidArgument: the request is beyond the output.
  absl::Status Open(OpenOutputs& outputs, proto::FetchHeader* header);

  // Of the next byte, from the partition's first.
  uint64_t offset() const { return offset_; }
  uint64_t left() const { return entry_.bytes - offset_; }
  // The next bytes. REQUIRES: size <= left().
  absl::Status Read(char* buffer, size_t size);

 private:
  // Without the file's path, which is nobody else's business.
  absl::Status Unreadable(absl::StatusCode code) const;

  const FetchTarget target_;
  OpenOutput output_;
  engine::PartitionEntry entry_;
  uint64_t offset_ = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_SERVED_PARTITION_H_
