// What a leader sends to whom.
#include <algorithm>

#include "raft/core/core_impl.h"

namespace millrace::raft {

bool Core::Impl::SendAppend(NodeId to, bool even_if_empty) {
  Progress& progress = lead_->progress.at(to);
  if (progress.paused()) return false;
  const EntryId prev{0, progress.next() - 1};
  const std::optional<uint64_t> prev_term = log_.Term(prev.index);
  if (!prev_term.has_value()) return SendSnapshot(to, progress);

  std::vector<LogEntry> entries;
  if (progress.may_send_entries()) {
    std::optional<std::vector<LogEntry>> read =
        log_.Read(progress.next(), config_.append_bytes_max);
    if (!read.has_value()) return SendSnapshot(to, progress);
    entries = *std::move(read);
  }
  if (entries.empty() && !even_if_empty) return false;
  uint64_t bytes = 0;
  for (const LogEntry& entry : entries) bytes += entry.payload.size();
  progress.Sent(entries.size(), bytes, log_.commit());

  Message append;
  append.type = MessageType::kAppend;
  append.to = to;
  append.prev = {*prev_term, prev.index};
  append.commit = log_.commit();
  append.entries = std::move(entries);
  Send(std::move(append));
  return true;
}

bool Core::Impl::SendSnapshot(NodeId to, Progress& progress) {
  // Whoever does not answer is not sent the largest of all messages.
  if (!progress.recently_active()) return false;
  const std::optional<SnapshotMeta> snapshot = log_.Snapshot();
  if (!snapshot.has_value()) return false;
  progress.BecomeSnapshot(snapshot->last.index);
  Message message;
  message.type = MessageType::kSnapshot;
  message.to = to;
  message.snapshot = snapshot;
  Send(std::move(message));
  return true;
}

void Core::Impl::SendHeartbeat(NodeId to) {
  Progress& progress = lead_->progress.at(to);
  // Beyond its match the member's log may not be this one, and it would commit
  // something else.
  const uint64_t commit = config_.mutant.commit_not_capped_in_heartbeat
                              ? log_.commit()
                              : std::min(progress.match(), log_.commit());
  progress.SentCommit(commit);
  Message heartbeat;
  heartbeat.type = MessageType::kHeartbeat;
  heartbeat.to = to;
  heartbeat.commit = commit;
  heartbeat.read_context = lead_->reads.round();
  Send(std::move(heartbeat));
}

void Core::Impl::BroadcastAppend() {
  for (const auto& [id, progress] : lead_->progress) {
    if (id != config_.id) SendAppend(id, true);
  }
}

void Core::Impl::BroadcastHeartbeat() {
  lead_->read_round_due = false;
  for (const auto& [id, progress] : lead_->progress) {
    if (id != config_.id) SendHeartbeat(id);
  }
}

void Core::Impl::AppendOwn(uint8_t kind, std::string payload) {
  log_.Append({log_.last_index() + 1, term_, kind, std::move(payload)});
  if (config_.mutant.count_own_unsynced) CountOwnLog();
}

}  // namespace millrace::raft
