#include "worker/rpc/grpc_blob_client.h"

#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/not_leader.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::worker {
namespace {

// A master's blobs, with faults.
class BlobMaster final : public proto::BlobService::Service {
 public:
  explicit BlobMaster(const std::string& listen = "127.0.0.1:0")
      : server_(
            *rpc::Server::Start(rpc::LoopbackCredentials(), listen, {this})) {}

  grpc::Status Get(grpc::ServerContext* context,
                   const proto::GetBlobRequest* request,
                   grpc::ServerWriter<proto::BlobChunk>* writer) override {
    ++gets;
    offsets.push_back(request->offset());
    if (!refusal.ok()) return rpc::ToGrpc(refusal);
    const auto it = blobs.find(request->sha256());
    if (it == blobs.end()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such blob");
    }
    std::string bytes = it->second;
    if (damaged-- > 0) bytes[bytes.size() / 2] ^= 1;
    proto::BlobChunk chunk;
    chunk.set_sha256(request->sha256());
    chunk.set_size(bytes.size() + lie);
    uint64_t offset = request->offset();
    const uint64_t end = std::min<uint64_t>(bytes.size(), offset + cut_after);
    do {
      const uint64_t n = std::min<uint64_t>(1000, end - offset);
      chunk.set_data(bytes.substr(offset, n));
      if (!writer->Write(chunk)) break;
      chunk.clear_sha256();
      chunk.clear_size();
      offset += n;
    } while (offset < end);
    while (hang && !context->IsCancelled()) std::this_thread::yield();
    if (end < bytes.size()) {
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut");
    }
    return grpc::Status::OK;
  }

  grpc::Status Put(grpc::ServerContext*,
                   grpc::ServerReader<proto::BlobChunk>* reader,
                   proto::PutBlobReply*) override {
    ++puts;
    if (!refusal.ok()) return rpc::ToGrpc(refusal);
    if (puts <= failing_puts) {
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "not now");
    }
    proto::BlobChunk chunk;
    std::string sha256, bytes;
    uint64_t size = 0;
    for (bool first = true; reader->Read(&chunk); first = false) {
      EXPECT_LE(chunk.data().size(), 1 << 20);
      EXPECT_EQ(chunk.sha256().empty(), !first);
      if (first) {
        sha256 = chunk.sha256();
        size = chunk.size();
      }
      bytes += chunk.data();
    }
    if (bytes.size() != size || Sha256Of(bytes) != sha256) {
      return grpc::Status(grpc::StatusCode::DATA_LOSS, "not that blob");
    }
    blobs[sha256] = bytes;
    return grpc::Status::OK;
  }

  grpc::Status Find(grpc::ServerContext*,
                    const proto::FindBlobsRequest* request,
                    proto::FindBlobsReply* reply) override {
    if (!refusal.ok()) return rpc::ToGrpc(refusal);
    for (const std::string& sha256 : request->sha256()) {
      if (!blobs.contains(sha256)) reply->add_missing(sha256);
    }
    return grpc::Status::OK;
  }

  std::string address() const { return server_->address().ToString(); }

  std::map<std::string, std::string> blobs;
  absl::Status refusal;
  uint64_t cut_after = ~uint64_t{0} >> 1;
  int damaged = 0;
  int failing_puts = 0;
  uint64_t lie = 0;
  std::atomic<bool> hang{false};
  std::atomic<int> gets{0};
  int puts = 0;
  std::vector<uint64_t> offsets;

 private:
  const std::unique_ptr<rpc::Server> server_;
};

class BlobClientTest : public testing::Test {
 protected:
  BlobClientTest() {
    for (int i = 0; i < 100'000; ++i) blob_ += Cat(i, ",");
    sha256_ = Sha256Of(blob_);
    options_.total_timeout = absl::Milliseconds(500);
  }

  std::unique_ptr<BlobClient> Client(FileSystem& fs) {
    return MakeBlobClient(rpc::LoopbackCredentials(),
                          {a_.address(), b_.address()}, Clock::Real(), fs,
                          Random::Seeded(1), options_);
  }
  absl::Status Get() { return Client(fs_)->Get(sha256_, "/got"); }

  std::string blob_;
  std::string sha256_;
  BlobMaster a_, b_;
  MemoryFileSystem fs_;
  BlobClientOptions options_;
};

TEST_F(BlobClientTest, GetsFromWhoeverHasIt) {
  b_.blobs[sha256_] = blob_;
  ASSERT_TRUE(Get().ok());
  EXPECT_EQ(fs_.Contents("/got"), blob_);
  EXPECT_EQ(a_.gets, 1);
}

TEST_F(BlobClientTest, AnEmptyBlobIsABlob) {
  sha256_ = Sha256Of("");
  a_.blobs[sha256_] = "";
  ASSERT_TRUE(Get().ok());
  EXPECT_EQ(fs_.Contents("/got"), "");
}

TEST_F(BlobClientTest, WhatNobodyHasIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Get()));
}

TEST_F(BlobClientTest, GoesOnWhereATransferBroke) {
  a_.blobs[sha256_] = b_.blobs[sha256_] = blob_;
  a_.cut_after = 50'000;
  b_.cut_after = 70'000;
  ASSERT_TRUE(Get().ok());
  EXPECT_EQ(fs_.Contents("/got"), blob_);
  ASSERT_GT(a_.offsets.size(), 3);
  for (size_t i = 0; i < a_.offsets.size(); ++i) {
    EXPECT_EQ(a_.offsets[i], 50'000 * i);
  }
}

TEST_F(BlobClientTest, AStreamThatHangsIsLeftAfterItsTime) {
  a_.blobs[sha256_] = blob_;
  a_.cut_after = 400'000;
  a_.hang = true;
  options_.stream_timeout = absl::Milliseconds(100);
  ASSERT_TRUE(Get().ok());
  EXPECT_EQ(fs_.Contents("/got"), blob_);
}

TEST_F(BlobClientTest, DamagedBytesAreFetchedAnew) {
  a_.blobs[sha256_] = blob_;
  a_.damaged = 2;
  ASSERT_TRUE(Get().ok());
  EXPECT_EQ(fs_.Contents("/got"), blob_);
}

TEST_F(BlobClientTest, BytesThatStayDamagedAreDataLoss) {
  a_.blobs[sha256_] = b_.blobs[sha256_] = blob_;
  a_.damaged = b_.damaged = 100;
  EXPECT_TRUE(absl::IsDataLoss(Get()));
}

TEST_F(BlobClientTest, WhatAMasterAnnouncesIsHeldAgainstIt) {
  a_.blobs[sha256_] = blob_;
  a_.lie = 5;  // Promises more than it sends.
  EXPECT_TRUE(absl::IsUnavailable(Get()));
  fs_.RemoveFile("/got").IgnoreError();
  a_.lie = ~uint64_t{0};  // Promises less.
  EXPECT_FALSE(Get().ok());
  EXPECT_LE(fs_.Contents("/got").size(), blob_.size());
}

TEST_F(BlobClientTest, AFullDiskIsSaidAtOnce) {
  a_.blobs[sha256_] = blob_;
  fs_.SetCapacity(10'000);
  const absl::Status status = Get();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(a_.gets, 1);
}

TEST_F(BlobClientTest, MastersOutOfReachAreUnavailable) {
  a_.refusal = b_.refusal = absl::UnavailableError("starting");
  const absl::Status status = Get();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_GT(a_.gets, 1);
}

TEST_F(BlobClientTest, PutStoresOnceAtTheLeader) {
  a_.refusal = rpc::NotLeaderError({b_.address(), 1});
  fs_.SetContents("/blob", blob_);
  const auto client = Client(fs_);
  ASSERT_TRUE(client->Put(sha256_, "/blob").ok());
  EXPECT_EQ(b_.blobs[sha256_], blob_);
  ASSERT_TRUE(client->Put(sha256_, "/blob").ok());
  EXPECT_EQ(b_.puts, 1);  // It was there.
}

TEST_F(BlobClientTest, PutIsTriedAgain) {
  options_.total_timeout = absl::Seconds(30);
  b_.refusal = rpc::NotLeaderError({a_.address(), 1});
  a_.failing_puts = 2;
  fs_.SetContents("/blob", blob_ + std::string(3 << 20, 'x'));
  const std::string sha256 = Sha256Of(fs_.Contents("/blob"));
  ASSERT_TRUE(Client(fs_)->Put(sha256, "/blob").ok());
  EXPECT_EQ(a_.puts, 3);
  EXPECT_EQ(a_.blobs[sha256], fs_.Contents("/blob"));
}

TEST_F(BlobClientTest, PutOfAnEmptyFile) {
  fs_.SetContents("/blob", "");
  ASSERT_TRUE(Client(fs_)->Put(Sha256Of(""), "/blob").ok());
  EXPECT_TRUE(a_.blobs.contains(Sha256Of("")));
}

TEST_F(BlobClientTest, PutOfAFileThatIsNotThereFails) {
  EXPECT_TRUE(absl::IsNotFound(Client(fs_)->Put(sha256_, "/none")));
}

TEST_F(BlobClientTest, PutOfAnotherFileThanItsNameSaysIsRefused) {
  fs_.SetContents("/blob", "something else");
  EXPECT_TRUE(absl::IsDataLoss(Client(fs_)->Put(sha256_, "/blob")));
  EXPECT_EQ(a_.puts, 1);
}

TEST_F(BlobClientTest, ShutdownEndsWhatIsUnderWay) {
  a_.blobs[sha256_] = blob_;
  a_.cut_after = 50'000;  // What is complete is complete, stopped or not.
  a_.hang = true;
  const auto client = Client(fs_);
  absl::Status status;
  std::thread getter([&] { status = client->Get(sha256_, "/got"); });
  while (a_.gets == 0) std::this_thread::yield();
  client->Shutdown();
  getter.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::IsCancelled(client->Get(sha256_, "/again")));
}

}  // namespace
}  // namespace millrace::worker
