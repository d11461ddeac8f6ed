#include "master/service/client_service.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/strings.h"
#include "master/service/check_spec.h"
#include "master/service/watch_reactor.h"
#include "master/why/why.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/leader_channel.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// The job that a prefix means; its status goes to `fill`.
absl::Status WithJob(const absl::Status& leading, const State& state,
                     const std::string& id_prefix,
                     const std::function<void(const Job&)>& fill) {
  if (!leading.ok()) return leading;
  const absl::StatusOr<const Job*> job = state.FindJobByPrefix(id_prefix);
  if (job.ok()) fill(**job);
  return job.status();
}

class ClientServiceImpl final : public proto::ClientService::CallbackService {
 public:
  ClientServiceImpl(MasterLoop& loop, GroupKeeper& group, Peers& peers,
                    ThreadPool& pool, Clock& clock)
      : loop_(loop), group_(group), peers_(peers), pool_(pool), clock_(clock) {}

  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context,
                                   const proto::SubmitRequest* request,
                                   proto::SubmitReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const std::optional<RequestId> request_id =
        RequestId::FromBytes(request->request_id());
    absl::Status status = CheckSubmit(*request, request_id);
    if (!status.ok()) {
      reactor->Finish(rpc::ToGrpc(status));
      return reactor;
    }
    proto::JobSpec spec = request->spec();
    FillDefaults(spec);
    loop_.Submit(*request_id, std::move(spec),
                 [reactor, reply](const Reply& answer) {
                   reply->set_job_id(std::string(answer.job.bytes()));
                   reply->set_existed(answer.existed);
                   reactor->Finish(rpc::ToGrpc(answer.status));
                 });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const proto::GetJobRequest* request,
                                   proto::GetJobReply* reply) override {
    return Read(context, [request, reply](const absl::Status& leading,
                                          const State& state,
                                          const SchedulerCore& core) {
      return WithJob(leading, state, request->id_prefix(), [&](const Job& job) {
        core.FillJobStatus(job, reply->mutable_status());
        if (request->with_counters()) core.FillCounters(job, reply);
        if (request->with_tasks()) {
          const TaskId after = TaskId::From(request->tasks_after());
          if (!request->has_tasks_after()) core.FillAvoided(job, reply);
          core.FillTasks(job, request->has_tasks_after() ? &after : nullptr,
                         reply);
        }
        if (request->with_spec()) {
          *reply->mutable_spec() = *job.spec;
          reply->set_plan_sha256(job.plan_sha256);
          if (job.planned && job.maps.all_done() && !job.map_only()) {
            *reply->mutable_map_written() = job.totals.ledger.written();
          }
        }
      });
    });
  }

  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const proto::ListJobsRequest* request,
                                     proto::ListJobsReply* reply) override {
    return Read(context,
                [request, reply](const absl::Status& leading, const State&,
                                 const SchedulerCore& core) {
                  if (leading.ok()) {
                    core.FillJobs(request->limit(), request->before(), reply);
                  }
                  return leading;
                });
  }

  grpc::ServerWriteReactor<proto::JobStatus>* WatchJob(
      grpc::CallbackServerContext* context,
      const proto::WatchJobRequest* request) override {
    context->AddInitialMetadata(rpc::kMastersMetadata,
                                absl::StrJoin(peers_.Addresses(), ","));
    return NewWatchReactor(loop_, request->id_prefix());
  }

  grpc::ServerUnaryReactor* KillJob(grpc::CallbackServerContext* context,
                                    const proto::KillJobRequest* request,
                                    proto::KillJobReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.Kill(request->id_prefix(), request->reason(),
               [this, reactor, reply](const Reply& answer) {
                 if (!answer.status.ok()) {
                   reactor->Finish(rpc::ToGrpc(answer.status));
                   return;
                 }
                 reply->set_too_late(answer.too_late);
                 FinishWithStatus(reactor, answer.job, reply);
               });
    return reactor;
  }

  grpc::ServerUnaryReactor* ListWorkers(
      grpc::CallbackServerContext* context,
      const proto::ListWorkersRequest* request,
      proto::ListWorkersReply* reply) override {
    return Read(context,
                [request, reply](const absl::Status& leading, const State&,
                                 const SchedulerCore& core) {
                  if (leading.ok()) core.FillWorkers(request->from(), reply);
                  return leading;
                });
  }

  grpc::ServerUnaryReactor* DrainWorker(
      grpc::CallbackServerContext* context,
      const proto::DrainWorkerRequest* request,
      proto::DrainWorkerReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.Drain(
        request->worker(), request->draining(),
        [this, reactor, reply, name = request->worker()](const Reply& answer) {
          if (!answer.status.ok()) {
            reactor->Finish(rpc::ToGrpc(answer.status));
            return;
          }
          loop_.Read([reactor, reply, name](const absl::Status& leading,
                                            const State&,
                                            const SchedulerCore& core) {
            absl::Status status = leading;
            if (status.ok()) {
              status = core.FillWorker(name, reply->mutable_status());
            }
            reactor->Finish(rpc::ToGrpc(status));
          });
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetCluster(grpc::CallbackServerContext* context,
                                       const proto::ClusterRequest* request,
                                       proto::ClusterReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto list = [this, reactor, request, reply](
                          const absl::Status& leading, const State& state,
                          const SchedulerCore&) {
      if (!leading.ok() && !request->any_master()) {
        reactor->Finish(rpc::ToGrpc(leading));
        return;
      }
      reply->set_cluster_id(std::string(state.cluster_id().bytes()));
      group_.List([reactor, reply](std::vector<proto::MasterStatus> masters) {
        for (proto::MasterStatus& master : masters) {
          *reply->add_masters() = std::move(master);
        }
        reactor->Finish(grpc::Status::OK);
      });
    };
    // Who is asked for what he knows must not wait for the others.
    if (request->any_master()) {
      loop_.Look(list);
    } else {
      loop_.Read(list);
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* AddMaster(
      grpc::CallbackServerContext* context,
      const proto::AddMasterRequest* request,
      proto::MasterChangeReply* reply) override {
    return ChangeGroup(context, reply, [this, request] {
      return group_.Add(request->address());
    });
  }

  grpc::ServerUnaryReactor* RemoveMaster(
      grpc::CallbackServerContext* context,
      const proto::RemoveMasterRequest* request,
      proto::MasterChangeReply* reply) override {
    return ChangeGroup(context, reply, [this, request] {
      return group_.Remove(request->master());
    });
  }

  grpc::ServerUnaryReactor* TransferLeadership(
      grpc::CallbackServerContext* context,
      const proto::TransferLeadershipRequest* request,
      proto::MasterChangeReply* reply) override {
    return ChangeGroup(context, reply, [this, request] {
      return group_.Transfer(request->master());
    });
  }

  grpc::ServerUnaryReactor* LocateLogs(grpc::CallbackServerContext* context,
                                       const proto::LocateLogsRequest* request,
                                       proto::LocateLogsReply* reply) override {
    return Read(context, [request, reply](const absl::Status& leading,
                                          const State& state,
                                          const SchedulerCore& core) {
      return WithJob(leading, state, request->id_prefix(), [&](const Job& job) {
        reply->set_job_id(std::string(job.id.bytes()));
        if (request->has_task()) {
          const TaskId task = TaskId::From(request->task());
          core.FillLogs(job, &task, request->cursor(), reply);
        } else {
          core.FillLogs(job, nullptr, request->cursor(), reply);
        }
      });
    });
  }

  grpc::ServerUnaryReactor* Why(grpc::CallbackServerContext* context,
                                const proto::WhyRequest* request,
                                proto::WhyReply* reply) override {
    return Read(context, [this, request, reply](const absl::Status& leading,
                                                const State& state,
                                                const SchedulerCore& core) {
      absl::Status explained;
      const absl::Status found =
          WithJob(leading, state, request->id_prefix(), [&](const Job& job) {
            const TaskId task = TaskId::From(request->task());
            explained = ExplainWait(
                core, job, request->has_task() ? &task : nullptr,
                clock_.Monotonic(), absl::ToUnixMillis(clock_.Now()), reply);
          });
      return found.ok() ? explained : found;
    });
  }

 private:
  static absl::Status CheckSubmit(const proto::SubmitRequest& request,
                                  const std::optional<RequestId>& request_id) {
    if (!request_id.has_value()) {
      return absl::InvalidArgumentError(
          Cat("a request id has ", RequestId::kBytes, " bytes, this one has ",
              request.request_id().size()));
    }
    return CheckSpec(request.spec());
  }

  using Step = std::function<absl::StatusOr<proto::MasterChangeReply>()>;
  grpc::ServerUnaryReactor* ChangeGroup(grpc::CallbackServerContext* context,
                                        proto::MasterChangeReply* reply,
                                        Step step) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.Read(
        [this, reactor, reply, step = std::move(step)](
            const absl::Status& leading, const State&, const SchedulerCore&) {
          if (!leading.ok()) {
            reactor->Finish(rpc::ToGrpc(leading));
            return;
          }
          pool_.Run([reactor, reply, step] {
            absl::StatusOr<proto::MasterChangeReply> done = step();
            if (done.ok()) *reply = *std::move(done);
            reactor->Finish(rpc::ToGrpc(done.status()));
          });
        });
    return reactor;
  }

  // Runs `fill` on the loop and finishes the call with its status.
  using Fill = std::function<absl::Status(const absl::Status&, const State&,
                                          const SchedulerCore&)>;
  grpc::ServerUnaryReactor* Read(grpc::CallbackServerContext* context,
                                 Fill fill) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.Read([reactor, fill = std::move(fill)](const absl::Status& leading,
                                                 const State& state,
                                                 const SchedulerCore& core) {
      reactor->Finish(rpc::ToGrpc(fill(leading, state, core)));
    });
    return reactor;
  }

  void FinishWithStatus(grpc::ServerUnaryReactor* reactor, const JobId& id,
                        proto::KillJobReply* reply) {
    loop_.Read([reactor, id, reply](const absl::Status& leading,
                                    const State& state,
                                    const SchedulerCore& core) {
      const Job* job = state.FindJob(id);
      if (leading.ok() && job != nullptr) {
        core.FillJobStatus(*job, reply->mutable_status());
      }
      reactor->Finish(rpc::ToGrpc(leading));
    });
  }

  MasterLoop& loop_;
  GroupKeeper& group_;
  Peers& peers_;
  ThreadPool& pool_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeClientService(MasterLoop& loop,
                                                 GroupKeeper& group,
                                                 Peers& peers, ThreadPool& pool,
                                                 Clock& clock) {
  return std::make_unique<ClientServiceImpl>(loop, group, peers, pool, clock);
}

}  // namespace millrace::master
