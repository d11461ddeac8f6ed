#include "supervisor/message_channel.h"

#include <sys/socket.h>

#include <cerrno>

#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::supervisor {
namespace {

constexpr size_t kHeaderBytes = 4;
constexpr size_t kReadBytes = 64 << 10;
// A buffer that grew beyond this for one message is given back.
constexpr size_t kKeptCapacity = 1 << 20;

uint32_t LengthAt(const char* bytes) {
  const auto* b = reinterpret_cast<const unsigned char*>(bytes);
  return static_cast<uint32_t>(b[0]) | static_cast<uint32_t>(b[1]) << 8 |
         static_cast<uint32_t>(b[2]) << 16 | static_cast<uint32_t>(b[3]) << 24;
}

}  // namespace

absl::StatusOr<std::string> FrameMessage(
    const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  if (size > kMessageBytesMax) {
    return absl::ResourceExhaustedError(
        Cat("a task message of ", HumanBytes(size), " is larger than ",
            HumanBytes(kMessageBytesMax)));
  }
  std::string frame;
  frame.reserve(kHeaderBytes + size);
  for (int shift = 0; shift < 32; shift += 8) {
    frame.push_back(static_cast<char>(size >> shift & 0xff));
  }
  if (!message.AppendPartialToString(&frame)) {
    return absl::InternalError("a task message cannot be serialised");
  }
  return frame;
}

absl::Status FrameParser::Append(std::string_view bytes) {
  if (broken_) return absl::DataLossError("a frame too long came before");
  if (start_ == buffer_.size()) {
    buffer_.clear();
    if (buffer_.capacity() > kKeptCapacity) buffer_.shrink_to_fit();
    header_ -= start_;
    start_ = 0;
  } else if (start_ > buffer_.size() / 2) {
    buffer_.erase(0, start_);
    header_ -= start_;
    start_ = 0;
  }
  buffer_.append(bytes);
  while (buffer_.size() >= header_ + kHeaderBytes) {
    const uint32_t length = LengthAt(buffer_.data() + header_);
    if (length > kMessageBytesMax) {
      broken_ = true;
      // What came before is whole and stays; the rest means nothing.
      buffer_.resize(header_);
      return absl::DataLossError(Cat("a frame announces ", length,
                                     " bytes, more than ",
                                     HumanBytes(kMessageBytesMax)));
    }
    header_ += kHeaderBytes + length;
  }
  return absl::OkStatus();
}

std::optional<std::string_view> FrameParser::Next() {
  if (buffer_.size() - start_ < kHeaderBytes) return std::nullopt;
  const uint32_t length = LengthAt(buffer_.data() + start_);
  if (buffer_.size() - start_ - kHeaderBytes < length) return std::nullopt;
  const std::string_view payload(buffer_.data() + start_ + kHeaderBytes,
                                 length);
  start_ += kHeaderBytes + length;
  return payload;
}

absl::Status BlockingChannel::Send(
    const google::protobuf::MessageLite& message) {
  MR_ASSIGN_OR_RETURN(const std::string frame, FrameMessage(message));
  std::string_view rest = frame;
  while (!rest.empty()) {
    const ssize_t n = send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE || errno == ECONNRESET) {
        return absl::UnavailableError("the other end of the socket is gone");
      }
      return ErrnoStatus(errno, "write to", "task socket");
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BlockingChannel::Receive(
    google::protobuf::MessageLite* message) {
  char chunk[kReadBytes];
  while (true) {
    if (const std::optional<std::string_view> payload = parser_.Next()) {
      if (!message->ParseFromArray(payload->data(),
                                   static_cast<int>(payload->size()))) {
        return absl::DataLossError(
            Cat("a frame of ", payload->size(), " bytes is no task message"));
      }
      return true;
    }
    const ssize_t n = recv(fd_, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    // A peer that dies with something of ours unread resets the connection.
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
      if (parser_.at_boundary()) return false;
      return absl::DataLossError("the socket was closed within a message");
    }
    if (n < 0) return ErrnoStatus(errno, "read from", "task socket");
    MR_RETURN_IF_ERROR(
        parser_.Append(std::string_view(chunk, static_cast<size_t>(n))));
  }
}

}  // namespace millrace::supervisor
