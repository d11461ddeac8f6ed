// Clients that put the same blob at the same time.
#include "master/service/blob_service.h"

#include <grpc/support/time.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/sha256.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/put_metadata.h"
#include "rpc/server.h"
#include "tests/testing/temp_dir.h"

namespace millrace::master {
namespace {

class BlobServiceTest : public testing::Test {
 protected:
  explicit BlobServiceTest(absl::Duration patience = absl::Milliseconds(50)) {
    BlobGroup group{[this](BlobGroup::Done done) { done(leading_); },
                    [this](const std::string& sha256, BlobGroup::Done done) {
                      EXPECT_TRUE(store_->Has(sha256));
                      done(held_);
                    }};
    service_ = MakeBlobService(*store_, pool_, Clock::Real(), std::move(group),
                               patience);
    server_ = *rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0",
                                  {service_.get()});
    stub_ = proto::BlobService::NewStub(
        *rpc::Dial(rpc::LoopbackCredentials(), server_->address().ToString()));
  }

  // A client that puts kBlob, as far as the test lets it.
  struct Client {
    explicit Client(proto::BlobService::Stub& stub) {
      context.set_deadline(
          gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                       gpr_time_from_seconds(30, GPR_TIMESPAN)));
      writer = stub.Put(&context, &reply);
    }
    bool Announce() {
      proto::BlobChunk chunk;
      chunk.set_sha256(Sha256Of(kBlob));
      chunk.set_size(kBlob.size());
      return writer->Write(chunk);
    }
    bool SendAll() {
      proto::BlobChunk chunk;
      chunk.set_data(kBlob);
      return writer->Write(chunk) && writer->WritesDone();
    }
    // Waits for the initial metadata; whether they ask for the bytes.
    bool IsAskedForThem() {
      writer->WaitForInitialMetadata();
      return context.GetServerInitialMetadata().count(rpc::kWantedMetadata) > 0;
    }
    std::future<grpc::Status> Finish() {
      return std::async(std::launch::async,
                        [this] { return writer->Finish(); });
    }

    grpc::ClientContext context;
    proto::PutBlobReply reply;
    std::unique_ptr<grpc::ClientWriter<proto::BlobChunk>> writer;
  };

  // Uploads that have begun and are not over.
  size_t Uploads() const {
    size_t count = 0;
    for (const std::string& name : dir_.Names("blobs")) {
      count += name.rfind("tmp-", 0) == 0;
    }
    return count;
  }
  void AwaitUpload() const {
    while (Uploads() == 0) std::this_thread::yield();
  }

  inline static const std::string kBlob = std::string(300'000, 'b');

  // What the group answers; not changed while a call is under way.
  absl::Status leading_, held_;

  TempDir dir_;
  std::unique_ptr<Random> random_ = Random::Seeded(1);
  std::unique_ptr<BlobStore> store_ = *BlobStore::Open(
      {dir_ / "blobs", 1 << 20, 0}, FileSystem::Posix(), *random_);
  ThreadPool pool_{2};
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<proto::BlobService::Stub> stub_;
};

// With a patience that no busy machine uses up.
class PatientBlobServiceTest : public BlobServiceTest {
 protected:
  PatientBlobServiceTest() : BlobServiceTest(absl::Minutes(1)) {}
};

TEST_F(PatientBlobServiceTest, OneOfManySendsTheBytes) {
  Client sender(*stub_);
  ASSERT_TRUE(sender.Announce());
  AwaitUpload();
  std::vector<std::unique_ptr<Client>> others;
  std::vector<std::future<grpc::Status>> ends;
  for (int i = 0; i < 8; ++i) {
    others.push_back(std::make_unique<Client>(*stub_));
    ASSERT_TRUE(others.back()->Announce());
    ends.push_back(others.back()->Finish());
  }
  ASSERT_TRUE(sender.SendAll());
  EXPECT_TRUE(sender.writer->Finish().ok());
  EXPECT_FALSE(sender.reply.existed());
  for (int i = 0; i < 8; ++i) {
    const grpc::Status end = ends[i].get();
    EXPECT_TRUE(end.ok()) << end.error_message();
    EXPECT_TRUE(others[i]->reply.existed());
  }
  EXPECT_EQ(*store_->Read(Sha256Of(kBlob), kBlob.size()), kBlob);
  EXPECT_EQ(dir_.Names("blobs").size(), 1u);
}

TEST_F(PatientBlobServiceTest, WhoAnnouncesABlobHearsWhenItsBytesAreWanted) {
  Client sender(*stub_);
  ASSERT_TRUE(sender.Announce());
  EXPECT_TRUE(sender.IsAskedForThem());
  EXPECT_EQ(Uploads(), 1u);
  Client other(*stub_);
  ASSERT_TRUE(other.Announce());
  std::atomic<bool> sent = false;
  std::thread waiter([&] {
    EXPECT_FALSE(other.IsAskedForThem());
    EXPECT_TRUE(sent);
  });
  // As long as it takes to put something else, nothing is said to it.
  const std::string else_bytes = "something else";
  Client meanwhile(*stub_);
  proto::BlobChunk chunk;
  chunk.set_sha256(Sha256Of(else_bytes));
  chunk.set_size(else_bytes.size());
  chunk.set_data(else_bytes);
  ASSERT_TRUE(meanwhile.writer->Write(chunk) && meanwhile.writer->WritesDone());
  EXPECT_TRUE(meanwhile.writer->Finish().ok());
  sent = true;
  ASSERT_TRUE(sender.SendAll());
  EXPECT_TRUE(sender.writer->Finish().ok());
  waiter.join();
  const grpc::Status end = other.writer->Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_TRUE(other.reply.existed());
}

TEST_F(PatientBlobServiceTest, AnotherOneSendsWhenTheSenderGivesUp) {
  Client sender(*stub_);
  ASSERT_TRUE(sender.Announce());
  AwaitUpload();
  Client other(*stub_);
  ASSERT_TRUE(other.Announce());
  ASSERT_TRUE(other.SendAll());
  sender.context.TryCancel();
  EXPECT_FALSE(sender.writer->Finish().ok());
  EXPECT_TRUE(other.IsAskedForThem());
  const grpc::Status end = other.writer->Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_FALSE(other.reply.existed());
  EXPECT_TRUE(store_->Has(Sha256Of(kBlob)));
}

TEST_F(BlobServiceTest, ASenderThatStandsStillIsNotWaitedFor) {
  Client still(*stub_);
  ASSERT_TRUE(still.Announce());
  AwaitUpload();
  Client other(*stub_);
  ASSERT_TRUE(other.Announce());
  ASSERT_TRUE(other.SendAll());
  const grpc::Status end = other.writer->Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_FALSE(other.reply.existed());
  // It goes on, and hears that there is no need to.
  still.SendAll();
  const grpc::Status late = still.writer->Finish();
  EXPECT_TRUE(late.ok()) << late.error_message();
  EXPECT_EQ(dir_.Names("blobs").size(), 1u);
}

TEST_F(PatientBlobServiceTest, WhoHangsUpWhileItWaitsDisturbsNobody) {
  Client sender(*stub_);
  ASSERT_TRUE(sender.Announce());
  AwaitUpload();
  {
    Client leaver(*stub_);
    ASSERT_TRUE(leaver.Announce());
    leaver.context.TryCancel();
    EXPECT_FALSE(leaver.writer->Finish().ok());
  }
  ASSERT_TRUE(sender.SendAll());
  EXPECT_TRUE(sender.writer->Finish().ok());
  EXPECT_FALSE(sender.reply.existed());
}

TEST_F(BlobServiceTest, WhatIsThereIsNotRead) {
  Client sender(*stub_);
  ASSERT_TRUE(sender.Announce());
  ASSERT_TRUE(sender.SendAll());
  ASSERT_TRUE(sender.writer->Finish().ok());
  Client other(*stub_);
  ASSERT_TRUE(other.Announce());
  EXPECT_FALSE(other.IsAskedForThem());
  const grpc::Status end = other.writer->Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_TRUE(other.reply.existed());
}

TEST_F(BlobServiceTest, PutsWithoutSense) {
  {
    Client nothing(*stub_);
    nothing.writer->WritesDone();
    EXPECT_EQ(nothing.writer->Finish().error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  proto::BlobChunk chunk;
  chunk.set_sha256("short");
  chunk.set_size(3);
  Client nameless(*stub_);
  nameless.writer->Write(chunk);
  EXPECT_EQ(nameless.writer->Finish().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  chunk.set_sha256(Sha256Of(kBlob));
  chunk.set_data("abc");
  Client other_bytes(*stub_);
  other_bytes.writer->Write(chunk);
  other_bytes.writer->WritesDone();
  EXPECT_EQ(other_bytes.writer->Finish().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(dir_.Names("blobs").empty());
}

TEST_F(BlobServiceTest, ALeaderAloneTakesBlobs) {
  leading_ = absl::UnavailableError("it does not lead");
  Client client(*stub_);
  client.SendAll();
  const grpc::Status end = client.writer->Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(dir_.Names("blobs").size(), 0u);
}

TEST_F(BlobServiceTest, WhatTheGroupMayNotHoldIsToBePutAgain) {
  held_ = absl::AbortedError("it leads no longer");
  Client client(*stub_);
  ASSERT_TRUE(client.Announce());
  ASSERT_TRUE(client.SendAll());
  const grpc::Status end = client.writer->Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE)
      << end.error_message();
}

}  // namespace
}  // namespace millrace::master
