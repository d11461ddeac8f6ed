// A follower takes its leader's entries, heartbeats and snapshots. It answers
// when what it says is durable: the answers go out with the next write.
#include <algorithm>

#include "common/status_macros.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {

absl::Status Core::Impl::HandleAppend(Message& message) {
  Message answer;
  answer.type = MessageType::kAppendResponse;
  answer.to = message.from;
  if (message.prev.index < log_.commit()) {
    // What is committed agrees with every leader's log; say how far that goes.
    answer.prev.index = log_.commit();
    Send(std::move(answer));
    return absl::OkStatus();
  }
  if (!log_.Matches(message.prev)) {
    answer.rejected = true;
    answer.prev.index = message.prev.index;
    // Entries of terms after prev.term cannot be in the leader's log before
    // prev, so a whole tail of them is skipped at once.
    answer.hint = log_.FindAgreement(
        {message.prev.term, std::min(message.prev.index, log_.last_index())});
    Send(std::move(answer));
    return absl::OkStatus();
  }
  // Behind it this log may have entries of this leader that came by a later
  // message; those stay.
  const uint64_t last_known = message.prev.index + message.entries.size();
  MR_RETURN_IF_ERROR(log_.Merge(std::move(message.entries)));
  if (config_.mutant.truncate_on_late_append &&
      last_known < log_.last_index()) {
    log_.TruncateFrom(last_known + 1);
  }
  MR_RETURN_IF_ERROR(log_.CommitTo(std::min(message.commit, last_known)));
  answer.prev.index = last_known;
  Send(std::move(answer));
  return absl::OkStatus();
}

absl::Status Core::Impl::HandleHeartbeat(const Message& message) {
  MR_RETURN_IF_ERROR(log_.CommitTo(message.commit));
  Message answer;
  answer.type = MessageType::kHeartbeatResponse;
  answer.to = message.from;
  answer.read_context = message.read_context;
  Send(std::move(answer));
  return absl::OkStatus();
}

absl::Status Core::Impl::HandleSnapshot(const Message& message) {
  bool restored = false;
  MR_RETURN_IF_ERROR(Restore(*message.snapshot, &restored));
  Message answer;
  answer.type = MessageType::kAppendResponse;
  answer.to = message.from;
  answer.prev.index = restored ? log_.last_index() : log_.commit();
  Send(std::move(answer));
  return absl::OkStatus();
}

// A snapshot that does not name this member is taken as well: it may be older
// than the change that added it, which is then the next entry or so.
absl::Status Core::Impl::Restore(const SnapshotMeta& snapshot, bool* restored) {
  *restored = false;
  if (!config_.mutant.snapshot_over_newer_log) {
    if (snapshot.last.index <= log_.commit()) return absl::OkStatus();
    // The log holds all that the snapshot does, and perhaps more.
    if (log_.Matches(snapshot.last)) return log_.CommitTo(snapshot.last.index);
  }
  log_.Restore(snapshot);
  membership_ = snapshot.membership;
  *restored = true;
  return absl::OkStatus();
}

}  // namespace millrace::raft
