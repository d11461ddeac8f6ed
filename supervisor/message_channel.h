// Length-prefixed Protobuf messages over a stream socket: the framing of
// proto/messages/task.proto, used by both ends.
#ifndef MILLRACE_SUPERVISOR_MESSAGE_CHANNEL_H_
#define MILLRACE_SUPERVISOR_MESSAGE_CHANNEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"

namespace millrace::supervisor {

inline constexpr uint32_t kMessageBytesMax = 64u << 20;

// Four bytes of length, little endian, and the message.
// kResourceExhausted: the message is larger than kMessageBytesMax.
absl::StatusOr<std::string> FrameMessage(
    const google::protobuf::MessageLite& message);

// Takes bytes as they arrive and gives whole frames back. Pure; fuzzed.
class FrameParser {
 public:
  // kDataLoss: a length beyond kMessageBytesMax; nothing can follow. Whole
  // frames that came before it are still given out.
  absl::Status Append(std::string_view bytes);
  // The payload of the next whole frame, if there is one; valid until the next
  // call of Append or Next. Memory is not reserved on the strength of a length
  // that has only been announced.
  std::optional<std::string_view> Next();
  // No part of a frame is waiting for its rest.
  bool at_boundary() const { return start_ == buffer_.size(); }

 private:
  std::string buffer_;
  size_t start_ = 0;  // Of the frame that Next gives next.
  // Of the first frame whose length has not been looked at; may lie beyond the
  // end of buffer_, where that frame will begin.
  size_t header_ = 0;
  bool broken_ = false;
};

// The job process's end: blocking, one thread.
class BlockingChannel {
 public:
  explicit BlockingChannel(int fd) : fd_(fd) {}

  absl::Status Send(const google::protobuf::MessageLite& message);
  // False: the other end closed the socket between two messages.
  // kDataLoss: it closed within one, or what it sent is no such message.
  absl::StatusOr<bool> Receive(google::protobuf::MessageLite* message);

 private:
  const int fd_;
  FrameParser parser_;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_MESSAGE_CHANNEL_H_
