#include "client/testing/fake_cluster.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/ids.h"
#include "common/logging.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/credentials.h"
#include "rpc/not_leader.h"
#include "rpc/put_metadata.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace millrace::client {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);
// How often a stream looks whether its client has gone.
constexpr absl::Duration kLook = absl::Milliseconds(20);

// In the order of tasks: maps, then reduces.
std::pair<int, uint32_t> Place(const proto::TaskName& task) {
  return {task.kind(), task.index()};
}

std::unique_ptr<rpc::Server> StartServer(
    const std::vector<grpc::Service*>& services) {
  auto server =
      rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0", services);
  CHECK(server.ok()) << server.status();
  return *std::move(server);
}

}  // namespace

void FakeState::SetJob(const proto::GetJobReply& job) {
  const absl::MutexLock lock(&mu_);
  jobs_[job.status().job_id()] = job;
  ++change_;
}

proto::GetJobReply FakeState::Job(const std::string& id) {
  const absl::MutexLock lock(&mu_);
  CHECK(jobs_.contains(id)) << HexEncode(id);
  return jobs_.at(id);
}

std::vector<std::string> FakeState::Submitted() {
  const absl::MutexLock lock(&mu_);
  return submitted_;
}

std::string FakeState::Blob(const std::string& sha256) {
  const absl::MutexLock lock(&mu_);
  CHECK(blobs_.contains(sha256)) << HexEncode(sha256);
  return blobs_.at(sha256);
}

void FakeState::DropBlobs() {
  const absl::MutexLock lock(&mu_);
  blobs_.clear();
}

bool FakeState::WaitUntilSubmitted(size_t count) {
  const absl::MutexLock lock(&mu_);
  const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return submitted_.size() >= count;
  };
  return mu_.AwaitWithTimeout(absl::Condition(&enough), kPatience);
}

struct FakeMaster::Impl final : proto::ClientService::Service,
                                proto::BlobService::Service {
  explicit Impl(FakeState& shared) : state(shared) {
    server = StartServer({static_cast<proto::ClientService::Service*>(this),
                          static_cast<proto::BlobService::Service*>(this)});
    address = server->address().ToString();
  }

  // Runs `effect`, unless this master does not lead or misbehaves.
  template <typename Effect>
  grpc::Status Answer(const std::string& method, const Effect& effect) {
    std::optional<Misbehaviour> misbehaviour;
    {
      const absl::MutexLock lock(&mu);
      ++calls[method];
      if (!leader.empty()) {
        return rpc::ToGrpc(rpc::NotLeaderError({leader, 7}));
      }
      std::deque<Misbehaviour>& queue = planned[method];
      if (!queue.empty()) {
        misbehaviour = queue.front();
        queue.pop_front();
      }
    }
    if (misbehaviour.has_value() && !misbehaviour->done) {
      return rpc::ToGrpc(misbehaviour->status);
    }
    const absl::Status status = effect();
    return rpc::ToGrpc(misbehaviour.has_value() ? misbehaviour->status
                                                : status);
  }

  absl::Status FindJob(const std::string& prefix, proto::GetJobReply** found)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mu_) {
    *found = nullptr;
    for (auto& [id, job] : state.jobs_) {
      if (HexEncode(id).substr(0, prefix.size()) != prefix) continue;
      if (*found != nullptr) {
        return absl::InvalidArgumentError(
            Av(Cat("several jobs begin with ", prefix)));
      }
      *found = &job;
    }
    if (*found == nullptr) {
      return absl::NotFoundError(Av(Cat("no job begins with ", prefix)));
    }
    return absl::OkStatus();
  }

  grpc::Status Submit(grpc::ServerContext*, const proto::SubmitRequest* request,
                      proto::SubmitReply* reply) override {
    return Answer("Submit", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      const auto known = state.requests_.find(request->request_id());
      if (known != state.requests_.end()) {
        reply->set_job_id(known->second);
        reply->set_existed(true);
        return absl::OkStatus();
      }
      if (!state.blobs_.contains(request->spec().program_sha256())) {
        return absl::FailedPreconditionError("the program's blob is missing");
      }
      const std::string id = std::string(15, '\xab') +
                             static_cast<char>(state.submitted_.size() + 1);
      proto::GetJobReply& job = state.jobs_[id];
      job.mutable_status()->set_job_id(id);
      job.mutable_status()->set_name(request->spec().name());
      job.mutable_status()->set_state(proto::QUEUED);
      job.mutable_status()->set_output(request->spec().output());
      *job.mutable_spec() = request->spec();
      state.requests_[request->request_id()] = id;
      state.submitted_.push_back(id);
      reply->set_job_id(id);
      return absl::OkStatus();
    });
  }

  grpc::Status GetJob(grpc::ServerContext*, const proto::GetJobRequest* request,
                      proto::GetJobReply* reply) override {
    return Answer("GetJob", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      proto::GetJobReply* job = nullptr;
      const absl::Status status = FindJob(request->id_prefix(), &job);
      if (!status.ok()) return status;
      *reply->mutable_status() = job->status();
      if (request->with_counters()) {
        *reply->mutable_counters() = job->counters();
      }
      if (request->with_tasks()) {
        for (const proto::TaskStatus& task : job->tasks()) {
          if (request->has_tasks_after() &&
              Place(task.task()) <= Place(request->tasks_after())) {
            continue;
          }
          if (static_cast<size_t>(reply->tasks_size()) == state.page_max_) {
            reply->set_more_tasks(true);
            break;
          }
          *reply->add_tasks() = task;
        }
      }
      if (request->with_spec()) *reply->mutable_spec() = job->spec();
      return absl::OkStatus();
    });
  }

  grpc::Status ListJobs(grpc::ServerContext*,
                        const proto::ListJobsRequest* request,
                        proto::ListJobsReply* reply) override {
    return Answer("ListJobs", [&] {
      const absl::MutexLock lock(&state.mu_);
      std::vector<proto::JobStatus> jobs;
      for (const auto& [id, job] : state.jobs_) jobs.push_back(job.status());
      std::sort(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) {
        return a.submitted_at_ms() > b.submitted_at_ms();
      });
      const size_t from = request->before();
      size_t end = std::min(jobs.size(), from + state.page_max_);
      if (end < jobs.size()) reply->set_next(end);
      if (request->limit() > 0) end = std::min(end, from + request->limit());
      for (size_t i = from; i < end; ++i) *reply->add_jobs() = jobs[i];
      return absl::OkStatus();
    });
  }

  grpc::Status WatchJob(grpc::ServerContext* context,
                        const proto::WatchJobRequest* request,
                        grpc::ServerWriter<proto::JobStatus>* writer) override {
    return Answer("WatchJob", [&]() -> absl::Status {
      uint64_t breaks_before;
      {
        const absl::MutexLock lock(&mu);
        breaks_before = breaks;
      }
      uint64_t seen = 0;
      bool first = true;
      while (!context->IsCancelled()) {
        proto::JobStatus now;
        {
          const absl::MutexLock lock(&state.mu_);
          const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mu_) {
            return first || state.change_ != seen;
          };
          state.mu_.AwaitWithTimeout(absl::Condition(&changed), kLook);
          proto::GetJobReply* job = nullptr;
          const absl::Status status = FindJob(request->id_prefix(), &job);
          if (!status.ok()) return status;
          now = job->status();
          if (first || state.change_ != seen) {
            seen = state.change_;
            first = false;
            if (!writer->Write(now)) return absl::CancelledError("gone");
          }
        }
        if (now.state() == proto::SUCCEEDED || now.state() == proto::FAILED ||
            now.state() == proto::KILLED) {
          return absl::OkStatus();
        }
        const absl::MutexLock lock(&mu);
        if (breaks != breaks_before) {
          return absl::UnavailableError("the watch is broken");
        }
      }
      return absl::CancelledError("gone");
    });
  }

  grpc::Status KillJob(grpc::ServerContext*,
                       const proto::KillJobRequest* request,
                       proto::KillJobReply* reply) override {
    return Answer("KillJob", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      proto::GetJobReply* job = nullptr;
      const absl::Status status = FindJob(request->id_prefix(), &job);
      if (!status.ok()) return status;
      proto::JobStatus& now = *job->mutable_status();
      if (now.state() == proto::QUEUED || now.state() == proto::RUNNING) {
        now.set_state(proto::KILLED);
        now.mutable_failure()->set_cause(proto::CANCELLED);
        now.mutable_failure()->set_message(request->reason());
        ++state.change_;
      } else {
        reply->set_too_late(true);
      }
      *reply->mutable_status() = now;
      return absl::OkStatus();
    });
  }

  grpc::Status ListWorkers(grpc::ServerContext*,
                           const proto::ListWorkersRequest* request,
                           proto::ListWorkersReply* reply) override {
    return Answer("ListWorkers", [&] {
      const absl::MutexLock lock(&state.mu_);
      const size_t end =
          std::min(state.workers_.size(), request->from() + state.page_max_);
      for (size_t i = request->from(); i < end; ++i) {
        *reply->add_workers() = state.workers_[i];
      }
      if (end < state.workers_.size()) {
        reply->set_next(static_cast<uint32_t>(end));
      }
      return absl::OkStatus();
    });
  }

  grpc::Status DrainWorker(grpc::ServerContext*,
                           const proto::DrainWorkerRequest* request,
                           proto::DrainWorkerReply* reply) override {
    return Answer("DrainWorker", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      for (proto::WorkerStatus& worker : state.workers_) {
        if (worker.name() != request->worker()) continue;
        worker.set_state(request->draining() ? "draining" : "up");
        *reply->mutable_status() = worker;
        return absl::OkStatus();
      }
      return absl::NotFoundError(
          Av(Cat("no worker is called ", request->worker())));
    });
  }

  grpc::Status GetCluster(grpc::ServerContext*,
                          const proto::ClusterRequest* request,
                          proto::ClusterReply* reply) override {
    if (request->any_master()) {
      const absl::MutexLock lock(&state.mu_);
      *reply = state.cluster_;
      for (proto::MasterStatus& master : *reply->mutable_masters()) {
        master.set_state(master.address() == address ? "up" : "unknown");
      }
      return grpc::Status::OK;
    }
    return Answer("GetCluster", [&] {
      const absl::MutexLock lock(&state.mu_);
      *reply = state.cluster_;
      return absl::OkStatus();
    });
  }

  // Done at the second time of asking.
  grpc::Status AddMaster(grpc::ServerContext*,
                         const proto::AddMasterRequest* request,
                         proto::MasterChangeReply* reply) override {
    return Answer("AddMaster", [&] {
      const absl::MutexLock lock(&state.mu_);
      for (const proto::MasterStatus& master : state.cluster_.masters()) {
        if (master.address() != request->address()) continue;
        reply->set_done(true);
        *reply->mutable_master() = master;
        return absl::OkStatus();
      }
      proto::MasterStatus& added = *state.cluster_.add_masters();
      added.set_id(Cat("m", state.cluster_.masters_size()));
      added.set_address(request->address());
      *reply->mutable_master() = added;
      reply->set_waiting_for("it lacks 7 entries of the log");
      return absl::OkStatus();
    });
  }

  grpc::Status RemoveMaster(grpc::ServerContext*,
                            const proto::RemoveMasterRequest* request,
                            proto::MasterChangeReply* reply) override {
    return Answer("RemoveMaster", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      auto* masters = state.cluster_.mutable_masters();
      for (auto at = masters->begin(); at != masters->end(); ++at) {
        if (at->id() != request->master()) continue;
        *reply->mutable_master() = *at;
        reply->set_done(true);
        masters->erase(at);
        return absl::OkStatus();
      }
      return absl::NotFoundError(Cat("no master is ", request->master()));
    });
  }

  grpc::Status TransferLeadership(
      grpc::ServerContext*, const proto::TransferLeadershipRequest* request,
      proto::MasterChangeReply* reply) override {
    return Answer("TransferLeadership", [&] {
      reply->set_done(!request->master().empty());
      reply->mutable_master()->set_id(
          request->master().empty() ? "m2" : request->master());
      reply->set_waiting_for("m2 to take the lead");
      return absl::OkStatus();
    });
  }

  grpc::Status LocateLogs(grpc::ServerContext*,
                          const proto::LocateLogsRequest* request,
                          proto::LocateLogsReply* reply) override {
    return Answer("LocateLogs", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      proto::GetJobReply* job = nullptr;
      const absl::Status status = FindJob(request->id_prefix(), &job);
      if (!status.ok()) return status;
      reply->set_job_id(job->status().job_id());
      const int from = static_cast<int>(request->cursor().list());
      for (int i = from; i < state.logs_.logs_size(); ++i) {
        const proto::LogLocation& log = state.logs_.logs(i);
        if (static_cast<size_t>(reply->logs_size()) == state.page_max_) {
          reply->mutable_next()->set_list(static_cast<uint32_t>(i));
          break;
        }
        const proto::TaskName& task = log.attempt().task();
        if (request->has_task() && (task.kind() != request->task().kind() ||
                                    task.index() != request->task().index())) {
          continue;
        }
        *reply->add_logs() = log;
      }
      return absl::OkStatus();
    });
  }

  grpc::Status Why(grpc::ServerContext*, const proto::WhyRequest* request,
                   proto::WhyReply* reply) override {
    return Answer("Why", [&]() -> absl::Status {
      const absl::MutexLock lock(&state.mu_);
      proto::GetJobReply* job = nullptr;
      const absl::Status status = FindJob(request->id_prefix(), &job);
      if (!status.ok()) return status;
      *reply = state.why_;
      reply->set_job_id(job->status().job_id());
      reply->set_name(job->status().name());
      reply->set_state(job->status().state());
      if (request->has_task()) *reply->mutable_task() = request->task();
      return absl::OkStatus();
    });
  }

  grpc::Status Put(grpc::ServerContext* context,
                   grpc::ServerReader<proto::BlobChunk>* reader,
                   proto::PutBlobReply* reply) override {
    return Answer("Put", [&]() -> absl::Status {
      proto::BlobChunk chunk;
      std::string sha256;
      std::string bytes;
      uint64_t size = 0;
      bool first = true;
      while (reader->Read(&chunk)) {
        if (!chunk.sha256().empty()) {
          sha256 = chunk.sha256();
          size = chunk.size();
        }
        if (first) {
          const absl::MutexLock lock(&state.mu_);
          if (!chunk.data().empty()) {
            return absl::InvalidArgumentError("bytes that nobody asked for");
          }
          if (auto brought = state.brought_by_others_.extract(sha256)) {
            state.blobs_.insert(std::move(brought));
            reply->set_existed(true);
            return absl::OkStatus();
          }
          if (state.says_when_wanted_ && !state.puts_are_silent_) {
            context->AddInitialMetadata(rpc::kWantedMetadata, "1");
            reader->SendInitialMetadata();
          }
          first = false;
        }
        if (chunk.data().size() > (1 << 20)) {
          return absl::InvalidArgumentError("a chunk of more than 1 MiB");
        }
        bytes += chunk.data();
      }
      if (bytes.size() != size || Sha256Of(bytes) != sha256) {
        return absl::DataLossError("the bytes are not those of the hash");
      }
      const absl::MutexLock lock(&state.mu_);
      reply->set_existed(state.blobs_.contains(sha256));
      state.blobs_[sha256] = bytes;
      return absl::OkStatus();
    });
  }

  grpc::Status Find(grpc::ServerContext*,
                    const proto::FindBlobsRequest* request,
                    proto::FindBlobsReply* reply) override {
    return Answer("Find", [&] {
      const absl::MutexLock lock(&state.mu_);
      for (const std::string& sha256 : request->sha256()) {
        if (!state.blobs_.contains(sha256)) reply->add_missing(sha256);
      }
      reply->set_says_when_wanted(state.says_when_wanted_);
      return absl::OkStatus();
    });
  }

  FakeState& state;
  absl::Mutex mu;
  std::string leader ABSL_GUARDED_BY(mu);
  std::map<std::string, std::deque<Misbehaviour>> planned ABSL_GUARDED_BY(mu);
  std::map<std::string, int> calls ABSL_GUARDED_BY(mu);
  uint64_t breaks ABSL_GUARDED_BY(mu) = 0;
  std::string address;
  std::unique_ptr<rpc::Server> server;  // Last: the first to go.
};

FakeMaster::FakeMaster(FakeState& state)
    : impl_(std::make_unique<Impl>(state)) {}

FakeMaster::~FakeMaster() = default;

const std::string& FakeMaster::address() const { return impl_->address; }

void FakeMaster::SetLeader(const std::string& leader) {
  const absl::MutexLock lock(&impl_->mu);
  impl_->leader = leader;
}

void FakeMaster::Misbehave(const std::string& method,
                           Misbehaviour misbehaviour) {
  const absl::MutexLock lock(&impl_->mu);
  impl_->planned[method].push_back(std::move(misbehaviour));
}

void FakeMaster::BreakWatches() {
  const absl::MutexLock lock(&impl_->mu);
  ++impl_->breaks;
}

int FakeMaster::Calls(const std::string& method) {
  const absl::MutexLock lock(&impl_->mu);
  return impl_->calls[method];
}

struct FakeWorker::Impl final : proto::ShuffleService::Service {
  struct Log {
    std::string text;
    bool ended = true;
  };

  Impl() {
    server = StartServer({this});
    address = server->address().ToString();
  }

  grpc::Status ReadLog(grpc::ServerContext* context,
                       const proto::ReadLogRequest* request,
                       grpc::ServerWriter<proto::LogSlice>* writer) override {
    uint64_t offset = request->offset();
    while (!context->IsCancelled()) {
      const absl::MutexLock lock(&mu);
      const auto it = logs.find(request->attempt_uid());
      if (it == logs.end()) {
        return rpc::ToGrpc(absl::NotFoundError("no such log here"));
      }
      const Log& log = it->second;
      while (offset < log.text.size()) {
        if (break_after.has_value() && offset >= *break_after) {
          break_after.reset();
          return rpc::ToGrpc(absl::UnavailableError("broken"));
        }
        proto::LogSlice slice;
        slice.set_data(log.text.substr(offset, 4));
        offset += slice.data().size();
        if (!writer->Write(slice)) return grpc::Status::CANCELLED;
      }
      if (log.ended || !request->follow()) return grpc::Status::OK;
      const uint64_t seen = changes;
      const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
        return changes != seen;
      };
      mu.AwaitWithTimeout(absl::Condition(&changed), kLook);
    }
    return grpc::Status::CANCELLED;
  }

  grpc::Status ListLogs(grpc::ServerContext*,
                        const proto::ListLogsRequest* request,
                        proto::ListLogsReply* reply) override {
    const absl::MutexLock lock(&mu);
    const auto next = std::find_if(
        kept.begin(), kept.end(), [&](const proto::AttemptRef& attempt) {
          return request->has_after() &&
                 attempt.attempt_uid() == request->after().attempt_uid();
        });
    const size_t at = next == kept.end() ? 0 : next - kept.begin() + 1;
    if (at < kept.size()) *reply->add_attempts() = kept[at];
    reply->set_more(at + 1 < kept.size());
    return grpc::Status::OK;
  }

  absl::Mutex mu;
  std::map<std::string, Log> logs ABSL_GUARDED_BY(mu);
  std::vector<proto::AttemptRef> kept ABSL_GUARDED_BY(mu);
  std::optional<size_t> break_after ABSL_GUARDED_BY(mu);
  uint64_t changes ABSL_GUARDED_BY(mu) = 0;
  std::string address;
  std::unique_ptr<rpc::Server> server;  // Last: the first to go.
};

FakeWorker::FakeWorker() : impl_(std::make_unique<Impl>()) {}

FakeWorker::~FakeWorker() = default;

const std::string& FakeWorker::address() const { return impl_->address; }

void FakeWorker::SetLog(const std::string& uid, const std::string& text,
                        bool ended) {
  const absl::MutexLock lock(&impl_->mu);
  impl_->logs[uid] = {text, ended};
  ++impl_->changes;
}

void FakeWorker::Keep(const proto::AttemptRef& attempt) {
  const absl::MutexLock lock(&impl_->mu);
  impl_->kept.push_back(attempt);
}

void FakeWorker::BreakAfter(size_t bytes) {
  const absl::MutexLock lock(&impl_->mu);
  impl_->break_after = bytes;
}

}  // namespace millrace::client
