#include "worker/rpc/grpc_master_link.h"

#include <grpc/support/time.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/leader_finder.h"
#include "rpc/limits.h"
#include "rpc/not_leader.h"
#include "rpc/status.h"
#include "rpc/stop_signal.h"

namespace millrace::worker {
namespace {

using Stream =
    grpc::ClientReaderWriter<proto::WorkerMessage, proto::MasterMessage>;

// How often a wait for a connection looks whether it should end.
constexpr int kConnectPollMs = 50;

class GrpcMasterLink final : public MasterLink {
 public:
  GrpcMasterLink(const rpc::Credentials& credentials,
                 std::vector<std::string> masters,
                 std::unique_ptr<Random> random,
                 const MasterLinkOptions& options)
      : credentials_(credentials),
        options_(options),
        finder_(std::move(masters), options.backoff, std::move(random)) {}

  ~GrpcMasterLink() override {
    stop_.Stop();
    if (thread_.joinable()) thread_.join();
  }

  void Start(Observer& observer) override {
    CHECK(!thread_.joinable());
    thread_ = std::thread([this, &observer] { Loop(observer); });
  }

  void Send(StreamId stream, proto::WorkerMessage message) override {
    const size_t bytes = message.ByteSizeLong();
    const absl::MutexLock lock(&mu_);
    if (stream != open_ || ending_) return;
    if (bytes > rpc::kMessageBytesMax) {
      const absl::Status why = absl::InvalidArgumentError(
          Av(Cat("a message to the master has ", HumanBytes(bytes), "; ",
                 HumanBytes(rpc::kMessageBytesMax), " is the limit")));
      LOG(ERROR) << why.message();
      EndLocked(why);
      return;
    }
    if (queue_.size() >= options_.queue_messages_max ||
        queue_bytes_ + bytes > options_.queue_bytes_max) {
      EndLocked(absl::ResourceExhaustedError(
          "the leader does not take what is sent to it"));
      return;
    }
    queue_bytes_ += bytes;
    queue_.push_back(std::move(message));
  }

  void Close(StreamId stream) override {
    const absl::MutexLock lock(&mu_);
    if (stream == open_) EndLocked(absl::CancelledError("closed here"));
  }

 private:
  void Loop(Observer& observer);
  // Returns the address of the leader, if the one at `address` named it.
  std::string RunStream(const std::string& address, Observer& observer);
  // Null: not connected.
  std::shared_ptr<grpc::Channel> Connect(const std::string& address);
  // Reads until the stream ends. Returns what Refused says of the leader.
  std::string ReadAll(const std::string& address, StreamId id, Stream& stream,
                      Observer& observer);
  void WriteAll(Stream& stream);
  void Learn(const google::protobuf::RepeatedPtrField<std::string>& masters);

  void EndLocked(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (ending_) return;
    ending_ = true;
    why_ = why;
    context_->TryCancel();
  }
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return ending_ || !queue_.empty();
  }

  const rpc::Credentials& credentials_;
  const MasterLinkOptions options_;
  rpc::StopSignal stop_;
  rpc::LeaderFinder finder_;
  std::thread thread_;
  StreamId last_ = 0;  // Confined to thread_.

  absl::Mutex mu_;
  StreamId open_ ABSL_GUARDED_BY(mu_) = 0;  // 0: none.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> why_ ABSL_GUARDED_BY(mu_);  // If we end it.
  std::deque<proto::WorkerMessage> queue_ ABSL_GUARDED_BY(mu_);
  size_t queue_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

void GrpcMasterLink::Loop(Observer& observer) {
  while (!stop_.stopped()) {
    const std::string address = finder_.Current();
    const std::string hint = RunStream(address, observer);
    if (stop_.WaitFor(finder_.Failed(address, hint))) return;
  }
}

std::shared_ptr<grpc::Channel> GrpcMasterLink::Connect(
    const std::string& address) {
  // A channel of its own for each stream: an old one might be in the middle of
  // a pause, and ours is the only pause that there should be.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel =
      rpc::Dial(credentials_, address);
  if (!channel.ok()) {
    LOG(WARNING) << "master " << address << ": " << channel.status().message();
    return nullptr;
  }
  int polls =
      static_cast<int>(absl::ToInt64Milliseconds(options_.connect_timeout)) /
          kConnectPollMs +
      1;
  grpc_connectivity_state state = (*channel)->GetState(true);
  while (state != GRPC_CHANNEL_READY) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || stop_.stopped() ||
        polls == 0) {
      VLOG(1) << "master " << address << " is not reached";
      return nullptr;
    }
    if (!(*channel)->WaitForStateChange(
            state,
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                         gpr_time_from_millis(kConnectPollMs, GPR_TIMESPAN)))) {
      --polls;
    }
    state = (*channel)->GetState(true);
  }
  return *std::move(channel);
}

std::string GrpcMasterLink::RunStream(const std::string& address,
                                      Observer& observer) {
  const std::shared_ptr<grpc::Channel> channel = Connect(address);
  if (channel == nullptr) return "";
  const auto stub = proto::WorkerService::NewStub(channel);
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = stub->Connect(&context);
  const StreamId id = ++last_;
  {
    const absl::MutexLock lock(&mu_);
    open_ = id;
    context_ = &context;
    ending_ = false;
    why_.reset();
    queue_.clear();
    queue_bytes_ = 0;
  }
  std::string hint;
  absl::Status status;
  {
    const rpc::StopSignal::Guard guard(stop_, [this] {
      const absl::MutexLock lock(&mu_);
      EndLocked(absl::CancelledError("shutting down"));
    });
    std::thread writer([this, &stream] { WriteAll(*stream); });
    observer.OnOpened(id);
    hint = ReadAll(address, id, *stream, observer);
    {
      const absl::MutexLock lock(&mu_);
      ending_ = true;  // For the writer; the stream has ended already.
    }
    writer.join();
    status = rpc::FromGrpc(stream->Finish());
  }
  {
    const absl::MutexLock lock(&mu_);
    open_ = 0;
    context_ = nullptr;
    if (why_.has_value()) status = *why_;
  }
  if (const auto not_leader = rpc::AsNotLeader(status)) {
    hint = not_leader->leader_address;
  }
  if (status.ok()) status = absl::UnavailableError("the master ended it");
  VLOG(1) << "stream to master " << address << " ended: " << status;
  observer.OnClosed(id, status);
  return hint;
}

std::string GrpcMasterLink::ReadAll(const std::string& address, StreamId id,
                                    Stream& stream, Observer& observer) {
  proto::MasterMessage message;
  while (stream.Read(&message)) {
    std::string hint;
    const bool refused = message.has_refused();
    if (refused && message.refused().reason() == proto::NOT_LEADER) {
      hint = message.refused().leader_address();
    }
    if (message.has_welcome()) finder_.Leads(address);
    Learn(message.masters());
    observer.OnMessage(id, std::move(message));
    message.Clear();
    if (!refused) continue;
    {
      const absl::MutexLock lock(&mu_);
      EndLocked(absl::FailedPreconditionError("refused"));
    }
    while (stream.Read(&message)) {
    }
    return hint;
  }
  return "";
}

void GrpcMasterLink::Learn(
    const google::protobuf::RepeatedPtrField<std::string>& masters) {
  const std::vector<std::string> all(masters.begin(), masters.end());
  if (all.empty()) return;
  finder_.Learn(all);
  if (options_.on_masters != nullptr) options_.on_masters(all);
}

void GrpcMasterLink::WriteAll(Stream& stream) {
  for (;;) {
    proto::WorkerMessage message;
    {
      const absl::MutexLock lock(
          &mu_, absl::Condition(this, &GrpcMasterLink::HasWork));
      if (ending_) return;
      message = std::move(queue_.front());
      queue_.pop_front();
      queue_bytes_ -= message.ByteSizeLong();
    }
    // The reader hears of it, and ends the stream.
    if (!stream.Write(message)) return;
  }
}

}  // namespace

std::unique_ptr<MasterLink> MakeMasterLink(const rpc::Credentials& credentials,
                                           std::vector<std::string> masters,
                                           std::unique_ptr<Random> random,
                                           const MasterLinkOptions& options) {
  return std::make_unique<GrpcMasterLink>(credentials, std::move(masters),
                                          std::move(random), options);
}

}  // namespace millrace::worker
