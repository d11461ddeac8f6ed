#include "worker/shuffle/grpc_transport.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/status_macros.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace millrace::worker {
namespace {

// Connections that are kept; beyond it those that nothing uses are closed.
constexpr size_t kChannelsMax = 256;

class GrpcStream final : public FetchStream {
 public:
  GrpcStream(std::shared_ptr<grpc::Channel> channel,
             const proto::FetchRequest& request)
      : channel_(std::move(channel)),
        stub_(proto::ShuffleService::NewStub(channel_)),
        reader_(stub_->Fetch(&context_, request)) {}

  bool Read(proto::FetchSlice* slice) override { return reader_->Read(slice); }
  absl::Status Finish() override {
    // gRPC wants every message taken before it says how a stream ended.
    proto::FetchSlice rest;
    while (reader_->Read(&rest)) {
    }
    return rpc::FromGrpc(reader_->Finish());
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  const std::shared_ptr<grpc::Channel> channel_;  // Shared with the transport.
  const std::unique_ptr<proto::ShuffleService::Stub> stub_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReader<proto::FetchSlice>> reader_;
};

// For an address that cannot be dialled.
class FailedStream final : public FetchStream {
 public:
  explicit FailedStream(absl::Status status) : status_(std::move(status)) {}
  bool Read(proto::FetchSlice*) override { return false; }
  absl::Status Finish() override { return status_; }
  void Cancel() override {}

 private:
  const absl::Status status_;
};

class GrpcTransport final : public FetchTransport {
 public:
  explicit GrpcTransport(const rpc::Credentials& credentials)
      : credentials_(credentials) {}

  std::unique_ptr<FetchStream> Open(
      const std::string& address, const proto::FetchRequest& request) override {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ChannelTo(address);
    if (!channel.ok()) return std::make_unique<FailedStream>(channel.status());
    return std::make_unique<GrpcStream>(*std::move(channel), request);
  }

 private:
  absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelTo(
      const std::string& address) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    if (const auto it = channels_.find(address); it != channels_.end()) {
      return it->second;
    }
    MR_ASSIGN_OR_RETURN(auto channel, rpc::Dial(credentials_, address));
    if (channels_.size() >= kChannelsMax) {
      std::erase_if(channels_, [](const auto& kept) {
        return kept.second.use_count() == 1;
      });
    }
    channels_.emplace(address, channel);
    return channel;
  }

  const rpc::Credentials& credentials_;
  absl::Mutex mu_;
  // Second owners: the streams under way.
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<FetchTransport> MakeGrpcTransport(
    const rpc::Credentials& credentials) {
  return std::make_unique<GrpcTransport>(credentials);
}

}  // namespace millrace::worker
