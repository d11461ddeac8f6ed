// A member's progress against a dumb twin, which remembers every message that
// is on its way.
#include "raft/core/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>

#include "common/random.h"
#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using State = ProgressStatus::State;
constexpr int kCases = 10000;

TEST(InflightsTest, AreAWindowOverAListOfMessages) {
  const std::unique_ptr<Random> random = Random::Seeded(1);
  const int messages_max = 5;
  const uint64_t bytes_max = 20;
  Inflights window(messages_max, bytes_max);
  std::deque<std::pair<uint64_t, uint64_t>> dumb;
  uint64_t index = 0;
  for (int i = 0; i < kCases; ++i) {
    uint64_t bytes = 0;
    for (const auto& message : dumb) bytes += message.second;
    ASSERT_EQ(window.count(), static_cast<int>(dumb.size()));
    ASSERT_EQ(window.bytes(), bytes);
    ASSERT_EQ(window.full(), dumb.size() >= messages_max || bytes >= bytes_max);
    if (!window.full() && random->Uniform(2) == 0) {
      index += 1 + random->Uniform(3);
      const uint64_t size = random->Uniform(15);
      window.Add(index, size);
      dumb.emplace_back(index, size);
    } else if (random->Uniform(50) == 0) {
      window.Clear();
      dumb.clear();
    } else {
      const uint64_t to = index - std::min(index, random->Uniform(10));
      window.FreeUpTo(to);
      std::erase_if(dumb, [to](const auto& m) { return m.first <= to; });
    }
  }
}

// The rules, written down as they are said rather than as they are stored.
class TwinProgress {
 public:
  explicit TwinProgress(uint64_t seed)
      : random_(Random::Seeded(seed)),
        real_(0, 1 + random_->Uniform(3), Inflights(4, 1000)) {
    next_ = real_.next();
  }

  void Step() {
    switch (random_->Uniform(8)) {
      case 0:
      case 1:
      case 2:
        Send();
        break;
      case 3:
        Acknowledge();
        break;
      case 4:
        Reject();
        break;
      case 5:
        real_.ResumeAppends();
        blocked_ = false;
        break;
      case 6:
        Become();
        break;
      case 7:
        SnapshotEnded();
        break;
    }
    Compare();
  }

  const std::set<State>& seen() const { return seen_; }

 private:
  bool full() const {
    uint64_t bytes = 0;
    for (const auto& [index, size] : window_) bytes += size;
    return window_.size() >= 4 || bytes >= 1000;
  }

  void Enter(State state) {
    state_ = state;
    blocked_ = false;
    window_.clear();
    pending_ = 0;
  }

  void Send() {
    if (real_.paused()) return;
    const uint64_t entries = real_.may_send_entries() ? random_->Uniform(4) : 0;
    const uint64_t bytes = random_->Uniform(400);
    const uint64_t commit = random_->Uniform(next_ + 3);
    real_.Sent(entries, bytes, commit);
    if (state_ == State::kReplicate) {
      if (entries > 0) {
        next_ += entries;
        window_[next_ - 1] = bytes;
      }
      blocked_ = full();
    } else if (entries > 0) {
      blocked_ = true;
    }
    sent_commit_ = commit;
  }

  void Acknowledge() {
    const uint64_t index =
        match_ + random_->Uniform(5) - std::min<uint64_t>(match_, 1);
    ASSERT_EQ(real_.Acknowledged(index), index > match_);
    if (index > match_) {
      match_ = index;
      next_ = std::max(next_, index + 1);
      blocked_ = false;
    }
    if (state_ == State::kReplicate) {
      real_.FreeInflightsUpTo(index);
      std::erase_if(window_, [&](const auto& m) { return m.first <= index; });
    }
  }

  void Reject() {
    const uint64_t rejected =
        random_->Uniform(2) == 0 ? next_ - 1 : random_->Uniform(next_ + 2);
    const uint64_t hint =
        random_->Uniform(3) == 0 ? ~uint64_t{0} : random_->Uniform(next_ + 2);
    const bool streaming = state_ == State::kReplicate;
    const bool news = state_ == State::kSnapshot ? false
                      : streaming                ? rejected > match_
                                                 : rejected == next_ - 1;
    ASSERT_EQ(real_.Rejected(rejected, hint), news);
    if (!news) return;
    if (streaming) {
      next_ = match_ + 1;
      Enter(State::kProbe);
    } else {
      // Behind the hint, not past what was refused, not before what matches.
      const uint64_t behind_hint = hint == ~uint64_t{0} ? 0 : hint + 1;
      next_ =
          std::clamp(behind_hint, match_ + 1, std::max(rejected, match_ + 1));
      blocked_ = false;
    }
    sent_commit_ = std::min(sent_commit_, next_ - 1);
  }

  void Become() {
    switch (random_->Uniform(3)) {
      case 0: {
        real_.BecomeProbe();
        next_ = std::max(match_, pending_) + 1;
        sent_commit_ = std::min(sent_commit_, next_ - 1);
        Enter(State::kProbe);
        break;
      }
      case 1:
        real_.BecomeReplicate();
        next_ = match_ + 1;
        Enter(State::kReplicate);
        break;
      case 2: {
        const uint64_t index = match_ + 1 + random_->Uniform(10);
        real_.BecomeSnapshot(index);
        Enter(State::kSnapshot);
        pending_ = index;
        next_ = index + 1;
        sent_commit_ = index;
        break;
      }
    }
  }

  void SnapshotEnded() {
    const bool ok = random_->Uniform(2) == 0;
    real_.SnapshotEnded(ok);
    if (state_ != State::kSnapshot) return;
    next_ = (ok ? std::max(match_, pending_) : match_) + 1;
    sent_commit_ = std::min(sent_commit_, next_ - 1);
    Enter(State::kProbe);
    blocked_ = true;
  }

  void Compare() {
    const ProgressStatus status = real_.Status();
    seen_.insert(status.state);
    ASSERT_EQ(status.state, state_);
    ASSERT_EQ(status.match, match_);
    ASSERT_EQ(status.next, next_);
    ASSERT_LT(status.match, status.next);
    if (status.state == State::kSnapshot && match_ < pending_) {
      ASSERT_EQ(status.next, status.pending_snapshot + 1);
    }
    ASSERT_EQ(status.paused, state_ == State::kSnapshot || blocked_);
    ASSERT_EQ(status.pending_snapshot, pending_);
    ASSERT_EQ(status.inflight, static_cast<int>(window_.size()));
    ASSERT_EQ(status.inflight_full, full());
    ASSERT_EQ(real_.may_send_entries(), state_ != State::kReplicate || !full());
    for (const uint64_t commit : {sent_commit_, sent_commit_ + 1}) {
      ASSERT_EQ(real_.CanRaiseCommit(commit),
                commit > sent_commit_ && sent_commit_ < next_ - 1);
    }
  }

  const std::unique_ptr<Random> random_;
  Progress real_;
  State state_ = State::kProbe;
  uint64_t match_ = 0;
  uint64_t next_ = 0;
  bool blocked_ = false;
  uint64_t pending_ = 0;
  uint64_t sent_commit_ = 0;
  std::map<uint64_t, uint64_t> window_;
  std::set<State> seen_;
};

TEST(ProgressTest, KeepsItsRules) {
  std::map<State, int> seeds_that_saw;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    TwinProgress twin(seed);
    for (int step = 0; step < 50; ++step) {
      twin.Step();
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", step " << step;
    }
    for (const State state : twin.seen()) ++seeds_that_saw[state];
  }
  for (const State state :
       {State::kProbe, State::kReplicate, State::kSnapshot}) {
    EXPECT_GT(seeds_that_saw[state], 100) << static_cast<int>(state);
  }
}

TEST(ProgressTest, FollowsTheMembership) {
  const std::unique_ptr<Random> random = Random::Seeded(1);
  std::map<NodeId, Progress> progress;
  std::map<NodeId, uint64_t> joined_at;
  const Inflights empty(4, 1000);
  for (uint64_t last_index = 0; last_index < kCases; ++last_index) {
    Membership membership;
    for (NodeId id = 1; id <= 6; ++id) {
      if (random->Uniform(3) > 0)
        membership[id].voter = random->Uniform(2) == 0;
    }
    FollowMembership(membership, last_index, empty, &progress);
    for (NodeId id = 1; id <= 6; ++id) {
      ASSERT_EQ(progress.contains(id), membership.contains(id));
      if (!membership.contains(id)) {
        joined_at.erase(id);
        continue;
      }
      joined_at.try_emplace(id, last_index);
      ASSERT_EQ(progress.at(id).next(),
                std::max<uint64_t>(joined_at.at(id), 1));
      ASSERT_EQ(progress.at(id).match(), 0u);
      ASSERT_TRUE(progress.at(id).recently_active());
    }
  }
}

}  // namespace
}  // namespace millrace::raft
