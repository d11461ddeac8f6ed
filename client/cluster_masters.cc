// The calls of a ClusterClient about the masters themselves.
#include <algorithm>
#include <map>
#include <optional>

#include "client/cluster_client_impl.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

// Between two questions how far a change is.
constexpr absl::Duration kAskAgain = absl::Milliseconds(200);
// For a master's answer about itself.
constexpr absl::Duration kOneTimeout = absl::Seconds(1);

// Asks with `once` until it is done.
absl::StatusOr<proto::MasterStatus> UntilDone(
    std::string_view what, Clock& clock, rpc::StopSignal& stop,
    const MasterChangeOptions& options,
    const std::function<absl::Status(proto::MasterChangeReply*)>& once) {
  const bool limited = options.timeout < absl::InfiniteDuration();
  const absl::Duration deadline =
      limited ? clock.Monotonic() + options.timeout : absl::InfiniteDuration();
  std::string said;
  for (;;) {
    proto::MasterChangeReply reply;
    MR_RETURN_IF_ERROR(once(&reply));
    if (reply.done()) return reply.master();
    if (reply.waiting_for() != said) {
      said = reply.waiting_for();
      if (options.on_waiting != nullptr) options.on_waiting(said);
    }
    if (clock.Monotonic() >= deadline) {
      return absl::DeadlineExceededError(
          Av(Cat(what, ": not done after ",
                 ToStd(absl::FormatDuration(options.timeout)),
                 "; waiting for: ", said)));
    }
    if (stop.WaitFor(kAskAgain)) {
      return absl::CancelledError(
          Av(Cat(what, ": interrupted; waiting for: ", said)));
    }
  }
}

// Adds what one master says to what others have said: what it says of itself
// goes before what others say of it.
void Merge(const proto::MasterStatus& said,
           std::map<std::string, proto::MasterStatus>* masters) {
  proto::MasterStatus& known = (*masters)[said.address()];
  if (known.state() == "up" && said.state() != "up") return;
  known = said;
}

}  // namespace

absl::StatusOr<proto::ClusterReply> ClusterClient::Cluster() {
  proto::ClusterReply reply;
  MR_RETURN_IF_ERROR(impl_->AskClient("look at the cluster",
                                      &proto::ClientService::Stub::GetCluster,
                                      proto::ClusterRequest(), &reply));
  return reply;
}

absl::StatusOr<proto::ClusterReply> ClusterClient::AskEachMaster() {
  proto::ClusterRequest request;
  request.set_any_master(true);
  rpc::CallOptions call;
  call.attempt_timeout = kOneTimeout;
  call.total_timeout = absl::ZeroDuration();
  proto::ClusterReply all;
  std::map<std::string, proto::MasterStatus> masters;
  std::vector<std::string> silent;
  absl::Status last;
  for (const std::string& address : impl_->leader.finder().masters()) {
    proto::ClusterReply reply;
    const absl::Status status = impl_->leader.CallOne(
        Cat("ask master ", address), address, call, [&](Attempt& attempt) {
          return impl_->AsSeenHere(
              proto::ClientService::NewStub(attempt.channel)
                  ->GetCluster(&attempt.context, request, &reply));
        });
    if (!status.ok()) {
      if (absl::IsCancelled(status)) return status;
      silent.push_back(address);
      last = status;
      continue;
    }
    if (all.cluster_id().empty()) all.set_cluster_id(reply.cluster_id());
    for (const proto::MasterStatus& master : reply.masters()) {
      Merge(master, &masters);
    }
  }
  if (masters.empty()) return last;
  for (const std::string& address : silent) {
    proto::MasterStatus& known = masters[address];
    known.set_address(address);
    known.set_state("unreachable");
  }
  for (const auto& [address, master] : masters) *all.add_masters() = master;
  return all;
}

absl::StatusOr<proto::MasterStatus> ClusterClient::AddMaster(
    std::string_view address, const MasterChangeOptions& options) {
  const std::string what = Cat("add master ", address);
  proto::AddMasterRequest request;
  request.set_address(std::string(address));
  return UntilDone(what, *impl_->options.clock, impl_->stop, options,
                   [&](proto::MasterChangeReply* reply) {
                     return impl_->AskClient(
                         what, &proto::ClientService::Stub::AddMaster, request,
                         reply);
                   });
}

absl::StatusOr<proto::MasterStatus> ClusterClient::RemoveMaster(
    std::string_view name, const MasterChangeOptions& options) {
  const std::string what = Cat("remove master ", name);
  proto::RemoveMasterRequest request;
  request.set_master(std::string(name));
  // Known once the leader has said whom it means. If it then is no member any
  // more, an answer was lost.
  std::optional<proto::MasterStatus> meant;
  MR_ASSIGN_OR_RETURN(const proto::ClusterReply cluster, Cluster());
  for (const proto::MasterStatus& master : cluster.masters()) {
    if (master.id() != name && master.address() != name) continue;
    meant = master;
    request.set_master(master.id());
  }
  return UntilDone(what, *impl_->options.clock, impl_->stop, options,
                   [&](proto::MasterChangeReply* reply) -> absl::Status {
                     const absl::Status status = impl_->AskClient(
                         what, &proto::ClientService::Stub::RemoveMaster,
                         request, reply);
                     if (absl::IsNotFound(status) && meant.has_value()) {
                       reply->set_done(true);
                       *reply->mutable_master() = *meant;
                       return absl::OkStatus();
                     }
                     if (status.ok() && !reply->master().id().empty()) {
                       meant = reply->master();
                       request.set_master(meant->id());
                     }
                     return status;
                   });
}

absl::StatusOr<proto::MasterStatus> ClusterClient::TransferLeadership(
    std::string_view name, const MasterChangeOptions& options) {
  const std::string what = name.empty() ? std::string("hand leadership over")
                                        : Cat("hand leadership to ", name);
  proto::TransferLeadershipRequest request;
  request.set_master(std::string(name));
  return UntilDone(what, *impl_->options.clock, impl_->stop, options,
                   [&](proto::MasterChangeReply* reply) {
                     const absl::Status status = impl_->AskClient(
                         what, &proto::ClientService::Stub::TransferLeadership,
                         request, reply);
                     // The same one until it is done.
                     if (status.ok()) request.set_master(reply->master().id());
                     return status;
                   });
}

}  // namespace millrace::client
