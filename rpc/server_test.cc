#include "rpc/server.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/synchronization/notification.h"
#include "rpc/call.h"
#include "rpc/channel.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "rpc/testing/fake_service.h"

namespace millrace::rpc {
namespace {

using proto::GetJobReply;
using proto::GetJobRequest;

absl::StatusOr<std::unique_ptr<Server>> StartOn(std::string_view listen,
                                                FakeService& service) {
  return Server::Start(LoopbackCredentials(), listen, {&service});
}

// One call of GetJob with `prefix`.
absl::Status GetJob(grpc::Channel& channel, const std::string& prefix,
                    GetJobReply* reply,
                    absl::Duration timeout = absl::Seconds(30)) {
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  GetJobRequest request;
  request.set_id_prefix(prefix);
  // The stub wants to own a part of the channel.
  const auto stub = proto::ClientService::NewStub(
      std::shared_ptr<grpc::Channel>(std::shared_ptr<void>(), &channel));
  return FromGrpc(stub->GetJob(&context, request, reply));
}

FakeService::Handler Echo() {
  return [](grpc::ServerContext&, const GetJobRequest& request,
            GetJobReply& reply) {
    reply.mutable_status()->set_name(request.id_prefix());
    return grpc::Status::OK;
  };
}

// A connection of a caller that is no gRPC client.
class RawCaller {
 public:
  explicit RawCaller(const Address& address)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in peer = {};
    peer.sin_family = AF_INET;
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.sin_port = htons(address.port);
    EXPECT_EQ(
        connect(fd_, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)),
        0);
  }
  ~RawCaller() { close(fd_); }
  RawCaller(const RawCaller&) = delete;
  RawCaller& operator=(const RawCaller&) = delete;

  void Say(std::string_view bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Reads what comes; false: nothing more for half a minute.
  bool IsHungUpOn() {
    pollfd wait = {fd_, POLLIN, 0};
    char bytes[1024];
    while (poll(&wait, 1, 30'000) == 1) {
      if (recv(fd_, bytes, sizeof(bytes), 0) <= 0) return true;
    }
    return false;
  }

 private:
  const int fd_;
};

TEST(Server, ACallerThatDoesNotIntroduceItselfIsHungUpOn) {
  FakeService service(Echo());
  auto server = StartOn("localhost:0", service);
  ASSERT_TRUE(server.ok()) << server.status();
  RawCaller silent((*server)->address());
  RawCaller slow((*server)->address());
  slow.Say("PRI * HTTP/2.0\r\n");
  EXPECT_TRUE(silent.IsHungUpOn());
  EXPECT_TRUE(slow.IsHungUpOn());
}

TEST(Server, TakesAFreePortAndAnswers) {
  FakeService service(Echo());
  auto server = StartOn("localhost:0", service);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->address().host, "127.0.0.1");
  ASSERT_GT((*server)->address().port, 0);
  auto channel = Dial(LoopbackCredentials(), (*server)->address().ToString());
  ASSERT_TRUE(channel.ok());
  GetJobReply reply;
  ASSERT_TRUE(GetJob(**channel, "abc", &reply).ok());
  EXPECT_EQ(reply.status().name(), "abc");
}

TEST(Server, PortInUseIsOneClearLine) {
  FakeService service(Echo());
  auto first = StartOn("127.0.0.1:0", service);
  ASSERT_TRUE(first.ok());
  const std::string address = (*first)->address().ToString();
  FakeService other(Echo());
  testing::internal::CaptureStderr();
  auto second = StartOn(address, other);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
  EXPECT_EQ(second.status().message(),
            "cannot listen on " + address +
                ": the port is in use; another process listens there");
}

TEST(Server, RefusesToListenOffLoopback) {
  FakeService service(Echo());
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "10.1.2.3:0", "host:0"}) {
    const auto server = StartOn(listen, service);
    EXPECT_TRUE(absl::IsFailedPrecondition(server.status())) << listen;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(StartOn("nonsense", service).status()));
}

TEST(Server, RestartsOnThePortItHad) {
  FakeService service(Echo());
  auto server = StartOn("127.0.0.1:0", service);
  ASSERT_TRUE(server.ok());
  const std::string address = (*server)->address().ToString();
  auto channel = Dial(LoopbackCredentials(), address);
  GetJobReply reply;
  ASSERT_TRUE(GetJob(**channel, "a", &reply).ok());
  server->reset();
  EXPECT_TRUE(absl::IsUnavailable(GetJob(**channel, "a", &reply)));
  FakeService again(Echo());
  auto restarted = StartOn(address, again);
  ASSERT_TRUE(restarted.ok()) << restarted.status();
  // The channel comes back by itself, within its reconnect backoff.
  StopSignal stop;
  Caller caller(Clock::Real(), Random::Seeded(1), stop);
  EXPECT_TRUE(caller
                  .Call("get", {},
                        [&](grpc::ClientContext&) {
                          return ToGrpc(GetJob(**channel, "a", &reply));
                        })
                  .ok());
}

TEST(Channel, DialsNothingOffLoopback) {
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Dial(LoopbackCredentials(), "10.0.0.1:5").status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Dial(LoopbackCredentials(), "x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Dial(LoopbackCredentials(), "127.0.0.1:0").status()));
}

class LimitsTest : public testing::Test {
 protected:
  LimitsTest()
      : service_([this](grpc::ServerContext&, const GetJobRequest& request,
                        GetJobReply& reply) {
          ++calls_;
          if (request.id_prefix() == "large") {
            reply.mutable_status()->set_name(
                std::string(kMessageBytesMax + 1, 'x'));
          }
          if (request.id_prefix() == "long error") {
            return ToGrpc(absl::InternalError(std::string(1 << 20, '\xff')));
          }
          return grpc::Status::OK;
        }),
        server_(*StartOn("127.0.0.1:0", service_)),
        channel_(*Dial(LoopbackCredentials(), server_->address().ToString())) {}

  int calls_ = 0;
  FakeService service_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  GetJobReply reply_;
};

TEST_F(LimitsTest, MessagesUpToTheLimitPass) {
  EXPECT_TRUE(
      GetJob(*channel_, std::string(kMessageBytesMax - 16, 'x'), &reply_).ok());
}

TEST_F(LimitsTest, OversizedRequestIsRefusedClearlyAndHurtsNobody) {
  const absl::Status status =
      GetJob(*channel_, std::string(kMessageBytesMax + 1, 'x'), &reply_);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("longer than 4.0 MiB"), std::string::npos)
      << status;
  EXPECT_EQ(calls_, 0);
  EXPECT_TRUE(GetJob(*channel_, "ok", &reply_).ok());
}

TEST_F(LimitsTest, RequestOfAClientWithoutOurLimitsIsRefusedByTheServer) {
  grpc::ChannelArguments args;
  args.SetMaxSendMessageSize(-1);
  const auto channel = grpc::CreateCustomChannel(
      server_->address().ToString(), grpc::InsecureChannelCredentials(), args);
  const absl::Status status =
      GetJob(*channel, std::string(kMessageBytesMax + 1, 'x'), &reply_);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(calls_, 0);
}

TEST_F(LimitsTest, OversizedReplyIsAnErrorOfTheCall) {
  const absl::Status status = GetJob(*channel_, "large", &reply_);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(GetJob(*channel_, "ok", &reply_).ok());
}

TEST_F(LimitsTest, LongErrorsArriveCut) {
  const absl::Status status = GetJob(*channel_, "long error", &reply_);
  EXPECT_TRUE(absl::IsInternal(status)) << status.code();
  EXPECT_LE(status.message().size(), kStatusTextBytesMax);
  EXPECT_GE(status.message().size(), 1000);
}

TEST(Deadline, EndsACallThatIsNotAnswered) {
  absl::Notification release;
  FakeService service(
      [&](grpc::ServerContext&, const GetJobRequest&, GetJobReply&) {
        release.WaitForNotification();
        return grpc::Status::OK;
      });
  auto server = *StartOn("127.0.0.1:0", service);
  auto channel = *Dial(LoopbackCredentials(), server->address().ToString());
  GetJobReply reply;
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      GetJob(*channel, "a", &reply, absl::Milliseconds(50))));
  release.Notify();
}

TEST(Stop, CancelsACallThatIsUnderWay) {
  absl::Notification entered;
  FakeService service(
      [&](grpc::ServerContext& context, const GetJobRequest&, GetJobReply&) {
        if (!entered.HasBeenNotified()) entered.Notify();
        while (!context.IsCancelled()) std::this_thread::yield();
        return grpc::Status::CANCELLED;
      });
  auto server = *StartOn("127.0.0.1:0", service);
  auto channel = *Dial(LoopbackCredentials(), server->address().ToString());
  StopSignal stop;
  Caller caller(Clock::Real(), Random::Seeded(1), stop);
  std::thread stopper([&] {
    entered.WaitForNotification();
    stop.Stop();
  });
  const auto stub = proto::ClientService::NewStub(channel);
  const absl::Status status =
      caller.Call("get", {}, [&](grpc::ClientContext& context) {
        GetJobReply reply;
        return stub->GetJob(&context, GetJobRequest(), &reply);
      });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  stopper.join();
}

TEST(Shutdown, CancelsOpenCallsAfterItsGrace) {
  absl::Notification entered;
  FakeService service(
      [&](grpc::ServerContext& context, const GetJobRequest&, GetJobReply&) {
        entered.Notify();
        while (!context.IsCancelled()) std::this_thread::yield();
        return grpc::Status::OK;
      });
  auto server = *StartOn("127.0.0.1:0", service);
  auto channel = *Dial(LoopbackCredentials(), server->address().ToString());
  absl::Status status;
  std::thread client([&] {
    GetJobReply reply;
    status = GetJob(*channel, "a", &reply);
  });
  entered.WaitForNotification();
  server->Shutdown(absl::Milliseconds(20));
  client.join();
  EXPECT_FALSE(status.ok());
  server->Shutdown(absl::ZeroDuration());  // Again is nothing.
}

}  // namespace
}  // namespace millrace::rpc
