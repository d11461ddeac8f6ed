#include "tests/in_process/in_process_cluster.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <set>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/strings.h"
#include "common/version.h"
#include "master/group/blob_quorum.h"
#include "master/group/group_view.h"
#include "master/service/master_loop.h"
#include "raft/log/disk.h"
#include "raft/node/node.h"
#include "raft/node/testing/list_sink.h"
#include "worker/shuffle/shuffle_fetcher.h"
#include "worker/testing/fake_blob_client.h"
#include "worker/worker.h"

namespace millrace {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr uint64_t kFetchMemory = 64 << 10;  // What is more goes to disk.

// Opens what has a lock. A job process that some worker is just starting has
// all descriptors of this process for a moment, that of a lock among them which
// has just been given up.
template <typename Open>
auto OpenSoon(const Open& open) {
  auto opened = open();
  raft::WaitUntil([&] {
    if (absl::IsFailedPrecondition(opened.status())) opened = open();
    return !absl::IsFailedPrecondition(opened.status());
  });
  CHECK(opened.ok()) << opened.status();
  return *std::move(opened);
}

}  // namespace

// --------------------------------------------------------------------- blobs

// What a majority holds: here everything that anybody has.
class InProcessCluster::Blobs final : public master::BlobQuorum {
 public:
  worker::FakeBlobClient& bytes() { return bytes_; }

  void Want(const std::set<std::string>&, Done done) override {
    done(absl::OkStatus());
  }
  std::vector<std::string> Release(
      raft::NodeId, const std::vector<std::string>& blobs) override {
    return blobs;
  }
  void Reset() override {}

 private:
  worker::FakeBlobClient bytes_;
};

// One worker's way to them, which ends with the worker.
class InProcessCluster::BlobsOfWorker final : public worker::BlobClient {
 public:
  explicit BlobsOfWorker(worker::FakeBlobClient& all) : all_(all) {}

  absl::Status Get(const std::string& sha256,
                   const std::string& path) override {
    return over_ ? absl::CancelledError("") : all_.Get(sha256, path);
  }
  absl::Status Put(const std::string& sha256,
                   const std::string& path) override {
    return over_ ? absl::CancelledError("") : all_.Put(sha256, path);
  }
  void Shutdown() override { over_ = true; }

 private:
  worker::FakeBlobClient& all_;
  std::atomic<bool> over_{false};
};

// -------------------------------------------------------------------- master

class InProcessCluster::Master {
 public:
  // `cluster`: to be joined; none: it is founded.
  Master(InProcessCluster& owner, int number,
         const std::optional<ClusterId>& cluster)
      : owner_(owner),
        random_(Random::Entropy()),
        loop_(SchedulerOptionsOfTest(), Clock::Real(), *random_, group_),
        transport_(owner.network_.NewTransport()),
        streams_(
            std::make_shared<MemoryStreams>(Cat("master-", number), loop_)) {
    loop_.Start(*streams_, *owner_.blobs_);
    raft::NodeOptions options;
    options.directory = owner_.directory_ / Cat("master-", number);
    options.cluster = cluster;
    options.join = cluster.has_value();
    options.address = streams_->address();
    options.tick = absl::Milliseconds(50);
    options.snapshot_entries = owner_.options_.snapshot_entries;
    options.snapshot_interval = absl::Milliseconds(1);
    options.segment_bytes = 1 << 20;
    options.keep_entries = 1;
    node_ = OpenSoon([&] {
      return raft::OpenNode(options, raft::Disk::Posix(), Clock::Real(),
                            *random_of_node_, *transport_, loop_);
    });
    group_.Join(node_->identity().cluster, [this] { return node_->status(); });
    loop_.SetLog(*node_, node_->identity().cluster);
    owner_.reached_.Add(streams_);
  }

  ~Master() {
    owner_.reached_.Remove(streams_->address());
    streams_->Shutdown();
    loop_.Stop();
    group_.Leave();
    node_.reset();
  }
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  master::MasterLoop& loop() { return loop_; }
  raft::Node& node() { return *node_; }
  MemoryStreams& streams() { return *streams_; }

  // Whether it leads now, and what it then has.
  absl::Status Read(const Reader& reader) {
    absl::Status result;
    absl::Notification done;
    loop_.Read([&](const absl::Status& status, const master::State& state,
                   const master::SchedulerCore& core) {
      result = status;
      if (status.ok()) reader(state, core);
      done.Notify();
    });
    CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "no answer";
    return result;
  }
  // Of what it has applied, whoever leads.
  uint64_t HashOfState() {
    uint64_t hash = 0;
    absl::Notification done;
    loop_.Look([&](const absl::Status&, const master::State& state,
                   const master::SchedulerCore&) {
      hash = state.Hash();
      done.Notify();
    });
    CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "no answer";
    return hash;
  }

 private:
  static master::SchedulerOptions SchedulerOptionsOfTest() {
    master::SchedulerOptions options;
    options.heartbeat_interval = absl::Milliseconds(200);
    options.reconnect_limit = absl::Milliseconds(800);
    return options;
  }

  InProcessCluster& owner_;
  const std::unique_ptr<Random> random_;
  const std::unique_ptr<Random> random_of_node_ = Random::Entropy();
  master::GroupView group_;
  master::MasterLoop loop_;
  const std::unique_ptr<raft::Transport> transport_;
  const std::shared_ptr<MemoryStreams> streams_;  // Others: links.
  std::unique_ptr<raft::Node> node_;
};

// -------------------------------------------------------------------- worker

class InProcessCluster::Worker {
 public:
  Worker(InProcessCluster& owner, const std::string& name,
         const std::string& host_id)
      : owner_(owner),
        name_(name),
        random_(Random::Entropy()),
        blobs_(owner.blobs_->bytes()),
        link_(std::make_unique<MemoryLink>(owner.reached_)) {
    worker::WorkerDirectoryOptions directory;
    directory.path = owner_.directory_ / name;
    directory.name = name;
    directory.boot_id = "boot";
    directory_ = OpenSoon([&] {
      return worker::WorkerDirectory::Open(FileSystem::Posix(), directory,
                                           *random_);
    });
    owner_.fetch_.Serve(name, directory_->layout());

    worker::WorkerOptions options;
    options.slots = 2;
    options.host_id = host_id;
    options.address = name;
    options.spool.free_bytes_min = 1;
    options.loop.busy_tick = absl::Milliseconds(20);
    options.loop.idle_tick = absl::Milliseconds(50);
    options.loop.on_job_deleted = [this](const JobId& job) {
      owner_.fetch_.ForgetJob(name_, job);
    };
    worker::FetchOptions fetch;
    fetch.host_id = host_id;
    fetch.spool_dir = directory_->layout().Spool();
    fetch.memory_bytes = kFetchMemory;
    fetch.report = {absl::Milliseconds(100), absl::Seconds(1), 2.0};
    fetcher_ = worker::MakeFetcher(fetch, Clock::Real(), FileSystem::Posix(),
                                   Random::Entropy(), owner_.fetch_);
    const worker::WorkerEdges edges{
        FileSystem::Posix(), Clock::Real(), *random_,   *link_, blobs_,
        *fetcher_,           live_,         *directory_};
    worker_ = std::make_unique<worker::Worker>(
        options, edges, [name](const std::string& why) {
          LOG(FATAL) << name << " gives up: " << why;
        });
    const absl::Status started = worker_->Start();
    CHECK(started.ok()) << started;
  }

  ~Worker() {
    worker_->Stop();
    link_.reset();
    fetcher_.reset();
    owner_.fetch_.Remove(name_);
    worker_.reset();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

 private:
  InProcessCluster& owner_;
  const std::string name_;
  const std::unique_ptr<Random> random_;
  BlobsOfWorker blobs_;
  worker::LiveAttempts live_;
  std::unique_ptr<worker::WorkerDirectory> directory_;
  std::unique_ptr<MemoryLink> link_;
  std::unique_ptr<worker::Fetcher> fetcher_;
  std::unique_ptr<worker::Worker> worker_;
};

// ------------------------------------------------------------------- cluster

InProcessCluster::InProcessCluster(const Options& options)
    : options_(options),
      fetch_(options.cut_each),
      blobs_(std::make_unique<Blobs>()) {
  masters_.push_back(std::make_unique<Master>(*this, 0, std::nullopt));
  cluster_ = masters_[0]->node().identity().cluster;
  Grow(options.masters);
}

InProcessCluster::~InProcessCluster() = default;

void InProcessCluster::Grow(int masters) {
  using Kind = raft::MembershipChange::Kind;
  for (int i = 1; i < masters; ++i) {
    masters_.push_back(std::make_unique<Master>(*this, i, cluster_));
    for (const Kind kind : {Kind::kAddLearner, Kind::kAddVoter}) {
      // Refused as long as it does not lead.
      EXPECT_TRUE(raft::WaitUntil([&] {
        absl::Status result;
        absl::Notification done;
        masters_[0]->node().ChangeMembership(
            {kind, masters_[i]->node().identity().member,
             masters_[i]->streams().address()},
            [&](const absl::Status& status) {
              result = status;
              done.Notify();
            });
        CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "no answer";
        return result.ok();
      }));
    }
  }
}

void InProcessCluster::StartWorker(const std::string& name,
                                   const std::string& host_id) {
  workers_[name] = std::make_unique<Worker>(*this, name, host_id);
}

void InProcessCluster::StopWorker(const std::string& name) {
  workers_.erase(name);
}

void InProcessCluster::BreakStreams() {
  for (const auto& master : masters_) master->streams().BreakAll();
}

InProcessCluster::Master& InProcessCluster::Leader() {
  Master* leader = nullptr;
  const bool found = raft::WaitUntil([&] {
    for (const auto& master : masters_) {
      if (!master->Read([](const auto&, const auto&) {}).ok()) continue;
      leader = master.get();
      return true;
    }
    return false;
  });
  CHECK(found) << "nobody leads";
  return *leader;
}

void InProcessCluster::ChangeLeader() {
  Master& leader = Leader();
  // It may have begun to follow of itself.
  leader.node().TransferLeadership(raft::kNobody).IgnoreError();
}

void InProcessCluster::RestartFollower() {
  const Master& leader = Leader();
  const int number = &leader == masters_[0].get() ? 1 : 0;
  masters_[number].reset();
  masters_[number] = std::make_unique<Master>(*this, number, cluster_);
}

absl::Status InProcessCluster::Ask(
    const std::function<absl::Status(Master&)>& ask) {
  absl::Status answer;
  EXPECT_TRUE(raft::WaitUntil([&] {
    answer = ask(Leader());
    // Of another leader than a moment ago.
    return !absl::IsFailedPrecondition(answer) && !absl::IsUnavailable(answer);
  })) << answer;
  return answer;
}

JobId InProcessCluster::Submit(
    const std::string& program, const std::string& output,
    const std::function<void(proto::JobSpec&)>& change) {
  const auto bytes =
      ReadWholeFile(FileSystem::Posix(), program, uint64_t{1} << 30);
  CHECK(bytes.ok()) << bytes.status();
  proto::JobSpec spec;
  spec.set_name(output);
  spec.set_program_name(BaseName(program));
  spec.set_program_sha256(blobs_->bytes().Add(*bytes));
  spec.mutable_description()->set_name(spec.name());
  spec.mutable_description()->set_millrace_version(std::string(Version()));
  spec.mutable_description()->set_task_protocol(proto::TASK_PROTOCOL_VERSION);
  spec.set_output(directory_ / output);
  spec.set_memory_budget_bytes(16 << 20);
  change(spec);
  const RequestId request = RequestId::Generate(*random_);
  JobId job;
  const absl::Status accepted = Ask([&](Master& leader) {
    master::Reply answer;
    absl::Notification done;
    leader.loop().Submit(request, spec, [&](const master::Reply& reply) {
      answer = reply;
      done.Notify();
    });
    CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "no answer";
    job = answer.job;
    return answer.status;
  });
  EXPECT_TRUE(accepted.ok()) << accepted;
  return job;
}

void InProcessCluster::Kill(const JobId& job) {
  const absl::Status killed = Ask([&](Master& leader) {
    absl::Status answer;
    absl::Notification done;
    leader.loop().Kill(
        job.ToHex(), "the test says so", [&](const master::Reply& reply) {
          answer = reply.too_late ? absl::OkStatus() : reply.status;
          done.Notify();
        });
    CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "no answer";
    return answer;
  });
  EXPECT_TRUE(killed.ok()) << killed;
}

proto::JobStatus InProcessCluster::StatusOf(const JobId& job) {
  proto::JobStatus status;
  const absl::Status read = Ask([&](Master& leader) {
    return leader.Read(
        [&](const master::State& state, const master::SchedulerCore& core) {
          const master::Job* found = state.FindJob(job);
          if (found != nullptr) core.FillJobStatus(*found, &status);
        });
  });
  EXPECT_TRUE(read.ok()) << read;
  return status;
}

proto::JobStatus InProcessCluster::AwaitEnd(const JobId& job) {
  proto::JobStatus end;
  const absl::Status watched = Ask([&](Master& leader) {
    absl::Status result;
    absl::Notification done;
    const auto watch = leader.loop().Watch(
        job.ToHex(), [&](const absl::Status& status,
                         const proto::JobStatus& now, bool last) {
          if (!last) return;
          result = status;
          end = now;
          done.Notify();
        });
    CHECK(done.WaitForNotificationWithTimeout(kPatience)) << "it goes on";
    leader.loop().Unwatch(watch);
    return result;
  });
  EXPECT_TRUE(watched.ok()) << watched;
  return end;
}

void InProcessCluster::AwaitSameState() {
  EXPECT_TRUE(raft::WaitUntil([this] {
    std::set<uint64_t> states;
    for (const auto& master : masters_) states.insert(master->HashOfState());
    return states.size() == 1;
  })) << "the masters have different states";
}

}  // namespace millrace
