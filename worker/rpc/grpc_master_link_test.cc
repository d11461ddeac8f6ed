#include "worker/rpc/grpc_master_link.h"

#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/strings.h"
#include "common/tcp_proxy.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/limits.h"
#include "rpc/not_leader.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace millrace::worker {
namespace {

using ServerStream =
    grpc::ServerReaderWriter<proto::MasterMessage, proto::WorkerMessage>;

// A master whose part in the stream is played by the test.
class Master final : public proto::WorkerService::Service {
 public:
  using Play = std::function<grpc::Status(ServerStream&)>;
  explicit Master(Play play)
      : play_(std::move(play)),
        server_(*rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0",
                                    {this})) {}

  grpc::Status Connect(grpc::ServerContext*, ServerStream* stream) override {
    return play_(*stream);
  }
  std::string address() const { return server_->address().ToString(); }

 private:
  const Play play_;
  const std::unique_ptr<rpc::Server> server_;
};

proto::MasterMessage Welcome() {
  proto::MasterMessage message;
  message.set_term(1);
  message.mutable_welcome();
  return message;
}

proto::MasterMessage Refused(proto::RefusalReason reason,
                             const std::string& leader = "") {
  proto::MasterMessage message;
  message.mutable_refused()->set_reason(reason);
  message.mutable_refused()->set_leader_address(leader);
  return message;
}

// Says Hello on every stream and writes down what happens.
class Agent final : public MasterLink::Observer {
 public:
  void OnOpened(StreamId stream) override {
    Note(Cat("opened ", stream));
    proto::WorkerMessage hello;
    hello.mutable_hello()->set_name("w1");
    if (link != nullptr) link->Send(stream, hello);
  }
  void OnMessage(StreamId stream, proto::MasterMessage message) override {
    std::string what = "other";
    if (message.has_welcome()) what = "welcome";
    if (message.has_refused()) what = "refused";
    if (message.has_kill()) what = message.kill().reason();
    Note(Cat(what, " ", stream));
  }
  void OnClosed(StreamId stream, const absl::Status& status) override {
    {
      const absl::MutexLock lock(&mu_);
      last_status_ = status;
    }
    Note(Cat("closed ", stream));
  }

  // Waits, a minute at most, until this has happened.
  void Await(const std::string& what) {
    const absl::MutexLock lock(&mu_);
    const auto seen = [&] {
      return std::find(notes_.begin(), notes_.end(), what) != notes_.end();
    };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&seen), absl::Seconds(60)))
        << what;
  }
  bool Saw(const std::string& what) {
    const absl::MutexLock lock(&mu_);
    return std::find(notes_.begin(), notes_.end(), what) != notes_.end();
  }
  std::vector<std::string> notes() {
    const absl::MutexLock lock(&mu_);
    return notes_;
  }
  absl::Status last_status() {
    const absl::MutexLock lock(&mu_);
    return last_status_;
  }

  MasterLink* link = nullptr;

 private:
  void Note(const std::string& what) {
    const absl::MutexLock lock(&mu_);
    notes_.push_back(what);
  }

  absl::Mutex mu_;
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mu_);
  absl::Status last_status_ ABSL_GUARDED_BY(mu_);
};

class MasterLinkTest : public testing::Test {
 protected:
  void Connect(std::vector<std::string> masters,
               MasterLinkOptions options = {}) {
    options.backoff = {absl::Milliseconds(5), absl::Milliseconds(20), 2.0};
    link_ = MakeMasterLink(rpc::LoopbackCredentials(), std::move(masters),
                           Random::Seeded(1), options);
    agent_.link = link_.get();
    link_->Start(agent_);
  }

  Agent agent_;
  std::unique_ptr<MasterLink> link_;
};

// Welcomes, then echoes the message of every dropped_jobs as a Kill.
grpc::Status Lead(ServerStream& stream) {
  proto::WorkerMessage in;
  if (!stream.Read(&in) || !in.has_hello()) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no Hello first");
  }
  stream.Write(Welcome());
  while (stream.Read(&in)) {
    proto::MasterMessage out;
    out.mutable_kill()->set_reason(in.update().dropped_jobs(0));
    stream.Write(out);
  }
  return grpc::Status::OK;
}

proto::WorkerMessage Say(const std::string& text) {
  proto::WorkerMessage message;
  message.mutable_update()->add_dropped_jobs(text);
  return message;
}

TEST_F(MasterLinkTest, CarriesMessagesBothWaysInOrder) {
  Master master(Lead);
  Connect({master.address()});
  agent_.Await("welcome 1");
  for (int i = 0; i < 100; ++i) link_->Send(1, Say(Cat("m", i)));
  agent_.Await("m99 1");
  const std::vector<std::string> notes = agent_.notes();
  ASSERT_EQ(notes.size(), 102);
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(notes[i + 2], Cat("m", i, " 1"));
}

TEST_F(MasterLinkTest, WaitsForAMasterThatIsNotThereYet) {
  Master master(Lead);
  // Its port is held all the time, by one who lets nobody through.
  const auto door = *TcpProxy::Start(master.address());
  door->Cut();
  const auto street = *TcpProxy::Start(door->address());
  Connect({street->address()});
  ASSERT_TRUE(street->WaitForConnection()) << "it has not even tried";
  EXPECT_TRUE(agent_.notes().empty());
  door->Heal();
  agent_.Await("welcome 1");
}

TEST_F(MasterLinkTest, OpensAnotherStreamWhenOneBreaks) {
  int streams = 0;
  Master master([&](ServerStream& stream) {
    if (++streams < 3) {
      stream.Write(Welcome());
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    }
    return Lead(stream);
  });
  Connect({master.address()});
  agent_.Await("welcome 3");
  EXPECT_EQ(agent_.notes(),
            (std::vector<std::string>{"opened 1", "welcome 1", "closed 1",
                                      "opened 2", "welcome 2", "closed 2",
                                      "opened 3", "welcome 3"}));
  // What is meant for a stream that has ended goes nowhere.
  link_->Send(2, Say("late"));
  link_->Send(3, Say("in time"));
  agent_.Await("in time 3");
  for (const std::string& note : agent_.notes()) EXPECT_NE(note, "late 3");
}

TEST_F(MasterLinkTest, FollowsARefusalToTheLeader) {
  Master leader(Lead);
  Master other([&](ServerStream& stream) {
    stream.Write(Refused(proto::NOT_LEADER, leader.address()));
    proto::WorkerMessage in;
    while (stream.Read(&in)) {
    }
    return grpc::Status::OK;
  });
  Master third([&](ServerStream&) {
    ADD_FAILURE() << "asked";
    return grpc::Status::OK;
  });
  Connect({other.address(), third.address(), leader.address()});
  agent_.Await("welcome 2");
  EXPECT_EQ(agent_.notes(),
            (std::vector<std::string>{"opened 1", "refused 1", "closed 1",
                                      "opened 2", "welcome 2"}));
}

TEST_F(MasterLinkTest, FollowsTheHintOfAStatusToo) {
  Master leader(Lead);
  Master other([&](ServerStream&) {
    return rpc::ToGrpc(rpc::NotLeaderError({leader.address(), 3}));
  });
  Connect({other.address(), leader.address()});
  agent_.Await("welcome 2");
}

TEST_F(MasterLinkTest, ARefusalEndsTheStreamAndAnotherIsTried) {
  int streams = 0;
  Master master([&](ServerStream& stream) {
    if (++streams == 1) {
      stream.Write(Refused(proto::INCARNATION_LOST));
      proto::WorkerMessage in;
      while (stream.Read(&in)) {
      }
      return grpc::Status::OK;
    }
    return Lead(stream);
  });
  Connect({master.address()});
  agent_.Await("welcome 2");
}

TEST_F(MasterLinkTest, CloseEndsTheStream) {
  Master master(Lead);
  Connect({master.address()});
  agent_.Await("welcome 1");
  link_->Close(7);  // Another stream: nothing.
  link_->Close(1);
  agent_.Await("closed 1");
  EXPECT_TRUE(absl::IsCancelled(agent_.last_status()));
  agent_.Await("welcome 2");
}

// A leader that takes nothing is told things until the stream is given up: what
// flow control and sockets take, however much that is, they take only once.
class SlowLeaderTest : public MasterLinkTest {
 protected:
  static constexpr size_t kQueueBytesMax = 4 << 20;

  void ConnectTo(const std::string& address) {
    MasterLinkOptions options;
    options.queue_bytes_max = kQueueBytesMax;
    Connect({address}, options);
    agent_.Await("welcome 1");
  }
  // Bytes that were said by then.
  size_t SendUntilClosed() {
    const std::string text(64 << 10, 'x');
    size_t sent = 0;
    while (!agent_.Saw("closed 1") && sent < kEndless) {
      link_->Send(1, Say(text));
      sent += text.size();
    }
    EXPECT_TRUE(absl::IsResourceExhausted(agent_.last_status()))
        << agent_.last_status();
    return sent;
  }

  static constexpr size_t kEndless = size_t{8} << 30;
};

TEST_F(SlowLeaderTest, OneThatDoesNotReadCostsBoundedMemory) {
  absl::Notification release;
  Master master([&](ServerStream& stream) {
    stream.Write(Welcome());
    release.WaitForNotification();
    return grpc::Status::OK;
  });
  ConnectTo(master.address());
  EXPECT_LT(SendUntilClosed(), kEndless);
  release.Notify();
}

// As with a machine that is stopped, or a cable that is gone.
TEST_F(SlowLeaderTest, OneThatIsOutOfReachCostsBoundedMemory) {
  Master master(Lead);
  const auto cable = *TcpProxy::Start(master.address());
  ConnectTo(cable->address());
  cable->Stall(TcpProxy::Direction::kToServer);
  EXPECT_LT(SendUntilClosed(), kEndless);
}

// The limit is for what waits, not for what is said.
TEST_F(SlowLeaderTest, OneThatReadsIsToldAnyAmount) {
  Master master([&](ServerStream& stream) {
    proto::WorkerMessage in;
    stream.Write(Welcome());
    while (stream.Read(&in)) {
      if (in.update().free_disk_bytes() == 0) continue;
      proto::MasterMessage out;
      out.mutable_kill()->set_reason(
          Cat("read ", in.update().free_disk_bytes()));
      stream.Write(out);
    }
    return grpc::Status::OK;
  });
  ConnectTo(master.address());
  for (uint64_t round = 1; round <= 8; ++round) {
    for (int i = 0; i < 2; ++i) link_->Send(1, Say(std::string(1 << 20, 'x')));
    proto::WorkerMessage mark;
    mark.mutable_update()->set_free_disk_bytes(round);
    link_->Send(1, mark);
    agent_.Await(Cat("read ", round, " 1"));
  }
}

TEST_F(MasterLinkTest, AMessageThatIsTooLongIsSaidClearly) {
  Master master(Lead);
  Connect({master.address()});
  agent_.Await("welcome 1");
  link_->Send(1, Say(std::string(rpc::kMessageBytesMax + 1, 'x')));
  agent_.Await("closed 1");
  EXPECT_TRUE(absl::IsInvalidArgument(agent_.last_status()));
}

TEST_F(MasterLinkTest, EndsWhileAStreamIsOpenOrLookedFor) {
  Master master(Lead);
  Connect({master.address()});
  agent_.Await("welcome 1");
  link_.reset();
  EXPECT_EQ(agent_.notes().back(), "closed 1");
  EXPECT_TRUE(absl::IsCancelled(agent_.last_status()));

  Agent other;
  link_ = MakeMasterLink(rpc::LoopbackCredentials(), {"127.0.0.1:1"},
                         Random::Seeded(1));
  link_->Start(other);
  link_.reset();
  EXPECT_TRUE(other.notes().empty());
  link_ = MakeMasterLink(rpc::LoopbackCredentials(), {"127.0.0.1:1"},
                         Random::Seeded(1));
  link_.reset();  // Never started.
}

}  // namespace
}  // namespace millrace::worker
