// Verifies the bytes of one partition while they arrive, so that what was
// damaged on the way is fetched again here and now, and not found by a reduce
// task that can only blame the map.
#ifndef MILLRACE_WORKER_SHUFFLE_BLOCK_VERIFIER_H_
#define MILLRACE_WORKER_SHUFFLE_BLOCK_VERIFIER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "common/hash.h"
#include "engine/format/block.h"
#include "engine/format/map_output.h"

namespace millrace::worker {

// Takes pieces of any length; goes on in the middle of a block, so a broken
// transfer resumes at bytes(). Memory: one block header. Thread-compatible.
class BlockVerifier {
 public:
  // `entry` stands in a verified index.
  BlockVerifier(const engine::MapOutputIdentity& identity, uint32_t partition,
                const engine::PartitionEntry& entry)
      : identity_(identity), partition_(partition), entry_(entry) {}

  // kDataLoss: the bytes are not those of the partition; nothing after that
  // counts, and all of it must be fetched again.
  absl::Status Add(std::string_view bytes);

  // Taken so far; blocks that are not complete yet count.
  uint64_t bytes() const { return bytes_; }
  // All bytes are here, in whole blocks whose checksums agree.
  bool complete() const {
    return bytes_ == entry_.bytes && blocks_ == entry_.blocks &&
           header_bytes_ == 0;
  }

 private:
  absl::Status Wrong(std::string_view what) const;
  absl::Status TakeHeader();
  absl::Status EndBlock();

  const engine::MapOutputIdentity identity_;
  const uint32_t partition_;
  const engine::PartitionEntry entry_;

  uint64_t bytes_ = 0;
  uint32_t blocks_ = 0;  // Complete ones.
  // The present block: how much of its header is here; 0 between blocks.
  size_t header_bytes_ = 0;
  char header_[engine::kBlockHeaderBytes];
  uint64_t payload_left_ = 0;  // Meaningful once the header is complete.
  StreamHash64 hash_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_BLOCK_VERIFIER_H_
