#include "master/service/master_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "master/blobs/blob_store.h"
#include "master/group/blob_fetcher.h"
#include "master/group/blob_holders.h"
#include "master/group/peers.h"
#include "master/service/grpc_worker_streams.h"
#include "proto/services/cluster.grpc.pb.h"
#include "raft/replicated_log.h"
#include "rpc/channel.h"
#include "rpc/credentials.h"
#include "rpc/server.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(60);

// A log without a disk, of a group of one unless the test says otherwise. Takes
// `bytes_max` at a time; what is proposed is committed, and who asks whether it
// leads is answered, when the test says so, or at once.
class MemoryLog final : public raft::ReplicatedLog {
 public:
  MemoryLog(MasterLoop& loop, size_t bytes_max)
      : loop_(loop), bytes_max_(bytes_max) {}

  absl::Status Propose(uint64_t term,
                       std::vector<std::string> payloads) override {
    size_t bytes = 0;
    for (const std::string& payload : payloads) bytes += payload.size();
    if (bytes > bytes_max_) {
      return absl::InvalidArgumentError("the proposal is too long");
    }
    absl::MutexLock lock(&mu_);
    if (waiting_bytes_ + bytes > bytes_max_) {
      ++refused_;
      return absl::ResourceExhaustedError("too much waits");
    }
    waiting_bytes_ += bytes;
    for (std::string& payload : payloads) {
      waiting_.push_back({++index_, term, std::move(payload)});
    }
    if (!hold_) CommitLocked();
    return absl::OkStatus();
  }

  void ConfirmLeading(uint64_t,
                      std::function<void(absl::Status)> done) override {
    {
      absl::MutexLock lock(&mu_);
      if (hold_confirmations_) return confirmations_.push_back(std::move(done));
    }
    done(absl::OkStatus());
  }
  GroupStatus status() const override {
    GroupStatus status;
    status.self = status.leader = 1;
    status.term = 1;
    status.membership[1] = raft::Member{true, "here:1"};
    absl::MutexLock lock(&mu_);
    if (other_.has_value()) status.membership[2] = *other_;
    return status;
  }
  void ChangeMembership(const raft::MembershipChange&,
                        std::function<void(absl::Status)> done) override {
    done(absl::UnimplementedError("a group of one"));
  }
  absl::Status TransferLeadership(raft::NodeId) override {
    return absl::UnimplementedError("a group of one");
  }

  void Hold() {
    absl::MutexLock lock(&mu_);
    hold_ = true;
  }
  void HoldConfirmations() {
    absl::MutexLock lock(&mu_);
    hold_confirmations_ = true;
  }
  // Waits until somebody asks.
  void AwaitQuestion() {
    absl::MutexLock lock(&mu_);
    const auto asked = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return !confirmations_.empty();
    };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&asked), kPatience))
        << "nobody asks whether it leads";
  }
  void ReleaseConfirmations() {
    std::vector<std::function<void(absl::Status)>> held;
    {
      absl::MutexLock lock(&mu_);
      hold_confirmations_ = false;
      held.swap(confirmations_);
    }
    for (const auto& done : held) done(absl::OkStatus());
  }
  void SetOther(const raft::Member& other) {
    absl::MutexLock lock(&mu_);
    other_ = other;
  }
  // The next entry comes after this one.
  void GoOnBehind(uint64_t index) {
    absl::MutexLock lock(&mu_);
    index_ = index;
  }
  // Waits until it had to refuse something, and lets go.
  void ReleaseWhenFull() {
    absl::MutexLock lock(&mu_);
    const auto full = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return refused_ > 0;
    };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&full), kPatience))
        << "nothing was refused";
    hold_ = false;
    CommitLocked();
  }

 private:
  void CommitLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    loop_.OnCommitted(std::exchange(waiting_, {}));
    waiting_bytes_ = 0;
  }

  MasterLoop& loop_;
  const size_t bytes_max_;
  mutable absl::Mutex mu_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  bool hold_confirmations_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::function<void(absl::Status)>> confirmations_
      ABSL_GUARDED_BY(mu_);
  std::optional<raft::Member> other_ ABSL_GUARDED_BY(mu_);
  int refused_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t index_ ABSL_GUARDED_BY(mu_) = 0;
  size_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<raft::CommittedEntry> waiting_ ABSL_GUARDED_BY(mu_);
};

void AwaitLeading(MasterLoop& loop) {
  for (bool leads = false; !leads;) {
    absl::Notification looked;
    loop.Read(
        [&](const absl::Status& status, const State&, const SchedulerCore&) {
          leads = status.ok();
          looked.Notify();
        });
    looked.WaitForNotification();
  }
}

proto::WorkerMessage HelloOfWorker() {
  proto::WorkerMessage message;
  proto::Hello& hello = *message.mutable_hello();
  hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
  hello.set_name("w");
  hello.set_incarnation(std::string(16, 'i'));
  hello.set_slots(1);
  hello.set_address("w:1");
  hello.set_spool_dir("/spool");
  return message;
}

// A loop with all that is around it, but for workers and other masters.
class MasterLoopTest : public testing::Test {
 protected:
  static constexpr size_t kLogBytesMax = 16 << 20;

  MasterLoopTest() {
    peers_.Join(cluster_, [this] { return log_.status(); });
    const std::string program = "program";
    program_ = Sha256Of(program);
    auto writer = store_->Put(program_, program.size());
    EXPECT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE((*writer)->Append(program).ok());
    EXPECT_TRUE((*writer)->Finish().ok());
    loop_.Start(streams_, holders_);
  }
  ~MasterLoopTest() override {
    holders_.Stop();
    loop_.Stop();
  }

  proto::JobSpec Spec(const std::string& output, size_t argument_bytes = 1) {
    proto::JobSpec spec;
    spec.set_name("job");
    spec.set_program_sha256(program_);
    spec.add_inputs("/in");
    spec.add_arguments(std::string(argument_bytes, 'a'));
    spec.set_output(output);
    return spec;
  }
  absl::Status Submit(MasterLoop& loop, proto::JobSpec spec) {
    absl::Status status;
    absl::Notification answered;
    loop.Submit(RequestId::Generate(*random_), std::move(spec),
                [&](const Reply& reply) {
                  status = reply.status;
                  answered.Notify();
                });
    EXPECT_TRUE(answered.WaitForNotificationWithTimeout(kPatience));
    return status;
  }
  static uint64_t HashOf(MasterLoop& loop) {
    uint64_t hash = 0;
    absl::Notification looked;
    loop.Look(
        [&](const absl::Status&, const State& state, const SchedulerCore&) {
          hash = state.Hash();
          looked.Notify();
        });
    looked.WaitForNotification();
    return hash;
  }

  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  const std::unique_ptr<Random> loop_random_ = Random::Seeded(2);
  const ClusterId cluster_ = *ClusterId::FromHex(std::string(32, 'c'));
  MemoryFileSystem fs_;
  const std::unique_ptr<BlobStore> store_ =
      *BlobStore::Open({"/blobs"}, fs_, *random_);
  Peers peers_{rpc::LoopbackCredentials()};
  BlobFetcher fetcher_{*store_, peers_};
  BlobHolders holders_{*store_, fetcher_, peers_, Clock::Real()};
  MasterLoop loop_{{}, Clock::Real(), *loop_random_, peers_};
  GrpcWorkerStreams streams_{loop_};
  MemoryLog log_{loop_, kLogBytesMax};
  std::string program_;
};

TEST_F(MasterLoopTest, WhoLeadsAloneReadsWithoutAskingTheLog) {
  log_.SetOther(raft::Member{/*voter=*/false, "there:2"});
  log_.HoldConfirmations();
  loop_.SetLog(log_, cluster_);
  loop_.OnLeading(1);
  AwaitLeading(loop_);
}

TEST_F(MasterLoopTest, WhoDoesNotVoteAloneReadsWhenTheLogHasConfirmedIt) {
  loop_.SetLog(log_, cluster_);
  loop_.OnLeading(1);
  AwaitLeading(loop_);
  log_.SetOther(raft::Member{/*voter=*/true, "there:2"});
  log_.HoldConfirmations();
  absl::Notification read;
  loop_.Read(
      [&](const absl::Status& status, const State&, const SchedulerCore&) {
        EXPECT_TRUE(status.ok()) << status;
        read.Notify();
      });
  for (int i = 0; i < 3; ++i) HashOf(loop_);  // The loop is behind the read.
  EXPECT_FALSE(read.HasBeenNotified());
  log_.ReleaseConfirmations();
  EXPECT_TRUE(read.WaitForNotificationWithTimeout(kPatience));
}

TEST_F(MasterLoopTest, MoreEntriesThanTheLogTakesAtATimeAreAllWritten) {
  loop_.SetLog(log_, cluster_);
  loop_.OnLeading(1);
  AwaitLeading(loop_);

  // While the loop is held up, more is submitted than the log ever takes.
  absl::Notification go_on;
  loop_.Read([&](const absl::Status&, const State&, const SchedulerCore&) {
    go_on.WaitForNotification();
  });
  log_.Hold();
  constexpr int kJobs = 40;
  absl::BlockingCounter answers(kJobs);
  for (int i = 0; i < kJobs; ++i) {
    loop_.Submit(RequestId::Generate(*random_), Spec(Cat("/out", i), 1'000'000),
                 [&](const Reply& reply) {
                   EXPECT_TRUE(reply.status.ok()) << reply.status;
                   answers.DecrementCount();
                 });
  }
  go_on.Notify();
  log_.ReleaseWhenFull();
  answers.Wait();

  absl::Notification counted;
  loop_.Read(
      [&](const absl::Status&, const State& state, const SchedulerCore&) {
        EXPECT_EQ(state.jobs().size(), static_cast<size_t>(kJobs));
        counted.Notify();
      });
  counted.WaitForNotification();
}

// A leader that is cut off sees its workers go, and its followers may hear it
// when it hears nobody.
TEST_F(MasterLoopTest, WorkersAreGivenUpOnceTheLogHasConfirmedWhoLeads) {
  SchedulerOptions options;
  options.reconnect_limit = absl::Milliseconds(10);
  MasterLoop loop(options, Clock::Real(), *loop_random_, peers_);
  GrpcWorkerStreams streams(loop);
  MemoryLog log(loop, kLogBytesMax);
  log_.SetOther(raft::Member{/*voter=*/true, "there:2"});  // As peers_ says.
  loop.Start(streams, holders_);
  loop.SetLog(log, cluster_);
  loop.OnLeading(1);
  AwaitLeading(loop);
  const auto workers = [&] {
    size_t alive = 0;
    absl::Notification looked;
    loop.Look(
        [&](const absl::Status&, const State& state, const SchedulerCore&) {
          alive = state.alive_workers().size();
          looked.Notify();
        });
    looked.WaitForNotification();
    return alive;
  };
  const auto await_workers = [&](size_t count) {
    const absl::Duration until = Clock::Real().Monotonic() + kPatience;
    while (workers() != count && Clock::Real().Monotonic() < until) {
    }
    EXPECT_EQ(workers(), count);
  };

  constexpr StreamId kStream = 7;
  loop.OnStreamOpened(kStream);
  loop.OnStreamMessage(kStream, HelloOfWorker());
  await_workers(1);

  log.HoldConfirmations();
  loop.OnStreamClosed(kStream);
  log.AwaitQuestion();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(workers(), 1u);
  log.ReleaseConfirmations();
  await_workers(0);
  loop.Stop();
}

// A minute passes between two heartbeats here.
TEST_F(MasterLoopTest, WorkersHearAtOnceOfAMasterThatIsAdded) {
  SchedulerOptions options;
  options.heartbeat_interval = absl::Minutes(1);
  MasterLoop loop(options, Clock::Real(), *loop_random_, peers_);
  GrpcWorkerStreams streams(loop);
  MemoryLog log(loop, kLogBytesMax);
  loop.Start(streams, holders_);
  loop.SetLog(log, cluster_);
  loop.OnLeading(1);
  AwaitLeading(loop);
  const auto server = rpc::Server::Start(rpc::LoopbackCredentials(),
                                         "127.0.0.1:0", {streams.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto channel =
      rpc::Dial(rpc::LoopbackCredentials(), (*server)->address().ToString());
  ASSERT_TRUE(channel.ok()) << channel.status();
  grpc::ClientContext context;
  const auto stream =
      proto::WorkerService::NewStub(*channel)->Connect(&context);
  ASSERT_TRUE(stream->Write(HelloOfWorker()));
  proto::MasterMessage said;
  ASSERT_TRUE(stream->Read(&said));
  EXPECT_TRUE(said.has_welcome());
  EXPECT_THAT(said.masters(), ElementsAre("here:1"));

  loop.TellMasters();  // Nothing has changed, and nothing is said.
  log_.SetOther(raft::Member{/*voter=*/false, "there:2"});
  loop.TellMasters();
  ASSERT_TRUE(stream->Read(&said));
  EXPECT_THAT(said.masters(), ElementsAre("here:1", "there:2"));
  EXPECT_EQ(said.term(), 1u);
  context.TryCancel();
  stream->Finish();
  (*server)->Shutdown(absl::ZeroDuration());
  loop.Stop();
}

// ------------------------------------------------------------------ snapshots

class BytesSink final : public ByteSink {
 public:
  absl::Status Append(std::string_view bytes) override {
    bytes_.append(bytes);
    return absl::OkStatus();
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class BytesSource final : public ByteSource {
 public:
  explicit BytesSource(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    const size_t n = std::min(size, bytes_.size() - at_);
    std::copy_n(bytes_.data() + at_, n, buffer);
    at_ += n;
    return n;
  }

 private:
  const std::string bytes_;
  size_t at_ = 0;
};

TEST_F(MasterLoopTest, AnotherLoopGoesOnFromASnapshotAsIfItHadReplayedTheLog) {
  loop_.SetLog(log_, cluster_);
  loop_.OnLeading(1);
  AwaitLeading(loop_);
  ASSERT_TRUE(Submit(loop_, Spec("/out1")).ok());
  uint64_t index = 0;
  raft::FrozenState frozen;
  absl::Notification taken;
  loop_.OnSnapshotWanted([&](uint64_t at, raft::FrozenState state) {
    index = at;
    frozen = std::move(state);
    taken.Notify();
  });
  ASSERT_TRUE(taken.WaitForNotificationWithTimeout(kPatience));
  const uint64_t hash = HashOf(loop_);
  // What comes later is not in it.
  ASSERT_TRUE(Submit(loop_, Spec("/out2")).ok());
  EXPECT_NE(HashOf(loop_), hash);
  BytesSink bytes;
  ASSERT_TRUE(frozen(bytes).ok());

  std::vector<std::string> named;
  MasterLoop other({}, Clock::Real(), *loop_random_, peers_);
  other.SetOnBlobsNamed(
      [&](std::vector<std::string> blobs) { named = std::move(blobs); });
  GrpcWorkerStreams streams(other);
  MemoryLog log(other, kLogBytesMax);
  other.Start(streams, holders_);
  other.OnSnapshot(index, 1, std::make_unique<BytesSource>(bytes.Take()));
  other.SetLog(log, cluster_);
  EXPECT_EQ(HashOf(other), hash);
  EXPECT_EQ(named, std::vector<std::string>{program_});
  // It leads with what it was given: the path is taken.
  log.GoOnBehind(index);
  other.OnLeading(2);
  AwaitLeading(other);
  EXPECT_FALSE(Submit(other, Spec("/out1")).ok());
  EXPECT_TRUE(Submit(other, Spec("/out2")).ok());
  other.Stop();
}

TEST_F(MasterLoopTest, ASnapshotThatIsNoneIsToldAndChangesNothing) {
  std::vector<absl::Status> told;
  loop_.SetOnUnusable([&](const absl::Status& why) { told.push_back(why); });
  const uint64_t before = HashOf(loop_);
  loop_.OnSnapshot(7, 1, std::make_unique<BytesSource>("not a state"));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(told[0])) << told[0];
  loop_.SetLog(log_, cluster_);
  EXPECT_EQ(HashOf(loop_), before);
}

}  // namespace
}  // namespace millrace::master
