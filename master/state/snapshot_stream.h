// The bytes around the messages of a state's snapshot:
//
//   magic       8 bytes   "MRSTATE\n"
//   version     u32       kStateSnapshotVersion
//   zero        u32
//   messages    each: u32 its length, 1 byte to 16 MiB; then its bytes
//   end         u32       zero
//   checksum    u64       XXH3-64 of all bytes before it
//
// Numbers are little endian. The messages are SnapshotParts
// (proto/messages/state_snapshot.proto).
#ifndef MILLRACE_MASTER_STATE_SNAPSHOT_STREAM_H_
#define MILLRACE_MASTER_STATE_SNAPSHOT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "common/hash.h"
#include "proto/messages/state_snapshot.pb.h"

namespace millrace::master {

inline constexpr std::string_view kSnapshotMagic = "MRSTATE\n";
// What one entry of the log can bring is half as long.
inline constexpr uint32_t kSnapshotPartBytesMax = 16 << 20;

// Thread-compatible.
class SnapshotOutput {
 public:
  SnapshotOutput(ByteSink& sink, uint32_t version);

  // kResourceExhausted: longer than a part may be. Else the sink's errors.
  absl::Status Append(const proto::SnapshotPart& part);
  // Nothing may be appended afterwards.
  absl::Status Finish();

 private:
  void Put(std::string_view bytes);
  void PutNumber(uint64_t value, int bytes);
  // Hands over what is there in pieces of kPieceBytes; the rest, too, if `all`.
  absl::Status Flush(bool all);

  ByteSink& sink_;
  StreamHash64 hash_;
  std::string pending_;
};

// Thread-compatible. Nothing in `source` can make it take more memory than what
// it has read, and a buffer.
class SnapshotInput {
 public:
  explicit SnapshotInput(ByteSource& source) : source_(source) {}

  // Before the first Next().
  //   kDataLoss            not a snapshot's beginning
  //   kFailedPrecondition  of a later version
  absl::Status Begin();
  // kDataLoss: no message, or none that can be read, comes next.
  absl::Status Next(proto::SnapshotPart* part);
  // kDataLoss: something else than the right end comes next.
  absl::Status Finish();

 private:
  // Replaces `out` by exactly `size` bytes.
  absl::Status Take(size_t size, std::string* out);
  absl::Status TakeNumber(int bytes, uint64_t* value);

  ByteSource& source_;
  StreamHash64 hash_;  // Of what was taken.
  std::string buffer_;
  size_t used_ = 0;  // Of the buffer.
  uint64_t taken_ = 0;
  std::string message_;
};

// kDataLoss with "the state snapshot: " before it.
absl::Status BadSnapshot(std::string_view what);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_SNAPSHOT_STREAM_H_
