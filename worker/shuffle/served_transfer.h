// What a holder does for one call, but for the network: sections, one behind
// the other, in messages as they go over the wire.
#ifndef MILLRACE_WORKER_SHUFFLE_SERVED_TRANSFER_H_
#define MILLRACE_WORKER_SHUFFLE_SERVED_TRANSFER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/messages/shuffle.pb.h"
#include "worker/shuffle/open_outputs.h"
#include "worker/shuffle/served_partition.h"
#include "worker/shuffle/slice_pool.h"

namespace millrace::worker {

// A FetchSlice, encoded: these bytes, and behind them those of the buffer.
struct ServedMessage {
  std::string head;
  std::unique_ptr<SlicePool::Buffer> data;  // May be null.
  size_t data_bytes = 0;
};

// Thread-compatible.
class ServedTransfer {
 public:
  // Sections that fit together go in one message: up to so many bytes, at most
  // a buffer's, ...
  static constexpr size_t kSharedBytes = 64 << 10;
  // ... and up to so many sections, whose files are opened before the first one
  // is sent.
  static constexpr int kSharedSections = 16;

  // Borrows both. What is read of large sections goes into buffers of `slices`.
  ServedTransfer(std::vector<FetchTarget> targets, OpenOutputs& outputs,
                 SlicePool& slices);

  // Blocks for the disk. False: all has been said.
  bool Next(ServedMessage* message);

 private:
  // Appends the present section's piece to a message that has room for others.
  // True: it was the last one that the message can take.
  bool Append(ServedMessage* message);
  void Refuse(const absl::Status& why, ServedMessage* message);
  void EndSection();

  const std::vector<FetchTarget> targets_;
  OpenOutputs& outputs_;
  SlicePool& slices_;
  const size_t shared_bytes_;

  size_t at_ = 0;                           // Of the targets.
  std::optional<ServedPartition> section_;  // That one, once it is open.
  // Of it, until it is sent.
  std::optional<proto::FetchHeader> header_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_SERVED_TRANSFER_H_
