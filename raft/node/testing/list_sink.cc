#include "raft/node/testing/list_sink.h"

#include <gtest/gtest.h>

#include <cstring>

#include "common/clock.h"

namespace millrace::raft {
namespace {

// Length and bytes of each payload.
std::string Encode(const std::vector<std::string>& payloads) {
  std::string out;
  for (const std::string& payload : payloads) {
    const auto size = static_cast<uint32_t>(payload.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof(size));
    out += payload;
  }
  return out;
}

std::vector<std::string> Decode(const std::string& in) {
  std::vector<std::string> payloads;
  for (size_t at = 0; at < in.size();) {
    uint32_t size = 0;
    std::memcpy(&size, in.data() + at, sizeof(size));
    payloads.push_back(in.substr(at + sizeof(size), size));
    at += sizeof(size) + size;
  }
  return payloads;
}

}  // namespace

void ListSink::OnCommitted(std::vector<CommittedEntry> entries) {
  std::function<void()> on_committed;
  {
    absl::MutexLock lock(&mu_);
    if (dead_) return;
    ASSERT_FALSE(entries.empty());
    for (CommittedEntry& entry : entries) {
      ASSERT_GT(entry.index, index_);
      ASSERT_GE(entry.term, entry_term_);
      index_ = entry.index;
      entry_term_ = entry.term;
      payloads_.push_back(std::move(entry.payload));
    }
    if (!told_) replayed_ = payloads_.size();
    ++batches_;
    on_committed = on_committed_;
  }
  if (on_committed) on_committed();
  const auto free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !held_; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&free));
}

void ListSink::OnSnapshot(uint64_t index, uint64_t term,
                          std::unique_ptr<ByteSource> state) {
  std::string bytes;
  char buffer[1000];
  for (;;) {
    const absl::StatusOr<size_t> n = state->Read(buffer, sizeof(buffer));
    if (!n.ok()) {
      absl::MutexLock lock(&mu_);
      EXPECT_TRUE(power_cut_expected_) << n.status();
      dead_ = true;
      return;
    }
    if (*n == 0) break;
    bytes.append(buffer, *n);
  }
  absl::MutexLock lock(&mu_);
  ASSERT_GE(index, index_);
  ASSERT_GE(term, entry_term_);
  std::vector<std::string> payloads = Decode(bytes);
  // It goes on from what was here.
  ASSERT_GE(payloads.size(), payloads_.size());
  ASSERT_TRUE(std::equal(payloads_.begin(), payloads_.end(), payloads.begin()));
  payloads_ = std::move(payloads);
  index_ = index;
  entry_term_ = term;
  if (!told_) replayed_ = payloads_.size();
  ++restored_;
}

void ListSink::OnSnapshotWanted(SnapshotTaken done) {
  uint64_t index = 0;
  std::vector<std::string> frozen;
  {
    absl::MutexLock lock(&mu_);
    ++asked_;
    index = index_;
    frozen = payloads_;
  }
  done(index, [this, frozen = std::move(frozen)](ByteSink& sink) {
    {
      const auto free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
        return !snapshots_held_;
      };
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&free));
    }
    return sink.Append(Encode(frozen));
  });
}

void ListSink::OnLeading(uint64_t term) {
  absl::MutexLock lock(&mu_);
  if (dead_) return;
  ASSERT_GT(term, leads_ ? term_ : 0) << "leads one term twice";
  ASSERT_GE(term, term_);
  told_ = true;
  leads_ = true;
  term_ = term;
  leader_address_.clear();
}

void ListSink::OnFollowing(uint64_t term, std::string leader_address) {
  absl::MutexLock lock(&mu_);
  if (dead_) return;
  ASSERT_GE(term, term_);
  told_ = true;
  leads_ = false;
  term_ = term;
  leader_address_ = std::move(leader_address);
}

uint64_t ListSink::WaitUntilLeading() { return WaitUntilLeadingAfter(0); }

uint64_t ListSink::WaitUntilLeadingAfter(uint64_t term) {
  const auto leads = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return leads_ && term_ > term;
  };
  absl::MutexLock lock(&mu_);
  EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&leads), kTestPatience))
      << "does not lead";
  return term_;
}

void ListSink::WaitUntilFollowing() {
  const auto follows = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return told_ && !leads_;
  };
  absl::MutexLock lock(&mu_);
  EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&follows), kTestPatience))
      << "goes on leading";
}

std::vector<std::string> ListSink::WaitFor(size_t count) {
  const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return payloads_.size() >= count;
  };
  absl::MutexLock lock(&mu_);
  EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience))
      << payloads_.size() << " of " << count;
  return payloads_;
}

void ListSink::WaitForSnapshots(size_t restored) {
  const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return restored_ >= restored;
  };
  absl::MutexLock lock(&mu_);
  EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience))
      << "no snapshot came";
}

void ListSink::Hold() {
  absl::MutexLock lock(&mu_);
  held_ = true;
}

void ListSink::Release() {
  absl::MutexLock lock(&mu_);
  held_ = false;
}

void ListSink::HoldSnapshots() {
  absl::MutexLock lock(&mu_);
  snapshots_held_ = true;
}

void ListSink::ReleaseSnapshots() {
  absl::MutexLock lock(&mu_);
  snapshots_held_ = false;
}

void ListSink::ExpectPowerCut() {
  absl::MutexLock lock(&mu_);
  power_cut_expected_ = true;
}

void ListSink::SetOnCommitted(std::function<void()> on_committed) {
  absl::MutexLock lock(&mu_);
  on_committed_ = std::move(on_committed);
}

std::vector<std::string> ListSink::payloads() const {
  absl::MutexLock lock(&mu_);
  return payloads_;
}
size_t ListSink::count() const {
  absl::MutexLock lock(&mu_);
  return payloads_.size();
}
size_t ListSink::batches() const {
  absl::MutexLock lock(&mu_);
  return batches_;
}
size_t ListSink::replayed() const {
  absl::MutexLock lock(&mu_);
  return replayed_;
}
uint64_t ListSink::leading() const {
  absl::MutexLock lock(&mu_);
  return leads_ ? term_ : 0;
}
std::string ListSink::leader_address() const {
  absl::MutexLock lock(&mu_);
  return leader_address_;
}
uint64_t ListSink::term() const {
  absl::MutexLock lock(&mu_);
  return term_;
}
size_t ListSink::restored() const {
  absl::MutexLock lock(&mu_);
  return restored_;
}
size_t ListSink::asked() const {
  absl::MutexLock lock(&mu_);
  return asked_;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const absl::Duration end = Clock::Real().Monotonic() + kTestPatience;
  absl::Mutex mu;
  absl::MutexLock lock(&mu);
  const bool never = false;
  while (!condition()) {
    if (Clock::Real().Monotonic() > end) {
      ADD_FAILURE() << "what was waited for does not happen";
      return false;
    }
    mu.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(1));
  }
  return true;
}

}  // namespace millrace::raft
