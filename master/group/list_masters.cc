#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "master/group/group_keeper.h"
#include "proto/services/master.grpc.pb.h"
#include "rpc/call.h"

namespace millrace::master {
namespace {

constexpr absl::Duration kDescribeTimeout = absl::Seconds(1);

// One question to each of the others; whoever answers last hands on the list.
struct Poll {
  absl::Mutex mu;
  size_t open ABSL_GUARDED_BY(mu) = 0;
  std::vector<proto::MasterStatus> masters ABSL_GUARDED_BY(mu);
  std::function<void(std::vector<proto::MasterStatus>)> done;

  void Close() {
    std::vector<proto::MasterStatus> all;
    {
      absl::MutexLock lock(&mu);
      if (--open > 0) return;
      all = std::move(masters);
    }
    done(std::move(all));
  }
};

struct DescribeCall {
  std::unique_ptr<proto::MasterService::Stub> stub;
  grpc::ClientContext context;
  proto::DescribeRequest request;
  proto::DescribeReply reply;
};

}  // namespace

void GroupKeeper::List(
    std::function<void(std::vector<proto::MasterStatus>)> done) {
  const GroupStatus group = peers_.status();
  auto poll = std::make_shared<Poll>();
  poll->done = std::move(done);
  std::vector<raft::NodeId> others;
  {
    absl::MutexLock lock(&poll->mu);
    poll->open = 1;  // This call.
    for (const auto& [id, member] : group.membership) {
      poll->masters.push_back(Describe(group, id));
      if (id != group.self && group.leader == group.self) others.push_back(id);
    }
    if (group.membership.count(group.self) == 0) {
      poll->masters.push_back(edges_.self());
    }
    poll->open += others.size();
  }
  for (const raft::NodeId id : others) {
    auto call = std::make_shared<DescribeCall>();
    const auto channel = peers_.ChannelTo(group.membership.at(id).address);
    if (!channel.ok()) {
      poll->Close();
      continue;
    }
    call->stub = proto::MasterService::NewStub(*channel);
    *call->request.mutable_call() = peers_.CallTo(id);
    rpc::SetTimeout(call->context, kDescribeTimeout);
    call->stub->async()->Describe(
        &call->context, &call->request, &call->reply,
        [poll, call, id](grpc::Status status) {
          {
            absl::MutexLock lock(&poll->mu);
            for (proto::MasterStatus& master : poll->masters) {
              if (master.id() != MasterName(id)) continue;
              master.set_state(status.ok() ? "up" : "unreachable");
              if (!status.ok()) continue;
              master.set_pid(call->reply.pid());
              master.set_version(call->reply.version());
              master.set_term(call->reply.term());
            }
          }
          poll->Close();
        });
  }
  poll->Close();
}

}  // namespace millrace::master
