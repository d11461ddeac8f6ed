// Jobs with more tasks and outputs than one message has room for, on a real
// master; their worker is played by the test, which makes no files.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/credentials.h"
#include "rpc/limits.h"
#include "rpc/parts.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

using ::testing::SizeIs;

// A worker of one name that says what the test wants; its heart beats.
class PlayedWorker {
 public:
  explicit PlayedWorker(const std::string& master) {
    auto channel = rpc::Dial(rpc::LoopbackCredentials(), master);
    EXPECT_TRUE(channel.ok()) << channel.status();
    blobs_ = proto::BlobService::NewStub(*channel);
    stub_ = proto::WorkerService::NewStub(*channel);
    stream_ = stub_->Connect(&context_);
    heart_ = std::thread([this] { Beat(); });
  }
  ~PlayedWorker() {
    {
      absl::MutexLock lock(&mu_);
      over_ = true;
    }
    heart_.join();
    context_.TryCancel();
    proto::MasterMessage rest;
    while (stream_->Read(&rest)) {
    }
    stream_->Finish();
  }

  proto::Hello Hello() const {
    proto::Hello hello;
    hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
    hello.set_name("played");
    hello.set_incarnation(std::string(16, 'i'));
    hello.set_address("127.0.0.1:1");
    hello.set_slots(1000);
    return hello;
  }
  void Say(const proto::WorkerMessage& message) {
    absl::MutexLock lock(&mu_);
    said_hello_ = true;
    EXPECT_TRUE(stream_->Write(message));
  }
  void SayHello(const proto::Hello& hello) {
    proto::WorkerMessage message;
    *message.mutable_hello() = hello;
    Say(message);
  }
  void SayDone(const proto::Grant& grant, const proto::AttemptOutcome& result) {
    proto::WorkerMessage message;
    proto::AttemptOutcome* outcome = message.mutable_update()->add_outcomes();
    *outcome = result;
    *outcome->mutable_attempt() = grant.attempt();
    outcome->set_epoch(grant.epoch());
    Say(message);
  }
  // Puts a blob, as a worker does before it names one; its hash.
  std::string Put(const std::string& bytes) {
    proto::BlobChunk chunk;
    chunk.set_sha256(Sha256Of(bytes));
    chunk.set_size(bytes.size());
    chunk.set_data(bytes);
    grpc::ClientContext context;
    proto::PutBlobReply reply;
    const auto writer = blobs_->Put(&context, &reply);
    writer->Write(chunk);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return chunk.sha256();
  }
  // The next message; fails the test when the stream ends.
  proto::MasterMessage Hear() {
    proto::MasterMessage message;
    if (!stream_->Read(&message)) {
      ADD_FAILURE() << "the stream ended: "
                    << stream_->Finish().error_message();
    }
    return message;
  }

 private:
  void Beat() {
    proto::WorkerMessage beat;
    beat.mutable_update();
    absl::MutexLock lock(&mu_);
    while (!over_) {
      if (said_hello_) stream_->Write(beat);
      mu_.AwaitWithTimeout(absl::Condition(&over_), absl::Milliseconds(500));
    }
  }

  grpc::ClientContext context_;
  std::unique_ptr<proto::BlobService::Stub> blobs_;
  std::unique_ptr<proto::WorkerService::Stub> stub_;
  // Written to under mu_; read by the test's thread.
  std::unique_ptr<
      grpc::ClientReaderWriter<proto::WorkerMessage, proto::MasterMessage>>
      stream_;
  absl::Mutex mu_;
  bool said_hello_ ABSL_GUARDED_BY(mu_) = false;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  std::thread heart_;
};

using LargeJobTest = BehaviourTest;

TEST_F(LargeJobTest, MapOnlyJobOfManyMapsIsCheckedAndPublished) {
  StartCluster({.workers = 0});
  const std::string job = SubmitDetached("plain");
  constexpr uint32_t kMaps = 60'000;
  PlayedWorker worker(cluster_->master().address());
  worker.SayHello(worker.Hello());
  uint32_t maps = 0;
  std::vector<size_t> winners;  // Named before the check, the publication.
  size_t named = 0;
  bool dropped = false;
  while (!dropped && !HasFailure()) {
    const proto::MasterMessage message = worker.Hear();
    if (message.has_winners()) {
      EXPECT_EQ(message.winners().winner_uids().size(),
                16u * static_cast<size_t>(message.winners().bytes_size()));
      named += static_cast<size_t>(message.winners().bytes_size());
    }
    if (message.has_drop_job()) {
      proto::WorkerMessage gone;
      gone.mutable_update()->add_dropped_jobs(message.drop_job().job_id());
      worker.Say(gone);
      dropped = true;
    }
    if (!message.has_grant()) continue;
    const proto::Grant& grant = message.grant();
    proto::AttemptOutcome outcome;
    proto::TaskDone* done = outcome.mutable_done();
    switch (grant.task_case()) {
      case proto::Grant::kPlan:
        done->set_num_maps(kMaps);
        outcome.set_plan_sha256(worker.Put("plan"));
        break;
      case proto::Grant::kMap:
        ++maps;
        done->mutable_output()->set_path(
            Cat(data_ / "out", ".millrace-x/att/", maps, "/part"));
        done->mutable_output()->set_bytes(uint64_t{1} << 40);
        done->mutable_output()->set_inode(uint64_t{1} << 60);
        done->mutable_output()->set_xxh3(~uint64_t{0});
        break;
      case proto::Grant::kCheck: {
        EXPECT_EQ(grant.check().num_winners(), named);
        winners.push_back(std::exchange(named, 0));
        outcome.set_manifest_sha256(worker.Put("manifest"));
        // The job has not ended: all its tasks are described.
        const ProgramResult result =
            cluster_->Cli({"describe", job, "-o", "json"});
        EXPECT_EQ(result.exit_code, 0) << result.err;
        EXPECT_THAT(nlohmann::json::parse(result.out).at("tasks"),
                    SizeIs(kMaps));
        break;
      }
      default:
        EXPECT_EQ(grant.publish().num_winners(), named);
        winners.push_back(std::exchange(named, 0));
    }
    worker.SayDone(grant, outcome);
  }
  EXPECT_EQ(maps, kMaps);
  EXPECT_THAT(winners, ::testing::ElementsAre(kMaps, kMaps));
  EXPECT_EQ(StatusText(job, "state"), "SUCCEEDED");
}

TEST_F(LargeJobTest, WorkerWithManyOutputsSaysHello) {
  StartCluster({.workers = 0});
  const std::string job = SubmitDetached("plain");
  constexpr uint32_t kOutputs = 100'000;
  PlayedWorker worker(cluster_->master().address());
  rpc::Parts<proto::Hello> parts;
  parts.first() = worker.Hello();
  const std::unique_ptr<Random> random = Random::Seeded(1);
  std::set<std::string> held;
  while (held.size() < kOutputs) {
    proto::HeldOutput output;
    output.set_job_id(std::string(JobId::FromHex(job)->bytes()));
    output.set_map_index(static_cast<uint32_t>(held.size()));
    output.set_attempt_uid(std::string(AttemptUid::Generate(*random).bytes()));
    output.set_root(std::string(16, 'r'));
    held.insert(output.attempt_uid());
    *parts.For(output).add_held() = output;
  }
  ASSERT_GT(parts.bytes(), rpc::kMessageBytesMax);
  std::vector<proto::Hello> hello = parts.Take();
  for (proto::Hello& part : hello) {
    part.set_more(&part != &hello.back());
    worker.SayHello(part);
  }
  EXPECT_TRUE(worker.Hear().has_welcome());
  // None of them is of any use.
  while (!held.empty() && !HasFailure()) {
    const proto::MasterMessage message = worker.Hear();
    if (!message.has_drop_attempt()) continue;
    EXPECT_EQ(held.erase(message.drop_attempt().attempt_uid()), 1u);
  }
}

}  // namespace
}  // namespace millrace
