#include "raft/core/raft_log.h"

#include <algorithm>

#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

uint64_t PayloadBytes(const std::vector<LogEntry>& entries) {
  uint64_t bytes = 0;
  for (const LogEntry& entry : entries) bytes += entry.payload.size();
  return bytes;
}

}  // namespace

RaftLog::RaftLog(const LogView& view, uint64_t commit, uint64_t applied,
                 uint64_t apply_bytes_max, bool keep_marks)
    : view_(view),
      apply_bytes_max_(apply_bytes_max),
      unstable_(view.last_index(), keep_marks),
      commit_(commit),
      applied_(applied),
      applying_(applied) {}

// ------------------------------------------------------------------ questions

uint64_t RaftLog::first_index() const {
  if (snapshot_pending()) return unstable_.snapshot()->last.index + 1;
  return view_.first_index();
}

EntryId RaftLog::last() const {
  return {Term(last_index()).value_or(0), last_index()};
}

std::optional<uint64_t> RaftLog::Term(uint64_t index) const {
  if (index >= unstable_.end()) return {};
  if (index >= unstable_.first()) return unstable_.at(index).term;
  if (snapshot_pending()) {
    const EntryId& last = unstable_.snapshot()->last;
    if (index == last.index) return last.term;
    return {};
  }
  const absl::StatusOr<uint64_t> term = view_.Term(index);
  if (term.ok()) return *term;
  if (!absl::IsOutOfRange(term.status())) status_.Update(term.status());
  return {};
}

bool RaftLog::IsUpToDate(const EntryId& theirs) const {
  const EntryId ours = last();
  return theirs.term > ours.term ||
         (theirs.term == ours.term && theirs.index >= ours.index);
}

EntryId RaftLog::FindAgreement(const EntryId& other) const {
  for (uint64_t index = other.index; index > 0; --index) {
    const std::optional<uint64_t> term = Term(index);
    // Not known: it may agree, and there is nothing better to say.
    if (!term.has_value()) return {0, index};
    if (*term <= other.term) return {*term, index};
  }
  return {};
}

std::optional<std::vector<LogEntry>> RaftLog::ReadRange(
    uint64_t first, uint64_t end, uint64_t bytes_max) const {
  std::vector<LogEntry> entries;
  if (first >= end) return entries;
  if (first < first_index()) return {};
  uint64_t bytes = 0;
  if (first < unstable_.first()) {
    const uint64_t durable_end = std::min(end, unstable_.first());
    absl::StatusOr<std::vector<LogEntry>> durable =
        view_.Read(first, durable_end, bytes_max);
    if (!durable.ok()) {
      // Dropped behind a newer snapshot since first_index() was asked for.
      if (!absl::IsOutOfRange(durable.status())) {
        status_.Update(durable.status());
      }
      return {};
    }
    entries = *std::move(durable);
    if (first + entries.size() < durable_end) return entries;
    bytes = PayloadBytes(entries);
  }
  for (uint64_t index = first + entries.size(); index < end; ++index) {
    const LogEntry& entry = unstable_.at(index);
    bytes += entry.payload.size();
    if (!entries.empty() && bytes > bytes_max) break;
    entries.push_back(entry);
  }
  return entries;
}

bool RaftLog::HasUnappliedMembership() const {
  uint64_t next = applied_ + 1;
  while (next <= commit_) {
    const auto entries = ReadRange(next, commit_ + 1, apply_bytes_max_);
    // Behind a snapshot that is not durable yet, or unreadable: who knows.
    if (!entries.has_value()) return true;
    for (const LogEntry& entry : *entries) {
      if (entry.kind == kMembershipEntry) return true;
    }
    next += entries->size();
  }
  return false;
}

std::optional<SnapshotMeta> RaftLog::Snapshot() const {
  const uint64_t first = view_.first_index();
  SnapshotMeta snapshot = view_.Snapshot();
  if (snapshot.last.index > 0 && snapshot.last.index + 1 >= first) {
    return snapshot;
  }
  status_.Update(absl::InternalError(
      Av(Cat("raft log: it begins at entry ", first,
             ", but the newest snapshot ends at ", snapshot.last.index))));
  return {};
}

// -------------------------------------------------------------------- changes

absl::Status RaftLog::Merge(std::vector<LogEntry> entries) {
  size_t known = 0;
  while (known < entries.size() &&
         Matches({entries[known].term, entries[known].index})) {
    ++known;
  }
  MR_RETURN_IF_ERROR(status_);
  if (known == entries.size()) return absl::OkStatus();
  const uint64_t first_new = entries[known].index;
  if (first_new <= commit_) {
    return absl::InternalError(
        Av(Cat("raft log: the leader's entry ", first_new, " of term ",
               entries[known].term, " differs from one that is committed here",
               " (up to ", commit_, ")")));
  }
  if (first_new <= last_index()) unstable_.TruncateFrom(first_new);
  for (size_t i = known; i < entries.size(); ++i) {
    unstable_.Append(std::move(entries[i]));
  }
  return absl::OkStatus();
}

absl::Status RaftLog::CommitTo(uint64_t index) {
  if (index <= commit_) return absl::OkStatus();
  if (index > last_index()) {
    return absl::InternalError(
        Av(Cat("raft log: entry ", index, " is committed, but the log of this ",
               "member ends at ", last_index(),
               "; it has lost entries that it acknowledged")));
  }
  commit_ = index;
  return absl::OkStatus();
}

void RaftLog::Restore(const SnapshotMeta& snapshot) {
  commit_ = snapshot.last.index;
  unstable_.Restore(snapshot);
}

void RaftLog::Durable(uint64_t write_id) {
  const std::optional<SnapshotMeta> snapshot = unstable_.Durable(write_id);
  if (!snapshot.has_value()) return;
  applied_ = applying_ = snapshot->last.index;
  applying_batches_.clear();
  applying_bytes_ = 0;
}

// ------------------------------------------------------------------- applying

uint64_t RaftLog::AppliableEnd() const {
  return std::min(commit_ + 1, unstable_.first());
}

bool RaftLog::HasCommitted() const {
  return !snapshot_pending() && applying_ + 1 < AppliableEnd() &&
         applying_bytes_ < apply_bytes_max_;
}

std::vector<LogEntry> RaftLog::TakeCommitted() {
  if (!HasCommitted()) return {};
  std::optional<std::vector<LogEntry>> entries = ReadRange(
      applying_ + 1, AppliableEnd(), apply_bytes_max_ - applying_bytes_);
  if (!entries.has_value()) {
    status_.Update(absl::InternalError(Av(Cat(
        "raft log: committed entry ", applying_ + 1,
        " is gone before it was applied; the log begins at ", first_index()))));
    return {};
  }
  const uint64_t bytes = PayloadBytes(*entries);
  applying_ += entries->size();
  applying_batches_.push_back({applying_, bytes});
  applying_bytes_ += bytes;
  return *std::move(entries);
}

absl::Status RaftLog::AppliedTo(uint64_t index) {
  // An older one can come late, from before a snapshot.
  if (index <= applied_) return absl::OkStatus();
  if (index > applying_) {
    return absl::InternalError(
        Av(Cat("raft log: entry ", index, " is said to be applied, but only ",
               applying_, " were handed out")));
  }
  applied_ = index;
  while (!applying_batches_.empty() &&
         applying_batches_.front().last_index <= index) {
    applying_bytes_ -= applying_batches_.front().bytes;
    applying_batches_.pop_front();
  }
  return absl::OkStatus();
}

}  // namespace millrace::raft
