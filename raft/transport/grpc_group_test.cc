// Three members in one process over gRPC, with a proxy in front of each, so
// that a member can be cut off from what the others say to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/strings.h"
#include "common/tcp_proxy.h"
#include "raft/node/testing/list_sink.h"
#include "raft/node/testing/node_group.h"
#include "raft/replicated_log.h"
#include "raft/transport/grpc_transport.h"
#include "rpc/server.h"

namespace millrace::raft {
namespace {

using testing::SizeIs;

class GrpcWire final : public TestWire {
 public:
  std::unique_ptr<Transport> NewTransport(int number) override {
    GrpcTransportOptions options;
    options.confirm_interval = absl::Milliseconds(50);
    options.silence_timeout = absl::Seconds(1);
    options.backoff = {absl::Milliseconds(5), absl::Milliseconds(100), 2.0};
    auto transport = std::make_unique<GrpcTransport>(
        rpc::LoopbackCredentials(), Clock::Real(),
        Random::Seeded(static_cast<uint64_t>(number) + 1), options);
    auto server = rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0",
                                     {transport->service()});
    EXPECT_TRUE(server.ok()) << server.status();
    Place& place = places_[number];
    place.server = *std::move(server);
    // Where it is reached stays the same when it comes back.
    const std::string target = place.server->address().ToString();
    if (place.proxy == nullptr) {
      place.proxy = *TcpProxy::Start(target);
    } else {
      place.proxy->SetTarget(target);
    }
    return transport;
  }
  void Started(int, Node&) override {}
  void Stopping(int number) override {
    places_.at(number).server->Shutdown(absl::ZeroDuration());
  }
  std::string AddressOf(int number) override {
    return places_.at(number).proxy->address();
  }

  TcpProxy& proxy(int number) { return *places_.at(number).proxy; }

 private:
  struct Place {
    std::unique_ptr<rpc::Server> server;
    std::unique_ptr<TcpProxy> proxy;
  };
  std::map<int, Place> places_;
};

NodeOptions Options() {
  NodeOptions options;
  options.segment_bytes = 64 << 10;
  options.free_bytes_min = 1000;
  options.tick = absl::Milliseconds(20);
  options.snapshot_entries = 200;
  options.keep_entries = 10;
  return options;
}

class GrpcGroupTest : public testing::Test {
 protected:
  GrpcGroupTest() : group_(wire_, Options()) {}

  void CommitMany(const std::string& prefix, int count, int except = -1) {
    for (int i = 0; i < count; ++i) group_.Commit(Cat(prefix, i), except);
  }
  int Follower(int leader) {
    for (int i = 0; i < group_.size(); ++i) {
      if (i != leader && group_.running(i)) return i;
    }
    return -1;
  }

  GrpcWire wire_;
  NodeGroup group_;
};

TEST_F(GrpcGroupTest, ThreeMembersApplyTheSame) {
  group_.Grow(3);
  CommitMany("entry ", 100);
  group_.WaitForAll("entry 99");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(group_.node(0).status().membership.at(group_.id(i)).address,
              wire_.proxy(i).address());
  }
}

TEST_F(GrpcGroupTest, ManyProposalsAndALongOne) {
  NodeOptions options = Options();
  options.segment_bytes = 64 << 20;
  NodeGroup group(wire_, options);
  group.Grow(3);
  // Who is no longer the leader need not commit what it took.
  WaitUntil([&] {
    const int leader = group.WaitForLeader();
    const uint64_t term = group.sink(leader).leading();
    const size_t before = group.sink(leader).count();
    bool taken = true;
    for (int i = 0; i < 50 && taken; ++i) {
      taken =
          group.node(leader)
              .Propose(term, std::vector<std::string>(100, Cat("batch ", i)))
              .ok();
    }
    taken = taken && group.node(leader)
                         .Propose(term, {std::string(kPayloadBytesMax, 'x')})
                         .ok();
    const auto all = [&] {
      return group.sink(leader).count() >= before + 5001;
    };
    if (taken) {
      WaitUntil([&] { return all() || group.sink(leader).leading() != term; });
    }
    return taken && all();
  });
  group.Commit("last");
  group.WaitForAll("last");
}

TEST_F(GrpcGroupTest, ALeaderThatIsGoneIsReplaced) {
  group_.Grow(3);
  for (int round = 0; round < 3; ++round) {
    CommitMany(Cat("round ", round, " "), 10);
    const int leader = group_.WaitForLeader();
    group_.Crash(leader);
    CommitMany(Cat("round ", round, " without "), 5);
    group_.Restart(leader);
    group_.Commit(Cat("round ", round, " again"));
    group_.WaitForAll(Cat("round ", round, " again"));
  }
}

TEST_F(GrpcGroupTest, AMemberThatHearsNothingComesBack) {
  group_.Grow(3);
  CommitMany("before ", 10);
  for (const bool stall : {false, true}) {
    const int leader = group_.WaitForLeader();
    const int deaf = Follower(leader);
    if (stall) {
      wire_.proxy(deaf).StallBoth();
    } else {
      wire_.proxy(deaf).Cut();
    }
    CommitMany(Cat("without ", stall, " "), 20, deaf);
    wire_.proxy(deaf).Heal();
    group_.Commit(Cat("with ", stall));
    group_.WaitForAll(Cat("with ", stall));
  }
}

// It hears no answer, so it may not go on leading; the others see to it.
TEST_F(GrpcGroupTest, ALeaderThatHearsNothingIsReplaced) {
  group_.Grow(3);
  CommitMany("before ", 10);
  const int leader = group_.WaitForLeader();
  const uint64_t term = group_.sink(leader).leading();
  wire_.proxy(leader).StallBoth();
  EXPECT_FALSE(group_.Confirm(leader, term).ok());
  CommitMany("without ", 10, leader);
  wire_.proxy(leader).Heal();
  group_.Commit("with");
  group_.WaitForAll("with");
}

TEST_F(GrpcGroupTest, DelayedAndDamagedConnectionsLoseNothing) {
  group_.Grow(3);
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 3; ++i) {
      wire_.proxy(i).Delay(absl::Milliseconds(round));
      wire_.proxy(i).Corrupt(round % 2 == 0 ? TcpProxy::Direction::kToServer
                                            : TcpProxy::Direction::kToClient,
                             static_cast<uint64_t>(100 + 700 * round + 31 * i));
    }
    CommitMany(Cat("round ", round, " "), 15);
  }
  for (int i = 0; i < 3; ++i) wire_.proxy(i).Heal();
  group_.Commit("last");
  group_.WaitForAll("last");
  const std::vector<std::string> all = group_.sink(0).payloads();
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 15; ++i) {
      EXPECT_GE(
          std::count(all.begin(), all.end(), Cat("round ", round, " ", i)), 1);
    }
  }
}

TEST_F(GrpcGroupTest, AMemberThatWasAwayForLongGetsASnapshot) {
  group_.Grow(3);
  CommitMany("before ", 10);
  const int away = Follower(group_.WaitForLeader());
  group_.WaitForAll("before 9");
  group_.Stop(away);
  CommitMany(std::string(1000, 'x'), 700);
  group_.Restart(away);
  group_.sink(away).WaitForSnapshots(1);
  group_.Commit("last");
  group_.WaitForAll("last");
}

TEST_F(GrpcGroupTest, AMemberWithoutItsDiskComesBackAsANewOne) {
  group_.Grow(3);
  CommitMany("entry ", 10);
  const int leader = group_.WaitForLeader();
  const int lost = Follower(leader);
  group_.Stop(lost);
  const NodeId old = group_.id(lost);
  // The old one is still a member when the new one answers at its address: it
  // must not be taken for it.
  group_.Wipe(lost);
  CommitMany("with a stranger ", 5, lost);
  const auto progress = group_.node(group_.WaitForLeader()).status().progress;
  EXPECT_TRUE(progress.contains(old));
  EXPECT_EQ(group_.sink(lost).count(), 0u);
  WaitUntil([&] {
    return group_.ChangeId(MembershipChange::Kind::kRemove, old, "").ok();
  });
  group_.AddLearner(lost);
  group_.Promote(lost);
  group_.Commit("last");
  group_.WaitForAll("last");
}

}  // namespace
}  // namespace millrace::raft
