#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "rpc/leader_channel.h"
#include "rpc/leader_finder.h"
#include "rpc/not_leader.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "rpc/testing/fake_service.h"

namespace millrace::rpc {
namespace {

using proto::GetJobReply;
using proto::GetJobRequest;

constexpr absl::Duration kNoWait = absl::ZeroDuration();

LeaderFinder Finder(std::vector<std::string> masters) {
  return LeaderFinder(std::move(masters), BackoffOptions(), Random::Seeded(1));
}

TEST(LeaderFinder, GoesThroughTheListAndWaitsAfterEachRound) {
  LeaderFinder finder = Finder({"a", "b", "c"});
  absl::Duration last;
  for (int round = 0; round < 4; ++round) {
    for (const char* master : {"a", "b", "c"}) {
      EXPECT_EQ(finder.Current(), master);
      last = finder.Failed(master, "");
      EXPECT_EQ(last > kNoWait, *master == 'c') << master;
    }
  }
  EXPECT_GT(last, BackoffOptions().initial);  // It grew.
}

TEST(LeaderFinder, ASingleMasterIsWaitedFor) {
  LeaderFinder finder = Finder({"a"});
  EXPECT_GT(finder.Failed("a", ""), kNoWait);
  EXPECT_EQ(finder.Current(), "a");
}

TEST(LeaderFinder, FollowsAHintAtOnceAndStays) {
  LeaderFinder finder = Finder({"a", "b", "c"});
  EXPECT_EQ(finder.Failed("a", "c"), kNoWait);
  EXPECT_EQ(finder.Current(), "c");
  finder.Leads("c");
  EXPECT_EQ(finder.Current(), "c");
}

TEST(LeaderFinder, AHintToANewMasterIsFollowedToo) {
  LeaderFinder finder = Finder({"a", "b"});
  EXPECT_EQ(finder.Failed("a", "new"), kNoWait);
  EXPECT_EQ(finder.Current(), "new");
  EXPECT_EQ(finder.Failed("new", ""), kNoWait);
  EXPECT_EQ(finder.Current(), "b");
}

TEST(LeaderFinder, AFailedHintIsNotTriedTwiceInARow) {
  LeaderFinder finder = Finder({"a", "b", "c"});
  finder.Failed("a", "b");
  finder.Failed("b", "");
  EXPECT_EQ(finder.Current(), "c");
}

TEST(LeaderFinder, MastersThatPointAtEachOtherCostWaits) {
  LeaderFinder finder = Finder({"a", "b"});
  int waits = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string address = finder.Current();
    const std::string hint = address == "a" ? "b" : "a";
    if (finder.Failed(address, hint) > kNoWait) ++waits;
  }
  EXPECT_GE(waits, 100 / 5);
}

TEST(LeaderFinder, AMasterThatNamesItselfIsNoLoop) {
  LeaderFinder finder = Finder({"a", "b"});
  finder.Failed("a", "a");
  EXPECT_EQ(finder.Current(), "b");
}

TEST(LeaderFinder, LearnsWhoTheMastersAreAndForgetsNobodyOfTheStart) {
  LeaderFinder finder = Finder({"a", "b"});
  finder.Learn({});
  finder.Learn({"b", "c", "d"});
  EXPECT_EQ(finder.masters(), (std::vector<std::string>{"b", "c", "d", "a"}));
  EXPECT_EQ(finder.Current(), "a") << "it may lead all the same";
  std::vector<std::string> tried;
  absl::Duration wait;
  while (wait == kNoWait) {
    tried.push_back(finder.Current());
    wait = finder.Failed(tried.back(), "");
  }
  EXPECT_EQ(tried, (std::vector<std::string>{"a", "b", "c", "d"}));
  finder.Learn({"d", "e", "f"});
  EXPECT_EQ(finder.masters(),
            (std::vector<std::string>{"d", "e", "f", "a", "b"}));
  EXPECT_TRUE(finder.IsInitial("a"));
  EXPECT_FALSE(finder.IsInitial("d"));
}

TEST(LeaderFinder, OldNewsChangesNothing) {
  LeaderFinder finder = Finder({"a", "b", "c"});
  finder.Failed("a", "");
  EXPECT_EQ(finder.Failed("a", "c"), kNoWait);
  EXPECT_EQ(finder.Current(), "b");
}

// Masters on real ports; which one leads is up to the test.
class LeaderChannelTest : public testing::Test {
 protected:
  struct Master {
    explicit Master(LeaderChannelTest& test)
        : service([this, &test](grpc::ServerContext&, const GetJobRequest&,
                                GetJobReply& reply) {
            ++calls;
            if (answer.has_value()) return ToGrpc(*answer);
            if (test.leader_ != address) {
              return ToGrpc(NotLeaderError({test.hint_, 1, test.group_}));
            }
            reply.mutable_status()->set_name(address);
            return grpc::Status::OK;
          }),
          server(
              *Server::Start(LoopbackCredentials(), "127.0.0.1:0", {&service})),
          address(server->address().ToString()) {}

    int calls = 0;
    std::optional<absl::Status> answer;
    FakeService service;
    std::unique_ptr<Server> server;
    std::string address;
  };

  LeaderChannelTest() : stop_(clock_) {
    for (auto& master : masters_) master = std::make_unique<Master>(*this);
    channel_ = std::make_unique<LeaderChannel>(
        LoopbackCredentials(),
        std::vector<std::string>{masters_[0]->address, masters_[1]->address,
                                 masters_[2]->address},
        clock_, Random::Seeded(1), stop_);
  }

  // Who answered.
  absl::StatusOr<std::string> Ask(const CallOptions& options = {}) {
    GetJobReply reply;
    const absl::Status status =
        channel_->Call("ask", options, [&](LeaderChannel::Attempt& attempt) {
          return proto::ClientService::NewStub(attempt.channel)
              ->GetJob(&attempt.context, GetJobRequest(), &reply);
        });
    if (!status.ok()) return status;
    return reply.status().name();
  }

  ManualClock clock_;
  FakeWaits stop_;
  std::string leader_;
  std::string hint_;
  std::vector<std::string> group_;
  std::unique_ptr<Master> masters_[3];
  std::unique_ptr<LeaderChannel> channel_;
};

TEST_F(LeaderChannelTest, FindsTheLeaderWithoutAHint) {
  leader_ = masters_[2]->address;
  EXPECT_EQ(*Ask(), leader_);
  EXPECT_EQ(masters_[0]->calls + masters_[1]->calls, 2);
  EXPECT_TRUE(stop_.waits.empty());
  EXPECT_EQ(*Ask(), leader_);  // And stays there.
  EXPECT_EQ(masters_[0]->calls + masters_[1]->calls, 2);
}

TEST_F(LeaderChannelTest, FollowsTheHint) {
  leader_ = hint_ = masters_[2]->address;
  EXPECT_EQ(*Ask(), leader_);
  EXPECT_EQ(masters_[1]->calls, 0);
}

TEST_F(LeaderChannelTest, GoesOnWhenTheLeaderIsKilled) {
  leader_ = masters_[0]->address;
  EXPECT_EQ(*Ask(), leader_);
  masters_[0]->server.reset();
  leader_ = masters_[1]->address;
  EXPECT_EQ(*Ask(), leader_);
}

TEST_F(LeaderChannelTest, FindsAMasterThatItWasNotToldOfAtItsStart) {
  Master newcomer(*this);
  group_ = {masters_[0]->address, newcomer.address};
  leader_ = masters_[0]->address;
  channel_->finder().Failed(leader_, "");
  EXPECT_EQ(*Ask(), leader_);  // After another one, which names the group.
  for (auto& master : masters_) master->server.reset();
  leader_ = newcomer.address;
  EXPECT_EQ(*Ask(), leader_);
}

TEST_F(LeaderChannelTest, ABadHintIsPassedBy) {
  leader_ = masters_[2]->address;
  for (const char* hint : {"10.1.1.1:80", "nonsense", "127.0.0.1:1"}) {
    hint_ = hint;
    channel_->finder().Failed(leader_, "");
    const auto answer = Ask();
    ASSERT_TRUE(answer.ok()) << hint << ": " << answer.status();
    EXPECT_EQ(*answer, leader_);
  }
}

TEST_F(LeaderChannelTest, WithoutALeaderItWaitsAndThenSaysSo) {
  const auto answer = Ask();
  ASSERT_TRUE(absl::IsUnavailable(answer.status())) << answer.status();
  EXPECT_FALSE(stop_.waits.empty());
  EXPECT_GT(masters_[0]->calls, 3);
  const std::string message(answer.status().message().data(),
                            answer.status().message().size());
  for (const auto& master : masters_) {
    EXPECT_NE(message.find(master->address), std::string::npos) << message;
  }
  EXPECT_NE(message.find("does not lead"), std::string::npos) << message;
}

TEST_F(LeaderChannelTest, OneRoundAsksEachOnce) {
  CallOptions options;
  options.total_timeout = absl::ZeroDuration();
  EXPECT_TRUE(absl::IsUnavailable(Ask(options).status()));
  for (const auto& master : masters_) EXPECT_EQ(master->calls, 1);
}

TEST_F(LeaderChannelTest, AnErrorOfTheLeaderIsFinal) {
  leader_ = masters_[1]->address;
  masters_[1]->answer = absl::NotFoundError("no such job");
  const auto answer = Ask();
  EXPECT_EQ(answer.status(), absl::NotFoundError("ask: no such job"));
  EXPECT_EQ(masters_[1]->calls, 1);
  EXPECT_EQ(masters_[2]->calls, 0);
}

TEST_F(LeaderChannelTest, AskingOneMasterAsksNoOther) {
  GetJobReply reply;
  const absl::Status status = channel_->CallOne(
      "ask", masters_[1]->address, {}, [&](LeaderChannel::Attempt& attempt) {
        return proto::ClientService::NewStub(attempt.channel)
            ->GetJob(&attempt.context, GetJobRequest(), &reply);
      });
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(masters_[0]->calls + masters_[2]->calls, 0);
}

}  // namespace
}  // namespace millrace::rpc
