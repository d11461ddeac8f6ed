// Messages of the core as bytes of proto/messages/raft.proto, and back. What
// comes from outside is checked here, so that the core meets nothing that no
// member would have sent: see DecodeMessage.
#ifndef MILLRACE_RAFT_TRANSPORT_WIRE_H_
#define MILLRACE_RAFT_TRANSPORT_WIRE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/messages/raft.pb.h"
#include "raft/core/message.h"
#include "raft/core/types.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

// Of the body of one frame. Below rpc::kMessageBytesMax with room for the rest.
inline constexpr size_t kFrameBytesMax = size_t{1} << 20;
// Of one message, encoded. An append carries 1 MiB of payload or one entry of
// kPayloadBytesMax, and no more than 512 Ki entries of some 10 bytes beside
// their payloads (ProposalGate counts 128 bytes for each): 14 MiB.
inline constexpr size_t kWireMessageBytesMax = size_t{32} << 20;

proto::RaftMessage EncodeMessage(Message message);
// kInvalidArgument says which rule it breaks:
//   * the kind is known, indexes and terms stay below 2^62;
//   * entries stand in an append alone, are of known length, and their terms
//     neither decrease nor exceed the message's;
//   * a snapshot stands in a kSnapshot alone, is not empty, not of a later term
//     than the message's, and its membership can be decoded.
absl::StatusOr<Message> DecodeMessage(proto::RaftMessage message, NodeId from,
                                      NodeId to);

proto::RaftHello EncodeHello(const LogIdentity& self, NodeId to,
                             std::string_view address);
// What `hello` must be for a stream to `self`. kFailedPrecondition: it is meant
// for somebody else, or of another version. kInvalidArgument: it is none.
absl::Status CheckHello(const proto::RaftHello& hello, const LogIdentity& self);
// With what the checksums of its stream are seeded.
uint64_t SeedOf(const proto::RaftHello& hello);

// A kSnapshot and the description of its bytes, and back. kDataLoss: a checksum
// is not right; kInvalidArgument as DecodeMessage.
proto::RaftSnapshotBegin EncodeSnapshotBegin(proto::RaftHello hello,
                                             Message message,
                                             std::string_view description);
absl::StatusOr<Message> DecodeSnapshotBegin(
    const proto::RaftSnapshotBegin& begin);

// What waits to be written to one member, as frames. Thread-compatible.
class FrameQueue {
 public:
  struct Limits {
    size_t messages_max = 0;
    uint64_t bytes_max = 0;
  };
  explicit FrameQueue(const Limits& limits) : limits_(limits) {}

  // A new stream, with its first frame. What waits stays, from the beginning of
  // a message.
  proto::RaftFrame Begin(proto::RaftHello hello);

  // False: full; one message is taken whatever its size.
  bool Push(Message message);
  bool empty() const { return messages_.empty(); }
  // The next frame, without messages if there are none.
  proto::RaftFrame Take();
  void Clear();

 private:
  proto::RaftFrame Seal(std::string body) const;

  const Limits limits_;
  uint64_t seed_ = 0;
  std::deque<std::string> messages_;  // Encoded, behind their lengths.
  size_t taken_ = 0;                  // Of the first.
  uint64_t bytes_ = 0;                // Of all of them.
};

// Puts the frames of one stream together again. Thread-compatible.
class FrameReader {
 public:
  explicit FrameReader(const proto::RaftHello& hello)
      : from_(hello.from()), to_(hello.to()), seed_(SeedOf(hello)) {}

  // The messages that `frame` completes. After an error the stream is of no
  // use. kDataLoss: its checksum is not right. kInvalidArgument: no member
  // sends such.
  absl::StatusOr<std::vector<Message>> Add(const proto::RaftFrame& frame);

 private:
  NodeId from_;
  NodeId to_;
  uint64_t seed_;
  std::string bytes_;  // Of the message that is not complete.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_WIRE_H_
