#include "rpc/grpc_library.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "rpc/call.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/testing/fake_service.h"

namespace millrace::rpc {
namespace {

// The threads of this process that have that name.
std::set<std::string> ThreadsNamed(const std::string& name) {
  std::set<std::string> threads;
  std::error_code error;  // One that ends meanwhile is passed by.
  for (std::filesystem::directory_iterator it("/proc/self/task", error), end;
       it != end; it.increment(error)) {
    std::string line;
    std::getline(std::ifstream(it->path() / "comm"), line);
    if (line == name) threads.insert(it->path().filename());
  }
  return threads;
}

// A server, and a channel to it that has been used.
class ServerAndChannel {
 public:
  ServerAndChannel()
      : service_([](grpc::ServerContext&, const proto::GetJobRequest&,
                    proto::GetJobReply&) { return grpc::Status::OK; }),
        server_(
            *Server::Start(LoopbackCredentials(), "127.0.0.1:0", {&service_})),
        channel_(*Dial(LoopbackCredentials(), server_->address().ToString())) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(60));
    proto::GetJobReply reply;
    EXPECT_TRUE(proto::ClientService::NewStub(channel_)
                    ->GetJob(&context, proto::GetJobRequest(), &reply)
                    .ok());
  }

 private:
  FakeService service_;
  const std::unique_ptr<Server> server_;
  const std::shared_ptr<grpc::Channel> channel_;
};

TEST(GrpcLibrary, OutlivesTheLastChannelAndServer) {
  { const ServerAndChannel last; }
  EXPECT_EQ(grpc_is_initialized(), 1);
}

// The event engine is known by its thread for timers: gRPC tells no more.
TEST(GrpcLibrary, KeepsItsEventEngineWhenNobodyUsesIt) {
  std::set<std::string> engine;
  {
    const ServerAndChannel last;
    do {  // A thread has its name a little after it has begun.
      engine = ThreadsNamed("timer_manager");
      std::this_thread::yield();
    } while (engine.empty());
  }
  const ServerAndChannel again;
  EXPECT_EQ(ThreadsNamed("timer_manager"), engine);
  EXPECT_EQ(engine.size(), 1);
}

TEST(GrpcLibrary, KeepsTheThreadsOfCallbacksWhenNobodyUsesThem) {
  KeepCallbackThreads();
  std::set<std::string> threads;
  do {
    threads = ThreadsNamed("nexting_thread");
    std::this_thread::yield();
  } while (threads.size() < 2);  // That many, or more, by the library's rule.
  for (int i = 0; i < 3; ++i) {
    const auto channel = *Dial(LoopbackCredentials(), "127.0.0.1:1");
    const auto stub = proto::ClientService::NewStub(channel);
    grpc::ClientContext context;
    const proto::GetJobRequest request;
    proto::GetJobReply reply;
    absl::Notification done;
    stub->async()->GetJob(&context, &request, &reply, [&](grpc::Status status) {
      EXPECT_FALSE(status.ok());
      done.Notify();
    });
    done.WaitForNotification();
  }
  EXPECT_EQ(ThreadsNamed("nexting_thread"), threads);
  KeepCallbackThreads();
  EXPECT_EQ(ThreadsNamed("nexting_thread"), threads);
}

}  // namespace
}  // namespace millrace::rpc
