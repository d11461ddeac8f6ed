#include "raft/node/snapshot_cycle.h"

#include <algorithm>

#include "common/logging.h"

namespace millrace::raft {
namespace {

// A snapshot costs what its state is long. With so many times as much of the
// log between two, snapshots are a fifth of what is written.
constexpr uint64_t kLogPerState = 4;

}  // namespace

SnapshotCycle::SnapshotCycle(const SnapshotPolicy& policy, uint64_t newest,
                             uint64_t older, Membership membership)
    : policy_(policy), newest_(newest), older_(older) {
  memberships_.emplace_back(newest, std::move(membership));
}

void SnapshotCycle::HandedOver(uint64_t entries, uint64_t bytes) {
  entries_ += entries;
  bytes_ += bytes;
}

void SnapshotCycle::MembershipApplied(uint64_t index, Membership membership) {
  CHECK_GE(index, memberships_.back().first);
  memberships_.emplace_back(index, std::move(membership));
}

void SnapshotCycle::Installed(uint64_t index, Membership membership) {
  StandsAt(index);
  memberships_.clear();
  memberships_.emplace_back(index, std::move(membership));
}

void SnapshotCycle::Adopted(uint64_t index) {
  StandsAt(index);
  // The one that is being written may be older, and is of no use any more.
  KeepMembershipsFrom(index);
}

void SnapshotCycle::StandsAt(uint64_t index) {
  if (index > newest_) {
    older_ = newest_;
    newest_ = index;
  }
  entries_ = bytes_ = 0;
}

void SnapshotCycle::KeepMembershipsFrom(uint64_t index) {
  while (memberships_.size() > 1 && memberships_[1].first <= index) {
    memberships_.pop_front();
  }
}

void SnapshotCycle::MakeDue() {
  entries_ = std::max(entries_, policy_.entries);
}

bool SnapshotCycle::TakeWanted() {
  const uint64_t bytes_due =
      std::clamp(kLogPerState * std::min(state_bytes_, policy_.bytes_max),
                 policy_.bytes_min, policy_.bytes_max);
  const bool due =
      entries_ >= policy_.entries || bytes_ >= policy_.bytes_max ||
      (bytes_ >= bytes_due && now_ - asked_at_ >= policy_.interval_ticks);
  if (state_ != State::kIdle || now_ < not_before_ || !due) return false;
  state_ = State::kAsked;
  asked_at_ = now_;
  entries_ = bytes_ = 0;
  return true;
}

void SnapshotCycle::Taken(uint64_t index) {
  CHECK(state_ == State::kAsked) << "a snapshot that nobody asked for";
  state_ = State::kTaken;
  index_ = index;
}

std::optional<SnapshotCycle::Write> SnapshotCycle::TakeWrite(uint64_t applied) {
  if (state_ != State::kTaken || index_ > applied) return {};
  if (index_ <= newest_ || index_ < memberships_.front().first) {
    state_ = State::kIdle;
    forget_ = true;
    return {};
  }
  state_ = State::kWriting;
  KeepMembershipsFrom(index_);
  return Write{index_, memberships_.front().second};
}

bool SnapshotCycle::TakeForget() { return std::exchange(forget_, false); }

std::optional<SnapshotCycle::Write> SnapshotCycle::Written(
    std::optional<uint64_t> bytes) {
  CHECK(state_ == State::kWriting) << "no snapshot was being written";
  state_ = State::kIdle;
  state_bytes_ = bytes.value_or(state_bytes_);
  if (index_ <= newest_) return {};  // A leader's came meanwhile.
  if (!bytes.has_value()) {
    // What it was to save is still there to be saved.
    not_before_ = now_ + policy_.retry_ticks;
    MakeDue();
    return {};
  }
  older_ = newest_;
  newest_ = index_;
  return Write{index_, memberships_.front().second};
}

uint64_t SnapshotCycle::drop_through() const {
  return std::min(newest_ - std::min(newest_, policy_.keep_entries), older_);
}

}  // namespace millrace::raft
