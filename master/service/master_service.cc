#include "master/service/master_service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "common/strings.h"
#include "proto/services/master.grpc.pb.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

class MasterServiceImpl final : public proto::MasterService::CallbackService {
 public:
  explicit MasterServiceImpl(MasterServiceParts parts)
      : parts_(std::move(parts)) {}

  grpc::ServerUnaryReactor* Adopt(grpc::CallbackServerContext* context,
                                  const proto::AdoptRequest* request,
                                  proto::AdoptReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    parts_.pool.Run([this, reactor, request, reply] {
      absl::StatusOr<proto::AdoptReply> adopted = parts_.adopt(*request);
      if (adopted.ok()) *reply = *std::move(adopted);
      reactor->Finish(rpc::ToGrpc(adopted.status()));
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const proto::DescribeRequest* request,
                                     proto::DescribeReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!Accepts(request->call(), reactor)) return reactor;
    // From the loop, so that "leads" means that all earlier terms are applied.
    parts_.loop.Look(
        [this, reactor, request, reply](const absl::Status& leading,
                                        const State&, const SchedulerCore&) {
          const Peers::GroupStatus group = parts_.peers.status();
          const proto::MasterStatus self = parts_.self();
          reply->set_pid(self.pid());
          reply->set_version(self.version());
          reply->set_address(self.address());
          reply->set_term(group.term);
          reply->set_commit_index(group.commit_index);
          reply->set_leader(leading.ok()                 ? group.self
                            : group.leader == group.self ? raft::kNobody
                                                         : group.leader);
          reply->set_caller_is_member(
              group.membership.count(request->call().from()) > 0);
          reactor->Finish(grpc::Status::OK);
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* HoldBlobs(grpc::CallbackServerContext* context,
                                      const proto::HoldBlobsRequest* request,
                                      proto::HoldBlobsReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!Accepts(request->call(), reactor)) return reactor;
    parts_.pool.Run([this, context, reactor, request, reply] {
      absl::Status status;
      for (const std::string& sha256 : request->sha256()) {
        // Nobody waits any more; the next call goes on where this one ends.
        if (context->IsCancelled()) break;
        status = parts_.fetcher.Fetch(sha256, request->call().from());
        if (absl::IsResourceExhausted(status)) break;
        if (!status.ok()) reply->add_missing(sha256);
      }
      reactor->Finish(absl::IsResourceExhausted(status) ? rpc::ToGrpc(status)
                                                        : grpc::Status::OK);
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* FindBlobs(grpc::CallbackServerContext* context,
                                      const proto::HoldBlobsRequest* request,
                                      proto::HoldBlobsReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!Accepts(request->call(), reactor)) return reactor;
    for (const std::string& sha256 : request->sha256()) {
      if (!parts_.blobs.Has(sha256)) reply->add_missing(sha256);
    }
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* ReleaseBlobs(
      grpc::CallbackServerContext* context,
      const proto::ReleaseBlobsRequest* request,
      proto::ReleaseBlobsReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!Accepts(request->call(), reactor)) return reactor;
    parts_.loop.ReleaseBlobs(
        request->call().from(),
        {request->sha256().begin(), request->sha256().end()},
        [reactor, reply](const absl::Status& status,
                         const std::vector<std::string>& released) {
          for (const std::string& sha256 : released) {
            reply->add_released(sha256);
          }
          reactor->Finish(rpc::ToGrpc(status));
        });
    return reactor;
  }

 private:
  bool Accepts(const proto::MasterCall& call,
               grpc::ServerUnaryReactor* reactor) const {
    const absl::Status status = parts_.peers.CheckCall(call);
    if (!status.ok()) reactor->Finish(rpc::ToGrpc(status));
    return status.ok();
  }

  const MasterServiceParts parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeMasterService(MasterServiceParts parts) {
  return std::make_unique<MasterServiceImpl>(std::move(parts));
}

}  // namespace millrace::master
