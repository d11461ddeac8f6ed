#include "raft/node/log_writer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/fault_point.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "raft/log/log_store.h"

namespace millrace::raft {

LogWriter::LogWriter(SegmentLog& log, NodeLog& view) : log_(log), view_(view) {}

void LogWriter::Add(LogWrite write) {
  if (!done_.has_value()) done_ = Done();
  CHECK_GT(write.id, done_->id);
  done_->id = write.id;
  std::move(write.messages.begin(), write.messages.end(),
            std::back_inserter(done_->messages));
  must_sync_ = must_sync_ || write.must_sync;
  if (write.hard_state.has_value()) hard_state_ = write.hard_state;

  if (write.snapshot.has_value() || write.truncate_from.has_value()) {
    Step& step = steps_.emplace_back();
    step.snapshot = std::move(write.snapshot);
    step.truncate_from = write.truncate_from;
  }
  for (LogEntry& entry : write.entries) {
    const uint64_t cost = entry.payload.size() + kLogEntryOverheadBytes;
    if (steps_.empty() ||
        (!steps_.back().entries.empty() &&
         steps_.back().cost + cost > log_.append_bytes_max())) {
      steps_.emplace_back();
    }
    Step& step = steps_.back();
    step.cost += cost;
    step.entries.push_back(std::move(entry));
  }
}

absl::StatusOr<LogWriter::Done> LogWriter::Flush() {
  CHECK(!idle());
  // A hard state that nobody waits for goes with the next write.
  if (steps_.empty() && must_sync_ && hard_state_.has_value()) {
    steps_.emplace_back();
  }
  while (!steps_.empty()) {
    MR_RETURN_IF_ERROR(Carry(steps_.front(), steps_.size() == 1));
    steps_.pop_front();
  }
  if (must_sync_) {
    FaultPoint("log.before_sync");
    MR_RETURN_IF_ERROR(log_.Sync());
    FaultPoint("log.synced");
  }
  must_sync_ = false;
  Done done = *std::move(done_);
  done_.reset();
  return done;
}

absl::Status LogWriter::Carry(Step& step, bool last) {
  if (step.snapshot.has_value()) {
    MR_RETURN_IF_ERROR(BeginAnew(step.snapshot->last));
    step.snapshot.reset();
  }
  LogAppend append;
  append.truncate_from = step.truncate_from;
  append.entries = step.entries;
  if (hard_state_.has_value()) {
    // Term and vote before any entry that may stand in that term, the commit
    // index when all that it may point to is there.
    const uint64_t commit = log_.hard_state().commit;
    append.hard_state =
        HardState{hard_state_->term, hard_state_->vote,
                  last ? std::max(hard_state_->commit, commit) : commit};
  }
  // What is cut off must not be read from the cache when it is on the disk no
  // more; what is new may be once it is there.
  if (step.truncate_from.has_value()) view_.Truncated(*step.truncate_from);
  MR_RETURN_IF_ERROR(log_.Append(append));
  view_.Appended(std::move(step.entries));
  if (last) hard_state_.reset();
  return absl::OkStatus();
}

absl::Status LogWriter::BeginAnew(const EntryId& last) {
  const HardState now = log_.hard_state();
  LogAppend append;
  append.hard_state = hard_state_.value_or(now);
  append.hard_state->commit = now.commit;
  if (append.hard_state->term < last.term) {
    // The leader that sent it had this term; here no vote was cast in it.
    append.hard_state = HardState{last.term, 0, now.commit};
  }
  MR_RETURN_IF_ERROR(log_.Append(append));
  view_.BegunAnew();
  return log_.Reset(last.index, last.term);
}

absl::Status LogWriter::Drop(uint64_t index) {
  // The log must not begin behind what it knows to be committed.
  MR_RETURN_IF_ERROR(WriteHardState());
  MR_RETURN_IF_ERROR(log_.Sync());
  return log_.DropThrough(std::min(index, log_.hard_state().commit));
}

absl::Status LogWriter::Close() {
  MR_RETURN_IF_ERROR(WriteHardState());
  return log_.Close();
}

absl::Status LogWriter::WriteHardState() {
  if (!hard_state_.has_value() || !steps_.empty()) return absl::OkStatus();
  LogAppend append;
  append.hard_state = hard_state_;
  MR_RETURN_IF_ERROR(log_.Append(append));
  hard_state_.reset();
  return absl::OkStatus();
}

}  // namespace millrace::raft
