// Calls to whichever master leads.
//
//   proto::GetJobReply reply;
//   absl::Status status = masters.Call(
//       "status of job 1f", {}, [&](LeaderChannel::Attempt& attempt) {
//         return proto::ClientService::NewStub(attempt.channel)
//             ->GetJob(&attempt.context, request, &reply);
//       });
//
// A stream works the same way: read it to its end inside the function, call
// attempt.Progress() for each message, and be ready to begin anew.
#ifndef MILLRACE_RPC_LEADER_CHANNEL_H_
#define MILLRACE_RPC_LEADER_CHANNEL_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/random.h"
#include "rpc/call.h"
#include "rpc/channel_cache.h"
#include "rpc/credentials.h"
#include "rpc/leader_finder.h"
#include "rpc/stop_signal.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace millrace::rpc {

// In the initial metadata of a watch: the addresses of all masters, with commas
// between them. A client that waits for long hears of changes so.
inline constexpr char kMastersMetadata[] = "millrace-masters";

// Thread-safe.
class LeaderChannel {
 public:
  // Credentials, clock and signal are borrowed. Connects to nobody yet.
  // REQUIRES: masters is not empty.
  LeaderChannel(const Credentials& credentials,
                std::vector<std::string> masters, Clock& clock,
                std::unique_ptr<Random> random, StopSignal& stop);

  class Attempt {
   public:
    grpc::ClientContext& context;
    const std::shared_ptr<grpc::Channel>& channel;
    const std::string& address;
    // The leader is there and answers: total_timeout starts again. For streams.
    void Progress();

   private:
    friend class LeaderChannel;
    Attempt(grpc::ClientContext& c, const std::shared_ptr<grpc::Channel>& ch,
            const std::string& a, std::function<void()> p)
        : context(c), channel(ch), address(a), progress_(std::move(p)) {}
    std::function<void()> progress_;
  };
  using Once = std::function<grpc::Status(Attempt&)>;

  // Blocks. Like Caller::Call; moreover follows NotLeader, and goes to another
  // master where one is not reached. kUnavailable, when time is up, names the
  // masters and what the last one said.
  absl::Status Call(std::string_view what, const CallOptions& options,
                    const Once& once);

  // To one master, leader or not: for asking each of them about itself.
  absl::Status CallOne(std::string_view what, const std::string& address,
                       const CallOptions& options, const Once& once);

  LeaderFinder& finder() { return finder_; }

 private:
  Clock& clock_;
  StopSignal& stop_;
  Caller caller_;
  LeaderFinder finder_;
  ChannelCache channels_;
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_LEADER_CHANNEL_H_
