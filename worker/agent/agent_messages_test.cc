// However much a worker holds and has to say, no message is longer than the
// other end takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "rpc/limits.h"
#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class AgentMessagesTest : public AgentTest {
 protected:
  // All messages of the last step; each fits.
  std::vector<proto::WorkerMessage> Sent() const {
    std::vector<proto::WorkerMessage> messages;
    for (const Send& send : Of<Send>()) {
      EXPECT_LE(send.message.ByteSizeLong(), rpc::kMessageBytesMax);
      messages.push_back(send.message);
    }
    return messages;
  }
  // The Hello of the last step, put together as the leader does it.
  proto::Hello WholeHello() const {
    proto::Hello whole;
    const std::vector<proto::WorkerMessage> messages = Sent();
    for (const proto::WorkerMessage& message : messages) {
      EXPECT_TRUE(message.has_hello());
      EXPECT_EQ(message.hello().more(), &message != &messages.back());
      // The other parts have lists and nothing else.
      EXPECT_EQ(message.hello().name().empty(), &message != &messages.front());
      whole.MergeFrom(message.hello());
    }
    return whole;
  }
  static FoundSpool Found(uint32_t outputs) {
    FoundSpool found;
    for (uint32_t i = 0; i < outputs; ++i) {
      found.outputs.push_back(
          {Job('a'), i, Uid(static_cast<int>(i) + 1), std::string(16, 'r')});
    }
    return found;
  }
  // A map that reports counters of some half a MiB.
  void FinishLargeMap(int uid) {
    const ChildNumber child = RunMap(uid);
    proto::TaskDone done;
    done.set_map_output_root(std::string(16, 'r'));
    for (int i = 0; i < 500; ++i) {
      proto::Counter* counter = done.add_counters();
      counter->set_group(std::string(1000, 'g'));
      counter->set_value(i);
    }
    Tell(ChildDone{child, done});
  }
};

TEST_F(AgentMessagesTest, HelloOfManyMapOutputsComesInParts) {
  constexpr uint32_t kOutputs = 200'000;  // 60,000 fit into one message.
  Make(Found(kOutputs));
  Open();
  EXPECT_GT(Sent().size(), 2u);
  const proto::Hello hello = WholeHello();
  EXPECT_EQ(hello.name(), "w1");
  EXPECT_THAT(hello.jobs(), SizeIs(1));
  std::set<uint32_t> maps;
  for (const proto::HeldOutput& held : hello.held()) {
    maps.insert(held.map_index());
  }
  EXPECT_THAT(maps, SizeIs(kOutputs));
}

TEST_F(AgentMessagesTest, ShortHelloIsOneMessage) {
  Make(Found(3));
  Open();
  EXPECT_THAT(Sent(), SizeIs(1));
  EXPECT_FALSE(Hello().more());
}

TEST_F(AgentMessagesTest, HelloOffersWhatTheLeaderTakes) {
  options_.hello_bytes_max = 1 << 20;
  Make(Found(50'000));
  Open();
  const proto::Hello hello = WholeHello();
  EXPECT_LE(hello.ByteSizeLong(), options_.hello_bytes_max + 1000);
  EXPECT_GT(hello.held_size(), 10'000);
  ASSERT_THAT(Of<Note>(), SizeIs(1));
  EXPECT_THAT(Of<Note>()[0].text, HasSubstr("not all map outputs"));
}

TEST_F(AgentMessagesTest, ManyLongOutcomesComeInParts) {
  Begin();
  constexpr int kMaps = 20;
  Tell(StreamClosed{stream_});
  Open();
  Welcome();
  for (int uid = 1; uid <= kMaps; ++uid) FinishLargeMap(uid);
  // All are told again, with the Hello of the next stream...
  Reopen();
  EXPECT_THAT(WholeHello().outcomes(), SizeIs(kMaps));
  Welcome();
  // ... and once more when nobody acknowledges them.
  now_ += options_.retell_interval;
  Tell(Tick{});
  std::set<std::string> told;
  for (const proto::WorkerMessage& message : Sent()) {
    for (const auto& outcome : message.update().outcomes()) {
      told.insert(outcome.attempt().attempt_uid());
    }
  }
  EXPECT_THAT(told, SizeIs(kMaps));
}

TEST_F(AgentMessagesTest, WinnersOfAMillionFilesMeetTheirGrant) {
  Begin();
  constexpr uint32_t kFiles = 1'000'000;
  constexpr uint32_t kEach = 10'000;
  proto::Grant grant = GrantOf(proto::CHECK_TASK, 7, 0, Job('a'));
  grant.mutable_check()->set_num_winners(kFiles);
  for (uint32_t first = 0; first < kFiles; first += kEach) {
    proto::MasterMessage message;
    proto::Winners* winners = message.mutable_winners();
    winners->set_attempt_uid(grant.attempt().attempt_uid());
    for (uint32_t i = first; i < first + kEach; ++i) {
      winners->mutable_winner_uids()->append(
          Uid(static_cast<int>(i) + 1).bytes());
      winners->add_bytes(i);
      winners->add_records(1);
      winners->add_xxh3(i);
      winners->add_inodes(i);
    }
    Command(message);
  }
  Give(grant);
  const auto checks = Of<RunCheck>();
  ASSERT_THAT(checks, SizeIs(1));
  ASSERT_THAT(*checks[0].winners, SizeIs(kFiles));
  for (uint32_t i = 0; i < kFiles; i += 9999) {
    EXPECT_EQ((*checks[0].winners)[i].uid, Uid(static_cast<int>(i) + 1));
    EXPECT_EQ((*checks[0].winners)[i].xxh3, i);
  }
}

class AgentWinnersTest : public AgentMessagesTest {
 protected:
  // Two part files for the attempt `uid`.
  void NameTwo(int uid, size_t uid_bytes = 32, int lengths = 2) {
    proto::MasterMessage message;
    proto::Winners* winners = message.mutable_winners();
    winners->set_attempt_uid(std::string(Uid(uid).bytes()));
    winners->set_winner_uids(std::string(uid_bytes, 'u'));
    for (int i = 0; i < lengths; ++i) {
      winners->add_bytes(1);
      winners->add_records(1);
      winners->add_xxh3(1);
      winners->add_inodes(1);
    }
    Command(message);
  }
  void GiveCheck(int uid, uint32_t winners) {
    proto::Grant grant = GrantOf(proto::CHECK_TASK, uid, 0, Job('a'));
    grant.mutable_check()->set_num_winners(winners);
    Give(grant);
  }
  void ExpectRefused() {
    ASSERT_THAT(Outcomes(), SizeIs(1));
    EXPECT_EQ(Outcomes()[0].failed().cause(), proto::INTERNAL);
    EXPECT_TRUE(Outcomes()[0].failed().retryable());
    EXPECT_THAT(Of<RunCheck>(), SizeIs(0));
  }
};

TEST_F(AgentWinnersTest, GrantWithoutItsWinnersFails) {
  Begin();
  GiveCheck(1, 2);
  ExpectRefused();
  NameTwo(2);
  GiveCheck(2, 3);
  ExpectRefused();
  // Those of another attempt do not count.
  NameTwo(3);
  GiveCheck(4, 2);
  ExpectRefused();
}

TEST_F(AgentWinnersTest, WinnersOfAnOlderStreamAreForgotten) {
  Begin();
  NameTwo(1);
  Reopen();
  Welcome();
  GiveCheck(1, 2);
  ExpectRefused();
}

TEST_F(AgentWinnersTest, ListsOfDifferentLengthsAreNotBelieved) {
  Begin();
  NameTwo(1, 31);
  NameTwo(1, 16);
  NameTwo(1, 32, 3);
  GiveCheck(1, 2);
  ExpectRefused();
}

TEST_F(AgentWinnersTest, WinnersComeAgainForAnotherAttempt) {
  Begin();
  NameTwo(1);
  GiveCheck(1, 2);
  ASSERT_THAT(Of<RunCheck>(), SizeIs(1));
  NameTwo(2);
  GiveCheck(2, 2);
  ASSERT_THAT(Of<RunCheck>(), SizeIs(1));
  EXPECT_THAT(*Of<RunCheck>()[0].winners, SizeIs(2));
}

}  // namespace
}  // namespace millrace::worker
