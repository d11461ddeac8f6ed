#include "raft/node/mailbox.h"

namespace millrace::raft {
namespace {

// Of a message without entries.
constexpr uint64_t kMessageOverheadBytes = 256;

uint64_t Bytes(const Message& message) {
  uint64_t bytes = kMessageOverheadBytes;
  for (const LogEntry& entry : message.entries) {
    bytes += entry.payload.size() + sizeof(LogEntry);
  }
  return bytes;
}

}  // namespace

bool Mailbox::PostMessage(Message message) {
  const uint64_t bytes = Bytes(message);
  absl::MutexLock lock(&mu_);
  if (closed_ || mail_.messages.size() >= limits_.messages_max ||
      (message_bytes_ > 0 &&
       message_bytes_ + bytes > limits_.message_bytes_max)) {
    return false;
  }
  message_bytes_ += bytes;
  mail_.messages.push_back(std::move(message));
  woken_ = true;
  return true;
}

bool Mailbox::Take(absl::Duration timeout, Turn* turn, Mail* mail) {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return (woken_ && !taken_) || closed_;
  };
  const auto free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !taken_ || closed_;
  };
  absl::MutexLock lock(&mu_);
  if (std::exchange(turn->held_, false)) taken_ = false;
  if (!ready() && !mu_.AwaitWithTimeout(absl::Condition(&ready), timeout)) {
    mu_.Await(absl::Condition(&free));
  }
  if (closed_) return false;
  TakeLocked(turn, mail);
  return true;
}

void Mailbox::Yield(Turn* turn) {
  absl::MutexLock lock(&mu_);
  if (std::exchange(turn->held_, false)) taken_ = false;
}

bool Mailbox::Continue(Turn* turn, Mail* mail) {
  absl::MutexLock lock(&mu_);
  if (closed_) return false;
  if (taken_ && !turn->held_) {
    woken_ = true;
    return false;
  }
  TakeLocked(turn, mail);
  return true;
}

void Mailbox::TakeLocked(Turn* turn, Mail* mail) {
  turn->held_ = taken_ = true;
  woken_ = false;
  message_bytes_ = 0;
  *mail = std::exchange(mail_, Mail());
}

void Mailbox::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
}

Mail Mailbox::TakeRest() {
  absl::MutexLock lock(&mu_);
  return std::exchange(mail_, Mail());
}

}  // namespace millrace::raft
