// The parts of a node, each by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/strings.h"
#include "raft/log/segment_log.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/node/log_writer.h"
#include "raft/node/mailbox.h"
#include "raft/node/node_log.h"
#include "raft/node/proposal_gate.h"
#include "raft/node/snapshot_cycle.h"
#include "raft/node/ticker.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// ---------------------------------------------------------------------- Ticker

TEST(TickerTest, TicksAreATickApartOnAverageAndNeverHalfOfOneLess) {
  constexpr int kTicks = 2000;
  const absl::Duration tick = absl::Milliseconds(100);
  absl::Duration now = absl::Seconds(5);
  Ticker ticker(tick, 1, now);
  for (int i = 0; i < kTicks; ++i) {
    EXPECT_FALSE(ticker.Take(now));
    const absl::Duration length = ticker.next() - now;
    EXPECT_GE(length, tick / 2);
    EXPECT_LT(length, tick * 3 / 2);
    now = ticker.next();
    ASSERT_TRUE(ticker.Take(now));
  }
  EXPECT_GT(now, absl::Seconds(5) + tick * kTicks * 0.97);
  EXPECT_LT(now, absl::Seconds(5) + tick * kTicks * 1.03);
}

TEST(TickerTest, WhatWasMissedIsNotMadeUpFor) {
  Ticker ticker(absl::Milliseconds(100), 1, absl::ZeroDuration());
  EXPECT_TRUE(ticker.Take(absl::Seconds(60)));
  EXPECT_FALSE(ticker.Take(absl::Seconds(60)));
  EXPECT_GE(ticker.next(), absl::Seconds(60) + absl::Milliseconds(50));
}

// An election timeout after a common beginning, members are further apart than
// a vote takes.
TEST(TickerTest, TicksThatFallTogetherDoNotStayTogether) {
  int together = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Ticker a(absl::Milliseconds(100), 2 * seed, absl::ZeroDuration());
    Ticker b(absl::Milliseconds(100), 2 * seed + 1, absl::ZeroDuration());
    for (int i = 0; i < 10; ++i) {
      a.Take(a.next());
      b.Take(b.next());
    }
    together += absl::AbsDuration(a.next() - b.next()) < absl::Milliseconds(5);
  }
  EXPECT_LT(together, 60);
}

// ---------------------------------------------------------------- ProposalGate

TEST(ProposalGateTest, AdmitsInItsTermAndUpToTheLimit) {
  ProposalGate gate({1000, 2000});
  EXPECT_TRUE(absl::IsFailedPrecondition(gate.Admit(0, {"x"})));
  gate.Open(5);
  EXPECT_TRUE(absl::IsFailedPrecondition(gate.Admit(4, {"x"})));
  EXPECT_TRUE(absl::IsInvalidArgument(gate.Admit(5, {std::string(1001, 'x')})));
  EXPECT_TRUE(absl::IsInvalidArgument(gate.Admit(5, {"x", ""})));
  EXPECT_TRUE(absl::IsInvalidArgument(gate.Admit(
      5, {std::string(900, 'x'), std::string(900, 'x'), std::string(9, 'x')})));
  const std::string payload(900, 'x');
  EXPECT_TRUE(gate.Admit(5, {payload}).ok());
  EXPECT_TRUE(gate.Admit(5, {std::string(800, 'x')}).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(gate.Admit(5, {payload})));
  // Of another term: says nothing about this one.
  gate.Release(4, ProposalCost(900));
  EXPECT_TRUE(absl::IsResourceExhausted(gate.Admit(5, {payload})));
  gate.Release(5, ProposalCost(900));
  EXPECT_TRUE(gate.Admit(5, {payload}).ok());
  gate.SetBlocked(true);
  EXPECT_TRUE(absl::IsResourceExhausted(gate.Admit(5, {"x"})));
  gate.SetBlocked(false);
  gate.Close();
  EXPECT_TRUE(absl::IsFailedPrecondition(gate.Admit(5, {"x"})));
  gate.Open(6);
  EXPECT_TRUE(gate.Admit(6, {payload}).ok());
}

// --------------------------------------------------------------- SnapshotCycle

Membership Of(std::vector<NodeId> ids) {
  Membership membership;
  for (const NodeId id : ids) membership[id] = {true, ""};
  return membership;
}

SnapshotPolicy SmallPolicy() {
  SnapshotPolicy policy;
  policy.entries = 10;
  policy.bytes_min = policy.bytes_max = 1000;
  policy.keep_entries = 3;
  policy.retry_ticks = 5;
  return policy;
}

TEST(SnapshotCycleTest, IsDueByEntriesOrBytes) {
  for (const bool by_bytes : {false, true}) {
    SnapshotCycle cycle(SmallPolicy(), 0, 0, {});
    cycle.HandedOver(9, 999);
    EXPECT_FALSE(cycle.TakeWanted());
    cycle.HandedOver(by_bytes ? 0 : 1, by_bytes ? 1 : 0);
    EXPECT_TRUE(cycle.TakeWanted());
    // Once.
    cycle.HandedOver(100, 100);
    EXPECT_FALSE(cycle.TakeWanted());
  }
}

// What a snapshot costs is in proportion to the log that it makes needless.
TEST(SnapshotCycleTest, IsDueByTheSizeOfTheState) {
  SnapshotPolicy policy = SmallPolicy();
  policy.entries = UINT64_MAX;
  policy.bytes_max = 9000;
  SnapshotCycle cycle(policy, 0, 0, {});
  uint64_t index = 0;
  const auto due_after = [&](uint64_t bytes) {
    cycle.HandedOver(1, bytes - 1);
    EXPECT_FALSE(cycle.TakeWanted()) << bytes;
    cycle.HandedOver(1, 1);
    EXPECT_TRUE(cycle.TakeWanted()) << bytes;
    cycle.Taken(++index);
    EXPECT_TRUE(cycle.TakeWrite(index).has_value());
  };
  due_after(1000);
  EXPECT_TRUE(cycle.Written(1200).has_value());
  due_after(4800);
  EXPECT_TRUE(cycle.Written(200).has_value());
  due_after(1000);
  EXPECT_TRUE(cycle.Written(UINT64_MAX).has_value());
  due_after(9000);
  // One that could not be written says nothing about the state; it is due again
  // in a while.
  EXPECT_FALSE(cycle.Written({}).has_value());
  for (int i = 0; i < 5; ++i) cycle.Tick();
  due_after(9000);
}

// A small state of a busy group is not written several times a second.
TEST(SnapshotCycleTest, IsNotDueTooOften) {
  SnapshotPolicy policy = SmallPolicy();
  policy.entries = 10;
  policy.bytes_max = 9000;
  policy.interval_ticks = 3;
  for (const auto& [entries, bytes] :
       {std::pair{0, 1000}, {10, 0}, {0, 9000}}) {
    SnapshotCycle cycle(policy, 0, 0, {});
    cycle.HandedOver(entries, bytes);
    const bool at_once = entries > 0 || bytes == 9000;
    EXPECT_EQ(cycle.TakeWanted(), at_once);
    if (at_once) continue;
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(cycle.TakeWanted());
      cycle.Tick();
    }
    EXPECT_TRUE(cycle.TakeWanted());
  }
}

TEST(SnapshotCycleTest, HasTheMembershipOfItsIndex) {
  SnapshotCycle cycle(SmallPolicy(), 0, 0, Of({1}));
  cycle.MembershipApplied(5, Of({1, 2}));
  cycle.MembershipApplied(12, Of({1, 2, 3}));
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(11);
  // Not before it is applied here as well.
  EXPECT_FALSE(cycle.TakeWrite(10).has_value());
  const auto write = cycle.TakeWrite(11);
  ASSERT_TRUE(write.has_value());
  EXPECT_EQ(write->index, 11u);
  EXPECT_EQ(write->membership, Of({1, 2}));
  EXPECT_FALSE(cycle.TakeForget());
  const auto written = cycle.Written(100);
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(written->membership, Of({1, 2}));
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(21);
  EXPECT_EQ(cycle.TakeWrite(21)->membership, Of({1, 2, 3}));
}

// A leader's snapshot came late, when this member had the entries behind it.
TEST(SnapshotCycleTest, KeepsTheMembershipsBehindOneThatItAdopts) {
  SnapshotCycle cycle(SmallPolicy(), 0, 0, Of({1}));
  cycle.MembershipApplied(5, Of({1, 2}));
  cycle.MembershipApplied(9, Of({1, 2, 3}));
  cycle.Adopted(7);
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(8);
  EXPECT_EQ(cycle.TakeWrite(8)->membership, Of({1, 2}));
  ASSERT_TRUE(cycle.Written(100).has_value());
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(12);
  EXPECT_EQ(cycle.TakeWrite(12)->membership, Of({1, 2, 3}));
  // Newer than the one that is being written.
  cycle.MembershipApplied(20, Of({1, 2}));
  cycle.Adopted(21);
  EXPECT_FALSE(cycle.Written(100).has_value());
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(22);
  EXPECT_EQ(cycle.TakeWrite(22)->membership, Of({1, 2}));
}

TEST(SnapshotCycleTest, TriesAgainLater) {
  SnapshotCycle cycle(SmallPolicy(), 0, 0, {});
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(10);
  ASSERT_TRUE(cycle.TakeWrite(10).has_value());
  EXPECT_FALSE(cycle.Written({}).has_value());
  EXPECT_FALSE(cycle.TakeWanted());
  for (int i = 0; i < 5; ++i) cycle.Tick();
  EXPECT_TRUE(cycle.TakeWanted());
}

TEST(SnapshotCycleTest, WhatALeaderSentCountsMore) {
  SnapshotCycle cycle(SmallPolicy(), 0, 0, {});
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Installed(50, Of({7}));
  cycle.Taken(10);
  EXPECT_FALSE(cycle.TakeWrite(50).has_value());
  EXPECT_TRUE(cycle.TakeForget());
  EXPECT_FALSE(cycle.TakeForget());
  // While one is being written.
  cycle.HandedOver(10, 0);
  ASSERT_TRUE(cycle.TakeWanted());
  cycle.Taken(60);
  ASSERT_TRUE(cycle.TakeWrite(60).has_value());
  cycle.Installed(70, Of({8}));
  EXPECT_FALSE(cycle.Written({}).has_value());
  cycle.HandedOver(10, 0);
  EXPECT_TRUE(cycle.TakeWanted());  // No failure, so no pause.
}

TEST(SnapshotCycleTest, TheLogReachesBackToTheOlderSnapshot) {
  SnapshotCycle cycle(SmallPolicy(), 0, 0, {});
  for (uint64_t index = 10; index <= 30; index += 10) {
    cycle.HandedOver(10, 0);
    ASSERT_TRUE(cycle.TakeWanted());
    cycle.Taken(index);
    ASSERT_TRUE(cycle.TakeWrite(index).has_value());
    ASSERT_TRUE(cycle.Written(100).has_value());
    EXPECT_EQ(cycle.drop_through(), index - 10);
  }
  // And by what is to be kept, if that is more.
  EXPECT_EQ(SnapshotCycle(SmallPolicy(), 20, 19, {}).drop_through(), 17u);
  EXPECT_EQ(SnapshotCycle(SmallPolicy(), 2, 1, {}).drop_through(), 0u);
}

// --------------------------------------------------------------------- Mailbox

Message AppendOf(size_t bytes) {
  Message message;
  message.entries.push_back({1, 1, kNormalEntry, std::string(bytes, 'x')});
  return message;
}

TEST(MailboxTest, MessagesAreBoundedInNumber) {
  Mailbox mailbox({3, 1 << 20});
  EXPECT_TRUE(mailbox.PostMessage({}));
  EXPECT_TRUE(mailbox.PostMessage({}));
  EXPECT_TRUE(mailbox.PostMessage({}));
  EXPECT_FALSE(mailbox.PostMessage({}));
  // What is not a message has room.
  mailbox.Post([](Mail& mail) { mail.durable = 7; });
  Mailbox::Turn turn;
  Mail mail;
  ASSERT_TRUE(mailbox.Take(absl::ZeroDuration(), &turn, &mail));
  EXPECT_THAT(mail.messages, SizeIs(3));
  EXPECT_EQ(mail.durable, 7u);
  EXPECT_TRUE(mailbox.PostMessage({}));
}

TEST(MailboxTest, MessagesAreBoundedInSize) {
  Mailbox mailbox({100, 10'000});
  EXPECT_TRUE(mailbox.PostMessage(AppendOf(8000)));
  EXPECT_FALSE(mailbox.PostMessage(AppendOf(8000)));
  EXPECT_TRUE(mailbox.PostMessage(AppendOf(10)));
  Mailbox::Turn turn;
  Mail mail;
  ASSERT_TRUE(mailbox.Take(absl::ZeroDuration(), &turn, &mail));
  EXPECT_THAT(mail.messages, SizeIs(2));
  // One is taken whatever its size.
  EXPECT_TRUE(mailbox.PostMessage(AppendOf(20'000)));
}

TEST(MailboxTest, OneThreadHasTheTurn) {
  Mailbox mailbox({100, 10'000});
  Mailbox::Turn here, there;
  Mail mail, taken;
  mailbox.Post([](Mail& m) { m.durable = 1; });
  ASSERT_TRUE(mailbox.Take(absl::ZeroDuration(), &here, &mail));
  absl::Notification took;
  std::thread other([&] {
    ASSERT_TRUE(mailbox.Take(absl::ZeroDuration(), &there, &taken));
    took.Notify();
  });
  mailbox.Post([](Mail& m) { m.durable = 2; });
  // It is this thread's for as long as it goes on with it.
  ASSERT_TRUE(mailbox.Continue(&here, &mail));
  EXPECT_EQ(mail.durable, 2u);
  EXPECT_FALSE(took.HasBeenNotified());
  mailbox.Post([](Mail& m) { m.durable = 3; });
  mailbox.Yield(&here);
  took.WaitForNotification();
  other.join();
  EXPECT_EQ(taken.durable, 3u);
  // What is posted meanwhile is left to who has it.
  mailbox.Post([](Mail& m) { m.durable = 4; }, false);
  EXPECT_FALSE(mailbox.Continue(&here, &mail));
  ASSERT_TRUE(mailbox.Take(absl::InfiniteDuration(), &there, &taken));
  EXPECT_EQ(taken.durable, 4u);
  mailbox.Yield(&there);
  ASSERT_TRUE(mailbox.Continue(&here, &mail));
}

TEST(MailboxTest, WaitsForWhatIsUrgent) {
  Mailbox mailbox({100, 10'000});
  Mailbox::Turn turn;
  Mail mail;
  mailbox.Post([](Mail& m) { m.delivered = 1; }, false);
  ASSERT_TRUE(mailbox.Take(absl::Milliseconds(1), &turn, &mail));
  EXPECT_EQ(mail.delivered, 1u);
  mailbox.Close();
  EXPECT_FALSE(mailbox.Take(absl::InfiniteDuration(), &turn, &mail));
  EXPECT_FALSE(mailbox.PostMessage({}));
  Mail::Proposal proposal{1, {"x"}};
  EXPECT_FALSE(mailbox.PostRequest(&Mail::proposals, proposal));
  EXPECT_THAT(proposal.payloads, ElementsAre("x"));
}

// --------------------------------------------------------- NodeLog and
// LogWriter

class LogWriterTest : public testing::Test {
 protected:
  void SetUp() override { Open({}); }

  void Open(const SnapshotMeta& snapshot) {
    writer_.reset();
    view_.reset();
    log_.reset();
    SegmentLogOptions options;
    options.directory = "/data";
    options.segment_bytes = 8192;
    options.free_bytes_min = 0;
    options.snapshot = {snapshot.last.index, snapshot.last.term, false};
    const auto random = Random::Seeded(1);
    auto log = SegmentLog::Open(options, disk_, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
    view_ = std::make_unique<NodeLog>(*log_, snapshot, 4000);
    writer_ = std::make_unique<LogWriter>(*log_, *view_);
  }

  LogWrite Write(uint64_t first, uint64_t count, uint64_t term,
                 size_t bytes = 10) {
    LogWrite write;
    write.id = ++last_id_;
    write.must_sync = true;
    for (uint64_t i = first; i < first + count; ++i) {
      write.entries.push_back(
          {i, term, kNormalEntry, Cat(i, std::string(bytes, 'x'))});
    }
    write.hard_state = HardState{term, 7, 0};
    return write;
  }
  uint64_t MustFlush() {
    const auto done = writer_->Flush();
    EXPECT_TRUE(done.ok()) << done.status();
    return done.ok() ? done->id : 0;
  }
  std::vector<uint64_t> Indexes(uint64_t first, uint64_t end,
                                uint64_t bytes_max = 1 << 20) {
    const auto entries = view_->Read(first, end, bytes_max);
    EXPECT_TRUE(entries.ok()) << entries.status();
    std::vector<uint64_t> indexes;
    if (!entries.ok()) return indexes;
    for (const LogEntry& entry : *entries) {
      indexes.push_back(entry.index);
      EXPECT_EQ(entry.payload.substr(0, Cat(entry.index).size()),
                Cat(entry.index));
    }
    return indexes;
  }

  SimDisk disk_;
  std::unique_ptr<SegmentLog> log_;
  std::unique_ptr<NodeLog> view_;
  std::unique_ptr<LogWriter> writer_;
  uint64_t last_id_ = 0;
};

TEST_F(LogWriterTest, MakesOneWriteAndOneSyncOfMany) {
  writer_->Add(Write(1, 1, 1));
  MustFlush();
  const uint64_t calls = disk_.calls();
  for (uint64_t i = 2; i <= 9; ++i) writer_->Add(Write(i, 1, 1));
  EXPECT_EQ(MustFlush(), 9u);
  EXPECT_EQ(disk_.calls() - calls, 2u);
  EXPECT_THAT(Indexes(1, 10), SizeIs(9));
  EXPECT_TRUE(writer_->idle());
}

TEST_F(LogWriterTest, KeepsMessagesInOrderUntilAllIsDurable) {
  for (uint64_t i = 1; i <= 3; ++i) {
    LogWrite write = Write(i, 1, 1);
    Message message;
    message.prev.index = i;
    write.messages.push_back(message);
    writer_->Add(std::move(write));
  }
  const auto done = writer_->Flush();
  ASSERT_TRUE(done.ok());
  ASSERT_THAT(done->messages, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(done->messages[i].prev.index, i + 1);
  EXPECT_EQ(disk_.unsynced(), 0u);
}

TEST_F(LogWriterTest, ACommitIndexAloneIsNotWrittenUntilSomethingElseIs) {
  writer_->Add(Write(1, 3, 1));
  MustFlush();
  const uint64_t calls = disk_.calls();
  LogWrite lazy;
  lazy.id = ++last_id_;
  lazy.hard_state = HardState{1, 7, 3};
  writer_->Add(std::move(lazy));
  EXPECT_EQ(MustFlush(), last_id_);
  EXPECT_EQ(disk_.calls(), calls);
  LogWrite write = Write(4, 1, 1);
  write.hard_state.reset();
  writer_->Add(std::move(write));
  MustFlush();
  EXPECT_EQ(log_->hard_state().commit, 3u);
  // Or until the end.
  LogWrite last;
  last.id = ++last_id_;
  last.hard_state = HardState{1, 7, 4};
  writer_->Add(std::move(last));
  MustFlush();
  ASSERT_TRUE(writer_->Close().ok());
  Open({});
  EXPECT_EQ(log_->hard_state(), (HardState{1, 7, 4}));
}

TEST_F(LogWriterTest, MoreThanASegmentGoesInPieces) {
  writer_->Add(Write(1, 40, 3, 500));
  writer_->Add(Write(41, 5, 3, 3000));
  MustFlush();
  EXPECT_EQ(log_->last_index(), 45u);
  EXPECT_EQ(log_->hard_state().term, 3u);
  Open({});
  EXPECT_EQ(log_->last_index(), 45u);
}

TEST_F(LogWriterTest, OverwritesAndNeverReadsWhatWasThere) {
  writer_->Add(Write(1, 5, 1));
  MustFlush();
  LogWrite write = Write(3, 2, 2);
  write.truncate_from = 3;
  writer_->Add(std::move(write));
  writer_->Add(Write(5, 1, 2));
  MustFlush();
  EXPECT_THAT(Indexes(1, 6), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(*view_->Term(2), 1u);
  EXPECT_EQ(*view_->Term(3), 2u);
  const auto entries = view_->Read(3, 6, 1 << 20);
  for (const LogEntry& entry : *entries) EXPECT_EQ(entry.term, 2u);
  // Twice within one flush.
  for (const uint64_t term : {3, 4}) {
    LogWrite again = Write(2, 3, term);
    again.truncate_from = 2;
    writer_->Add(std::move(again));
  }
  MustFlush();
  EXPECT_EQ(log_->last_index(), 4u);
  EXPECT_EQ(*log_->Term(4), 4u);
  EXPECT_THAT(Indexes(1, 5), ElementsAre(1, 2, 3, 4));
}

TEST_F(LogWriterTest, BeginsAnewBehindASnapshot) {
  writer_->Add(Write(1, 3, 1));
  MustFlush();
  LogWrite write = Write(101, 2, 6);
  write.snapshot = SnapshotMeta{{5, 100}, {}};
  write.hard_state = HardState{6, 0, 100};
  writer_->Add(std::move(write));
  MustFlush();
  EXPECT_EQ(view_->first_index(), 101u);
  EXPECT_EQ(*view_->Term(100), 5u);
  EXPECT_THAT(Indexes(101, 103), ElementsAre(101, 102));
  EXPECT_FALSE(view_->Read(3, 4, 100).ok());
  EXPECT_EQ(log_->hard_state(), (HardState{6, 0, 100}));
  Open(SnapshotMeta{{5, 100}, {}});
  EXPECT_EQ(log_->last_index(), 102u);
}

TEST_F(LogWriterTest, AFullDiskLosesNothing) {
  writer_->Add(Write(1, 1, 1));
  MustFlush();
  disk_.SetFreeBytes(0);
  writer_->Add(Write(2, 30, 2, 1000));
  LogWrite reset = Write(501, 3, 3, 1000);
  reset.snapshot = SnapshotMeta{{2, 500}, {}};
  reset.hard_state = HardState{3, 0, 500};
  writer_->Add(std::move(reset));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(absl::IsResourceExhausted(writer_->Flush().status()));
    EXPECT_FALSE(writer_->idle());
  }
  disk_.SetFreeBytes(1 << 30);
  EXPECT_EQ(MustFlush(), last_id_);
  EXPECT_THAT(Indexes(501, 504), ElementsAre(501, 502, 503));
}

TEST_F(LogWriterTest, DropsSegmentsOnlyOfWhatIsKnownToBeCommitted) {
  writer_->Add(Write(1, 40, 1, 500));
  MustFlush();
  LogWrite lazy;
  lazy.id = ++last_id_;
  lazy.hard_state = HardState{1, 7, 30};
  writer_->Add(std::move(lazy));
  MustFlush();
  ASSERT_TRUE(writer_->Drop(35).ok());
  EXPECT_GT(log_->first_index(), 1u);
  EXPECT_LE(log_->first_index(), 31u);
  EXPECT_EQ(log_->hard_state().commit, 30u);
  EXPECT_EQ(disk_.unsynced(), 0u);
}

TEST_F(LogWriterTest, ReadsFromMemoryWhatIsNew) {
  writer_->Add(Write(1, 100, 1, 90));  // Twice what the cache holds.
  MustFlush();
  EXPECT_THAT(Indexes(1, 101), SizeIs(100));
  EXPECT_THAT(Indexes(95, 101), ElementsAre(95, 96, 97, 98, 99, 100));
  EXPECT_THAT(Indexes(95, 101, 200), ElementsAre(95, 96));
  EXPECT_THAT(Indexes(95, 101, 1), ElementsAre(95));
  EXPECT_THAT(Indexes(1, 101, 1), ElementsAre(1));
  view_->Forget(50);
  EXPECT_EQ(view_->first_index(), 50u);
  EXPECT_TRUE(absl::IsOutOfRange(view_->Read(49, 60, 1).status()));
  EXPECT_TRUE(view_->Term(49).ok());
  EXPECT_TRUE(absl::IsOutOfRange(view_->Term(48).status()));
}

}  // namespace
}  // namespace millrace::raft
