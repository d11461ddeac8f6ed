#include "worker/shuffle/grpc_transport.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <string>
#include <utility>

#include "proto/services/worker.grpc.pb.h"
#include "rpc/channel_cache.h"
#include "rpc/status.h"

namespace millrace::worker {
namespace {

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
  GrpcTransport(const rpc::Credentials& credentials, Clock& clock)
      : channels_(credentials, clock, kChannelsMax) {}

  std::unique_ptr<FetchStream> Open(
      const std::string& address, const proto::FetchRequest& request) override {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel =
        channels_.To(address);
    if (!channel.ok()) return std::make_unique<FailedStream>(channel.status());
    return std::make_unique<GrpcStream>(*std::move(channel), request);
  }

 private:
  rpc::ChannelCache channels_;  // Held by the streams under way, too.
};

}  // namespace

std::unique_ptr<FetchTransport> MakeGrpcTransport(
    const rpc::Credentials& credentials, Clock& clock) {
  return std::make_unique<GrpcTransport>(credentials, clock);
}

}  // namespace millrace::worker
