// Cuts lists that have no bound into messages that have one.
#ifndef MILLRACE_RPC_PARTS_H_
#define MILLRACE_RPC_PARTS_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "google/protobuf/message_lite.h"
#include "rpc/limits.h"

namespace millrace::rpc {

// Messages of one kind, in order, each of at most kPartBytes and one member.
// Thread-compatible.
template <typename Message>
class Parts {
 public:
  Parts() : parts_(1) {}

  // The message that a member of so many bytes is to be added to.
  Message& For(size_t bytes) {
    if (filled_ > 0 && filled_ + bytes > kPartBytes) {
      parts_.emplace_back();
      filled_ = 0;
    }
    filled_ += bytes + kTagBytesMax;
    bytes_ += bytes + kTagBytesMax;
    return parts_.back();
  }
  Message& For(const google::protobuf::MessageLite& member) {
    return For(member.ByteSizeLong());
  }

  Message& first() { return parts_.front(); }
  // Of all members so far.
  size_t bytes() const { return bytes_; }
  // At least one. Call once.
  std::vector<Message> Take() { return std::move(parts_); }

 private:
  // Field number and length before each member.
  static constexpr size_t kTagBytesMax = 8;

  std::vector<Message> parts_;  // Never empty.
  size_t filled_ = 0;           // Of the last.
  size_t bytes_ = 0;
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_PARTS_H_
