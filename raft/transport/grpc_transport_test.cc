// The transport over real connections on loopback, with a proxy in each way.
#include "raft/transport/grpc_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/strings.h"
#include "common/tcp_proxy.h"
#include "raft/node/testing/list_sink.h"
#include "raft/replicated_log.h"
#include "rpc/server.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A snapshot whose chunks are made up.
class FakeOutgoing final : public OutgoingSnapshot {
 public:
  FakeOutgoing(std::string description, std::vector<std::string> chunks)
      : description_(std::move(description)), chunks_(std::move(chunks)) {}
  const std::string& description() const override { return description_; }
  uint64_t chunks() const override { return chunks_.size(); }
  absl::StatusOr<std::string> ReadChunk(uint64_t number) override {
    return chunks_.at(number);
  }

 private:
  const std::string description_;
  const std::vector<std::string> chunks_;
};

// Keeps what it is told.
class FakeReceiver final : public TransportReceiver {
 public:
  void OnMessage(Message message) override {
    absl::MutexLock lock(&mu_);
    messages_.push_back(std::move(message));
  }
  void OnUnreachable(NodeId node) override {
    absl::MutexLock lock(&mu_);
    ++unreachable_[node];
  }
  void OnSnapshotSent(NodeId, const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    sent_.push_back(status);
  }
  absl::StatusOr<std::unique_ptr<IncomingSnapshot>> ReceiveSnapshot(
      const Message& message, std::string_view description) override {
    class Incoming final : public IncomingSnapshot {
     public:
      Incoming(FakeReceiver& receiver, const Message& message, size_t expected)
          : receiver_(receiver), message_(message), expected_(expected) {}
      ~Incoming() override {
        absl::MutexLock lock(&receiver_.mu_);
        receiver_.receiving_ = false;
      }
      uint64_t next_chunk() const override {
        absl::MutexLock lock(&receiver_.mu_);
        return receiver_.chunks_.size();
      }
      bool complete() const override { return next_chunk() == expected_; }
      absl::Status Append(uint64_t number, std::string_view chunk) override {
        if (number != next_chunk()) return absl::OutOfRangeError("missing");
        absl::MutexLock lock(&receiver_.mu_);
        const auto free = [this]() ABSL_SHARED_LOCKS_REQUIRED(receiver_.mu_) {
          return !receiver_.held_;
        };
        receiver_.mu_.Await(absl::Condition(&free));
        ++receiver_.appends_;
        receiver_.chunks_.emplace_back(chunk);
        return absl::OkStatus();
      }
      absl::Status Commit() override {
        receiver_.OnMessage(message_);
        return absl::OkStatus();
      }

     private:
      FakeReceiver& receiver_;
      const Message message_;
      const size_t expected_;
    };
    absl::MutexLock lock(&mu_);
    if (receiving_) return absl::ResourceExhaustedError("one at a time");
    if (description == "unwanted") {
      return absl::FailedPreconditionError("not wanted");
    }
    receiving_ = true;
    return std::make_unique<Incoming>(*this, message,
                                      std::stoul(std::string(description)));
  }

  std::vector<Message> WaitForMessages(size_t count) {
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return messages_.size() >= count;
    };
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience))
        << messages_.size() << " of " << count;
    return messages_;
  }
  absl::Status WaitForSent() {
    const auto told = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return !sent_.empty();
    };
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&told), kTestPatience));
    if (sent_.empty()) return absl::UnknownError("not told");
    absl::Status status = sent_.front();
    sent_.erase(sent_.begin());
    return status;
  }
  void WaitForAppends(int count) {
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return appends_ >= count;
    };
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience));
  }
  // Appends do not return until Release.
  void Hold(bool held) {
    absl::MutexLock lock(&mu_);
    held_ = held;
  }
  int unreachable(NodeId node) {
    absl::MutexLock lock(&mu_);
    return unreachable_[node];
  }
  std::vector<std::string> chunks() {
    absl::MutexLock lock(&mu_);
    return chunks_;
  }
  int appends() {
    absl::MutexLock lock(&mu_);
    return appends_;
  }
  size_t messages() {
    absl::MutexLock lock(&mu_);
    return messages_.size();
  }

 private:
  absl::Mutex mu_;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mu_);
  std::map<NodeId, int> unreachable_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> sent_ ABSL_GUARDED_BY(mu_);
  bool receiving_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::string> chunks_ ABSL_GUARDED_BY(mu_);
  int appends_ ABSL_GUARDED_BY(mu_) = 0;  // Over all tries.
};

// A member as far as the transport goes: listens behind a proxy.
struct Peer {
  Peer(NodeId id, ClusterId cluster, const GrpcTransportOptions& options)
      : identity{cluster, id} {
    transport = std::make_unique<GrpcTransport>(
        rpc::LoopbackCredentials(), Clock::Real(), Random::Seeded(id), options);
    Serve();
    proxy = *TcpProxy::Start(server->address().ToString());
  }
  ~Peer() {
    server->Shutdown(absl::ZeroDuration());
    transport->Stop();
  }
  void Serve() {
    auto started = rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0",
                                      {transport->service()});
    EXPECT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
  }
  void Start() {
    transport->SetAddress(proxy->address());
    transport->Start(identity, receiver);
  }
  void Knows(const Peer& other) {
    transport->SetPeers({{other.identity.member, other.proxy->address()}});
  }

  const LogIdentity identity;
  FakeReceiver receiver;
  std::unique_ptr<GrpcTransport> transport;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<TcpProxy> proxy;
};

class GrpcTransportTest : public testing::Test {
 protected:
  GrpcTransportTest() {
    const auto random = Random::Seeded(1);
    cluster_ = ClusterId::Generate(*random);
    options_.confirm_interval = absl::Milliseconds(50);
    options_.silence_timeout = absl::Seconds(1);
    options_.backoff = {absl::Milliseconds(5), absl::Milliseconds(50), 2.0};
    options_.snapshot_timeout = absl::Seconds(1);
    a_ = std::make_unique<Peer>(1, cluster_, options_);
    b_ = std::make_unique<Peer>(2, cluster_, options_);
  }
  void StartBoth() {
    a_->Start();
    b_->Start();
    a_->Knows(*b_);
    b_->Knows(*a_);
  }
  static Message Numbered(const Peer& from, NodeId to, uint64_t number) {
    Message message;
    message.type = MessageType::kHeartbeat;
    message.from = from.identity.member;
    message.to = to;
    message.term = 1;
    message.commit = number;
    return message;
  }
  void SendToB(uint64_t number) {
    a_->transport->Send(Numbered(*a_, 2, number));
  }
  // Sends until something arrives that was sent after the call.
  void SendUntilHeard(uint64_t first) {
    WaitUntil([&] {
      SendToB(++first);
      const auto messages = b_->receiver.WaitForMessages(0);
      return !messages.empty() && messages.back().commit >= first - 1000;
    });
  }
  void SendSnapshotToB(std::vector<std::string> chunks) {
    Message message = Numbered(*a_, 2, 0);
    message.type = MessageType::kSnapshot;
    message.snapshot = SnapshotMeta{{1, 10}, {{1, {true, ""}}}};
    std::string description = Cat(chunks.size());
    a_->transport->SendSnapshot(std::move(message),
                                std::make_unique<FakeOutgoing>(
                                    std::move(description), std::move(chunks)));
  }

  ClusterId cluster_;
  GrpcTransportOptions options_;
  std::unique_ptr<Peer> a_;
  std::unique_ptr<Peer> b_;
};

TEST_F(GrpcTransportTest, MessagesArriveInOrder) {
  StartBoth();
  for (uint64_t i = 1; i <= 2000; ++i) SendToB(i);
  const auto messages = b_->receiver.WaitForMessages(2000);
  ASSERT_THAT(messages, SizeIs(2000));
  for (uint64_t i = 0; i < 2000; ++i) {
    ASSERT_EQ(messages[i], Numbered(*a_, 2, i + 1));
  }
  EXPECT_EQ(a_->receiver.unreachable(2), 0);
}

TEST_F(GrpcTransportTest, TheLongestEntryArrives) {
  StartBoth();
  Message message = Numbered(*a_, 2, 0);
  message.type = MessageType::kAppend;
  message.entries.push_back(
      {1, 1, kNormalEntry, std::string(kPayloadBytesMax, 'x')});
  a_->transport->Send(message);
  SendToB(1);
  const auto messages = b_->receiver.WaitForMessages(2);
  ASSERT_THAT(messages, SizeIs(2));
  EXPECT_EQ(messages[0], message);
}

TEST_F(GrpcTransportTest, WhoIsNotKnownIsAnsweredWhereItSaysItIs) {
  a_->Start();
  b_->Start();
  a_->Knows(*b_);  // And b knows nobody.
  b_->transport->Send(Numbered(*b_, 1, 1));
  SendToB(1);
  b_->receiver.WaitForMessages(1);
  b_->transport->Send(Numbered(*b_, 1, 2));
  EXPECT_THAT(a_->receiver.WaitForMessages(1),
              ElementsAre(Numbered(*b_, 1, 2)));
}

TEST_F(GrpcTransportTest, AnotherClusterIsRefused) {
  const auto random = Random::Seeded(99);
  Peer stranger(3, ClusterId::Generate(*random), options_);
  stranger.Start();
  b_->Start();
  stranger.Knows(*b_);
  stranger.transport->Send(Numbered(stranger, 2, 1));
  WaitUntil([&] {
    stranger.transport->Send(Numbered(stranger, 2, 1));
    return stranger.receiver.unreachable(2) >= 2;
  });
  EXPECT_EQ(b_->receiver.messages(), 0u);
}

// The member at that address is not the one that was there before.
TEST_F(GrpcTransportTest, AMemberThatIsNoMoreIsNotTakenForItsSuccessor) {
  a_->Start();
  b_->Start();
  a_->transport->SetPeers({{77, b_->proxy->address()}});
  WaitUntil([&] {
    a_->transport->Send(Numbered(*a_, 77, 1));
    return a_->receiver.unreachable(77) >= 2;
  });
  EXPECT_EQ(b_->receiver.messages(), 0u);
  // Nor does a snapshot go there.
  Message message = Numbered(*a_, 77, 0);
  message.type = MessageType::kSnapshot;
  message.snapshot = SnapshotMeta{{1, 10}, {{1, {true, ""}}}};
  a_->transport->SendSnapshot(
      message,
      std::make_unique<FakeOutgoing>("1", std::vector<std::string>{"chunk"}));
  EXPECT_TRUE(absl::IsFailedPrecondition(a_->receiver.WaitForSent()));
  EXPECT_THAT(b_->receiver.chunks(), IsEmpty());
}

TEST_F(GrpcTransportTest, WhoStartsLaterIsReachedThen) {
  a_->Start();
  a_->Knows(*b_);
  WaitUntil([&] {
    SendToB(1);
    return a_->receiver.unreachable(2) >= 1;
  });
  b_->Start();
  SendUntilHeard(1000);
}

TEST_F(GrpcTransportTest, ACutIsNoticedAndHeals) {
  StartBoth();
  SendUntilHeard(1000);
  b_->proxy->Cut();
  WaitUntil([&] {
    SendToB(1);
    return a_->receiver.unreachable(2) >= 2;
  });
  b_->proxy->Heal();
  SendUntilHeard(5000);
}

// TCP would wait for long; nothing tells that the other is gone but its
// silence.
TEST_F(GrpcTransportTest, SilenceIsNoticedAndHeals) {
  StartBoth();
  SendUntilHeard(1000);
  b_->proxy->StallBoth();
  WaitUntil([&] {
    SendToB(1);
    return a_->receiver.unreachable(2) >= 1;
  });
  b_->proxy->Heal();
  SendUntilHeard(5000);
}

TEST_F(GrpcTransportTest, AQuietStreamIsNotTakenForABrokenOne) {
  StartBoth();
  SendToB(1);
  SendToB(2);
  b_->receiver.WaitForMessages(2);
  absl::Mutex mu;
  const bool never = false;
  {
    absl::MutexLock lock(&mu);
    mu.AwaitWithTimeout(absl::Condition(&never), 2 * options_.silence_timeout);
  }
  EXPECT_EQ(a_->receiver.unreachable(2), 0);
  EXPECT_EQ(b_->proxy->connections(), 1);
}

TEST_F(GrpcTransportTest, ADamagedByteEndsTheStreamAndNothingElse) {
  StartBoth();
  uint64_t number = 1000;
  for (int round = 0; round < 20; ++round) {
    SendUntilHeard(number);
    number += 10'000;
    b_->proxy->Corrupt(TcpProxy::Direction::kToServer,
                       static_cast<uint64_t>(1 + 13 * round));
    for (int i = 0; i < 50; ++i) SendToB(7);
  }
  b_->proxy->Heal();
  SendUntilHeard(number);
  // Whatever arrived was sent.
  for (const Message& message : b_->receiver.WaitForMessages(0)) {
    EXPECT_EQ(message, Numbered(*a_, 2, message.commit));
  }
}

TEST_F(GrpcTransportTest, FollowsAMemberThatMoves) {
  StartBoth();
  SendUntilHeard(1000);
  const auto moved = *TcpProxy::Start(b_->server->address().ToString());
  b_->proxy->Cut();
  a_->transport->SetPeers({{2, moved->address()}});
  SendUntilHeard(5000);
  EXPECT_TRUE(moved->WaitForConnection());
}

TEST_F(GrpcTransportTest, WhoLeavesIsNotSpokenToAnyMore) {
  StartBoth();
  SendUntilHeard(1000);
  a_->transport->SetPeers({});
  WaitUntil([&] { return b_->proxy->connections() == 0; });
  SendToB(1);
  EXPECT_EQ(b_->proxy->connections(), 0);
}

TEST_F(GrpcTransportTest, NothingComesAfterStop) {
  StartBoth();
  SendUntilHeard(1000);
  b_->transport->Stop();
  const size_t before = b_->receiver.messages();
  WaitUntil([&] {
    SendToB(1);
    return a_->receiver.unreachable(2) >= 1;
  });
  EXPECT_EQ(b_->receiver.messages(), before);
  SendToB(2);
  a_->transport->Stop();
  SendToB(3);
}

// ------------------------------------------------------------------ snapshots

TEST_F(GrpcTransportTest, ASnapshotArrivesWithItsMessage) {
  StartBoth();
  const std::vector<std::string> chunks = {
      std::string(1 << 20, 'a'), std::string(kTransportChunkBytesMax, 'b'),
      "end"};
  SendSnapshotToB(chunks);
  EXPECT_TRUE(a_->receiver.WaitForSent().ok());
  EXPECT_EQ(b_->receiver.chunks(), chunks);
  const auto messages = b_->receiver.WaitForMessages(1);
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].type, MessageType::kSnapshot);
  EXPECT_EQ(messages[0].snapshot->last, (EntryId{1, 10}));
}

TEST_F(GrpcTransportTest, AnUnwantedSnapshotIsNotSentAgain) {
  StartBoth();
  Message message = Numbered(*a_, 2, 0);
  message.type = MessageType::kSnapshot;
  message.snapshot = SnapshotMeta{{1, 10}, {{1, {true, ""}}}};
  a_->transport->SendSnapshot(
      message, std::make_unique<FakeOutgoing>("unwanted",
                                              std::vector<std::string>{"x"}));
  EXPECT_TRUE(absl::IsFailedPrecondition(a_->receiver.WaitForSent()));
}

TEST_F(GrpcTransportTest, ASnapshotGoesOnWhereItBrokeOff) {
  StartBoth();
  std::vector<std::string> chunks;
  for (int i = 0; i < 30; ++i) {
    chunks.push_back(Cat(i, std::string(100'000, 'x')));
  }
  SendSnapshotToB(chunks);
  for (const int appended : {5, 12, 20}) {
    b_->receiver.WaitForAppends(appended);
    b_->proxy->BreakConnections();
  }
  EXPECT_TRUE(a_->receiver.WaitForSent().ok());
  EXPECT_EQ(b_->receiver.chunks(), chunks);
  EXPECT_EQ(b_->receiver.appends(), 30);  // None of them twice.
}

TEST_F(GrpcTransportTest, AReceiverThatHangsFailsTheTransfer) {
  StartBoth();
  b_->receiver.Hold(true);
  SendSnapshotToB({"a", "b"});
  const absl::Status status = a_->receiver.WaitForSent();
  EXPECT_FALSE(status.ok());
  b_->receiver.Hold(false);
  // The next one is taken.
  SendSnapshotToB({"a", "b"});
  EXPECT_TRUE(a_->receiver.WaitForSent().ok());
}

TEST_F(GrpcTransportTest, AMemberThatIsGoneFailsTheTransfer) {
  StartBoth();
  b_->proxy->Cut();
  SendSnapshotToB({"a"});
  EXPECT_TRUE(absl::IsUnavailable(a_->receiver.WaitForSent()));
}

TEST_F(GrpcTransportTest, SnapshotsDoNotHoldUpMessages) {
  StartBoth();
  b_->receiver.Hold(true);
  SendSnapshotToB({"a"});
  SendUntilHeard(1000);
  b_->receiver.Hold(false);
  EXPECT_TRUE(a_->receiver.WaitForSent().ok());
}

TEST_F(GrpcTransportTest, ASnapshotIsNoFasterThanItMay) {
  options_.snapshot_bytes_per_second = 1 << 20;
  a_ = std::make_unique<Peer>(1, cluster_, options_);
  StartBoth();
  const absl::Duration start = Clock::Real().Monotonic();
  SendSnapshotToB(std::vector<std::string>(4, std::string(100 << 10, 'x')));
  EXPECT_TRUE(a_->receiver.WaitForSent().ok());
  // All but the last chunk have to be paid for.
  EXPECT_GE(Clock::Real().Monotonic() - start, absl::Milliseconds(290));
}

TEST_F(GrpcTransportTest, StopsInTheMiddleOfATransfer) {
  StartBoth();
  b_->receiver.Hold(true);
  SendSnapshotToB({"a", "b"});
  a_->transport->Stop();
  b_->receiver.Hold(false);
  b_->transport->Stop();
}

}  // namespace
}  // namespace millrace::raft
