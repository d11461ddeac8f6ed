// What waits for the node's threads. Everything in it is bounded: messages by
// number and size (what comes beyond is dropped, Raft asks again), proposals by
// ProposalGate, requests by the number of callbacks that the node takes, and
// reports by what was asked for.
#ifndef MILLRACE_RAFT_NODE_MAILBOX_H_
#define MILLRACE_RAFT_NODE_MAILBOX_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/byte_stream.h"
#include "raft/core/membership.h"
#include "raft/core/message.h"
#include "raft/core/types.h"

namespace millrace::raft {

// One event of each kind that can repeat, in order; the last one of the others.
struct Mail {
  struct Proposal {
    uint64_t term = 0;
    std::vector<std::string> payloads;
  };
  struct Confirmation {
    uint64_t term = 0;
    std::function<void(absl::Status)> done;
  };
  struct Change {
    MembershipChange change;
    std::function<void(absl::Status)> done;
  };
  struct ReceivedSnapshot {
    Message message;
    std::unique_ptr<ByteSource> state;
  };

  std::vector<Message> messages;
  std::vector<NodeId> unreachable;
  std::vector<Proposal> proposals;
  std::vector<Confirmation> confirmations;
  std::vector<Change> changes;
  std::vector<std::pair<NodeId, std::function<void(absl::Status)>>> transfers;
  std::vector<ReceivedSnapshot> received_snapshots;
  std::vector<std::pair<NodeId, bool>> sent_snapshots;
  std::optional<std::string> address;
  std::optional<uint64_t> durable;    // Write.
  std::optional<uint64_t> delivered;  // Delivery.
  std::optional<bool> blocked;
  std::optional<bool> nearly_full;
  std::optional<uint64_t> snapshot_taken;
  // Of its state; none: it could not be written.
  struct WrittenSnapshot {
    std::optional<uint64_t> bytes;
  };
  std::optional<WrittenSnapshot> snapshot_written;
};

// Thread-safe. The node's work is done by one thread at a time, the one that
// has the *turn*: it gets it with the mail.
class Mailbox {
 public:
  // Of one thread, which keeps it for as long as it uses the mailbox.
  class Turn {
   private:
    friend class Mailbox;
    bool held_ = false;
  };
  struct Limits {
    size_t messages_max = 4096;
    uint64_t message_bytes_max = uint64_t{64} << 20;
  };
  explicit Mailbox(const Limits& limits) : limits_(limits) {}

  // Changes the mail by `put(mail)`, and wakes a node's thread if `wake`.
  template <typename Put>
  void Post(const Put& put, bool wake = true) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    put(mail_);
    woken_ = woken_ || wake;
  }
  // False: dropped.
  bool PostMessage(Message message) ABSL_LOCKS_EXCLUDED(mu_);
  // False: the box is closed, `request` is as it was.
  template <typename Request>
  bool PostRequest(std::vector<Request> Mail::*kind, Request& request)
      ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (closed_) return false;
    (mail_.*kind).push_back(std::move(request));
    woken_ = true;
    return true;
  }

  // Gives the turn back if this thread has it; waits until there is something,
  // at most `timeout`, and nobody has the turn; takes it, and all of the mail.
  // False: the box is closed.
  bool Take(absl::Duration timeout, Turn* turn, Mail* mail)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Before something that takes long: another thread may go on meanwhile.
  void Yield(Turn* turn) ABSL_LOCKS_EXCLUDED(mu_);
  // Afterwards, when something was posted: takes turn and mail if this thread
  // has the turn still or nobody has. False: another thread goes on with it, or
  // the box is closed.
  bool Continue(Turn* turn, Mail* mail) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing is taken any more; requests are refused. What is in it stays.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  Mail TakeRest() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void TakeLocked(Turn* turn, Mail* mail) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Limits limits_;
  absl::Mutex mu_;
  Mail mail_ ABSL_GUARDED_BY(mu_);
  uint64_t message_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;  // Somebody has the turn.
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_MAILBOX_H_
