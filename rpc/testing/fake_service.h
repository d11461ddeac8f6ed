// A ClientService whose GetJob is whatever the test says, and what tests of
// calls share. Includes gRPC: for tests alone.
#ifndef MILLRACE_RPC_TESTING_FAKE_SERVICE_H_
#define MILLRACE_RPC_TESTING_FAKE_SERVICE_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/stop_signal.h"

namespace millrace::rpc {

class FakeService final : public proto::ClientService::Service {
 public:
  using Handler = std::function<grpc::Status(
      grpc::ServerContext&, const proto::GetJobRequest&, proto::GetJobReply&)>;
  explicit FakeService(Handler handler) : handler_(std::move(handler)) {}

  grpc::Status GetJob(grpc::ServerContext* context,
                      const proto::GetJobRequest* request,
                      proto::GetJobReply* reply) override {
    return handler_(*context, *request, *reply);
  }

 private:
  const Handler handler_;
};

// Waits take no time, but the clock goes on as if they had.
class FakeWaits final : public StopSignal {
 public:
  explicit FakeWaits(ManualClock& clock) : clock_(clock) {}
  bool WaitFor(absl::Duration duration) override {
    if (stopped()) return true;
    if (duration > absl::ZeroDuration()) waits.push_back(duration);
    clock_.Advance(duration);
    return false;
  }

  std::vector<absl::Duration> waits;

 private:
  ManualClock& clock_;
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_TESTING_FAKE_SERVICE_H_
