// Messages longer than the limit, sent past the clients of this tree: refused
// before memory is taken for them, and no daemon is hurt.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <string>

#include "proto/services/cluster.grpc.pb.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/limits.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

class OversizedTest : public Refusals {
 protected:
  // Sends whatever it is given.
  static std::shared_ptr<grpc::Channel> Channel(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(-1);
    return grpc::CreateCustomChannel(
        address, grpc::InsecureChannelCredentials(), arguments);
  }
  const std::string large_ = std::string(rpc::kMessageBytesMax + 1, 'x');
};

TEST_F(OversizedTest, AreRefusedByMasterAndWorker) {
  StartCluster({.workers = 1});
  const auto master = Channel(cluster_->master().address());
  {
    grpc::ClientContext context;
    proto::SubmitRequest request;
    proto::SubmitReply reply;
    request.mutable_spec()->add_arguments(large_);
    const grpc::Status status = proto::ClientService::NewStub(master)->Submit(
        &context, request, &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
        << status.error_message();
  }
  {
    grpc::ClientContext context;
    const auto stub = proto::WorkerService::NewStub(master);
    const auto stream = stub->Connect(&context);
    proto::WorkerMessage message;
    message.mutable_hello()->set_spool_dir(large_);
    stream->Write(message);
    proto::MasterMessage answer;
    EXPECT_FALSE(stream->Read(&answer));
    stream->Finish();
  }
  {
    grpc::ClientContext context;
    const auto stub = proto::BlobService::NewStub(master);
    proto::PutBlobReply reply;
    const auto writer = stub->Put(&context, &reply);
    proto::BlobChunk chunk;
    chunk.set_sha256(std::string(32, 's'));
    chunk.set_size(large_.size());
    chunk.set_data(large_);
    writer->Write(chunk);
    writer->WritesDone();
    EXPECT_FALSE(writer->Finish().ok());
  }
  {
    grpc::ClientContext context;
    const auto stub =
        proto::ShuffleService::NewStub(Channel(cluster_->worker(0).address()));
    proto::FetchRequest request;
    request.set_job_id(large_);
    const auto reader = stub->Fetch(&context, request);
    proto::FetchSlice slice;
    EXPECT_FALSE(reader->Read(&slice));
    EXPECT_FALSE(reader->Finish().ok());
  }
  ExpectClusterWorks();
}

}  // namespace
}  // namespace millrace
