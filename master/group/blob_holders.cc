#include "master/group/blob_holders.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "common/logging.h"
#include "proto/services/master.grpc.pb.h"
#include "rpc/call.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

constexpr int kFetchThreads = 2;
// For the fetching of what is asked for; then it is asked again, and goes on
// there meanwhile.
constexpr absl::Duration kHoldTimeout = absl::Seconds(30);
constexpr absl::Duration kReleaseTimeout = absl::Seconds(5);

}  // namespace

struct BlobHolders::HoldCall {
  std::unique_ptr<proto::MasterService::Stub> stub;
  grpc::ClientContext context;
  proto::HoldBlobsRequest request;
  proto::HoldBlobsReply reply;
};

BlobHolders::BlobHolders(BlobStore& store, BlobFetcher& fetcher, Peers& peers,
                         Clock& clock)
    : store_(store), fetcher_(fetcher), peers_(peers), clock_(clock) {
  fetch_pool_.emplace(kFetchThreads);
  timer_ = std::thread([this] { RunTimer(); });
}

BlobHolders::~BlobHolders() { Stop(); }

void BlobHolders::Stop() {
  std::map<HoldersCore::WantId, Done> dones;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    stopping_ = true;
    dones.swap(dones_);
    for (const auto& [id, call] : calls_) call->context.TryCancel();
  }
  Abort(std::move(dones));
  timer_.join();
  const auto quiet = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return calls_.empty();
  };
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&quiet));
  }
  fetch_pool_.reset();
}

void BlobHolders::Abort(std::map<HoldersCore::WantId, Done> dones) {
  for (const auto& [want, done] : dones) {
    done(absl::AbortedError("this master does not lead any more"));
  }
}

void BlobHolders::Reset() {
  std::map<HoldersCore::WantId, Done> dones;
  {
    absl::MutexLock lock(&mu_);
    core_.Reset();
    dones.swap(dones_);
    change_.reset();
  }
  Abort(std::move(dones));
}

void BlobHolders::RefreshGroupLocked(Effects& effects) {
  const Peers::GroupStatus group = peers_.status();
  std::set<raft::NodeId> voters;
  for (const auto& [id, member] : group.membership) {
    if (member.voter) voters.insert(id);
  }
  if (voters.empty()) return;
  std::set<raft::NodeId> after = voters;
  if (change_.has_value()) {
    if (change_->votes) {
      after.insert(change_->node);
    } else {
      after.erase(change_->node);
    }
  }
  for (HoldersCore::Effect& effect :
       core_.SetGroup(group.self, std::move(voters), std::move(after),
                      clock_.Monotonic())) {
    effects.push_back(std::move(effect));
  }
}

void BlobHolders::Want(const std::set<std::string>& blobs, Done done) {
  // Asked without the lock; what is held stays, because who asks names it.
  std::map<std::string, bool> here;
  for (const std::string& sha256 : blobs) here[sha256] = store_.Has(sha256);
  Effects effects;
  {
    absl::MutexLock lock(&mu_);
    if (!stopping_) {
      RefreshGroupLocked(effects);
      const HoldersCore::WantId want = next_want_++;
      dones_[want] = std::move(done);
      done = nullptr;
      for (HoldersCore::Effect& effect :
           core_.Want(want, here, clock_.Monotonic())) {
        effects.push_back(std::move(effect));
      }
      ++steps_;
    }
  }
  if (done != nullptr) return done(absl::AbortedError("stopping"));
  Carry(effects);
}

void BlobHolders::SetChange(std::optional<Change> change) {
  Effects effects;
  {
    absl::MutexLock lock(&mu_);
    change_ = change;
    RefreshGroupLocked(effects);
    ++steps_;
  }
  Carry(effects);
}

std::vector<std::string> BlobHolders::Release(
    raft::NodeId holder, const std::vector<std::string>& blobs) {
  std::vector<std::string> released;
  absl::MutexLock lock(&mu_);
  for (const std::string& sha256 : blobs) {
    if (core_.Release(holder, sha256)) released.push_back(sha256);
  }
  return released;
}

void BlobHolders::Carry(const Effects& effects) {
  for (const HoldersCore::Effect& effect : effects) {
    if (const auto* fetch = std::get_if<HoldersCore::FetchHere>(&effect)) {
      Fetch(fetch->sha256);
    } else if (const auto* ask = std::get_if<HoldersCore::Ask>(&effect)) {
      Ask(*ask);
    } else {
      const auto& settled = std::get<HoldersCore::Settled>(effect);
      Done done;
      {
        absl::MutexLock lock(&mu_);
        const auto found = dones_.find(settled.want);
        if (found == dones_.end()) continue;  // Aborted meanwhile.
        done = std::move(found->second);
        dones_.erase(found);
      }
      done(settled.status);
    }
  }
}

void BlobHolders::Fetch(const std::string& sha256) {
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    fetch_pool_->Run([this, sha256] {
      const absl::Status status = fetcher_.Fetch(sha256);
      Effects effects;
      {
        absl::MutexLock inner(&mu_);
        effects = core_.OnFetched(sha256, status, clock_.Monotonic());
        ++steps_;
      }
      Carry(effects);
    });
  }
}

void BlobHolders::Ask(const HoldersCore::Ask& ask) {
  const std::optional<Peer> peer = peers_.Find(ask.peer);
  if (!peer.has_value()) {
    return OnAnswer(ask.id, absl::UnavailableError("no address"), {});
  }
  const auto channel = peers_.ChannelTo(peer->address);
  if (!channel.ok()) return OnAnswer(ask.id, channel.status(), {});
  auto owned = std::make_unique<HoldCall>();
  HoldCall* const call = owned.get();
  call->stub = proto::MasterService::NewStub(*channel);
  *call->request.mutable_call() = peers_.CallTo(ask.peer);
  for (const std::string& sha256 : ask.blobs) call->request.add_sha256(sha256);
  rpc::SetTimeout(call->context, kHoldTimeout);
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    calls_[ask.id] = call;
  }
  call->stub->async()->HoldBlobs(
      &call->context, &call->request, &call->reply,
      [this, id = ask.id, held = owned.release()](grpc::Status status) {
        const std::unique_ptr<HoldCall> answered(held);
        OnAnswer(id, rpc::FromGrpc(status),
                 {answered->reply.missing().begin(),
                  answered->reply.missing().end()});
        absl::MutexLock lock(&mu_);
        calls_.erase(id);
      });
}

void BlobHolders::OnAnswer(uint64_t ask_id, const absl::Status& status,
                           const std::set<std::string>& missing) {
  Effects effects;
  {
    absl::MutexLock lock(&mu_);
    effects = core_.OnAnswer(ask_id, status, missing, clock_.Monotonic());
    ++steps_;
  }
  Carry(effects);
}

void BlobHolders::RunTimer() {
  for (;;) {
    Effects effects;
    {
      absl::MutexLock lock(&mu_);
      const uint64_t seen = steps_;
      const auto changed = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
        return stopping_ || steps_ != seen;
      };
      mu_.AwaitWithTimeout(absl::Condition(&changed),
                           core_.NextDeadline() - clock_.Monotonic());
      if (stopping_) return;
      if (clock_.Monotonic() >= core_.NextDeadline()) {
        RefreshGroupLocked(effects);
        for (HoldersCore::Effect& effect : core_.Tick(clock_.Monotonic())) {
          effects.push_back(std::move(effect));
        }
      }
    }
    Carry(effects);
  }
}

std::vector<std::string> AskToRelease(Peers& peers, raft::NodeId leader,
                                      const std::vector<std::string>& blobs) {
  const std::optional<Peer> peer = peers.Find(leader);
  if (!peer.has_value()) return {};
  proto::ReleaseBlobsRequest request;
  *request.mutable_call() = peers.CallTo(leader);
  for (const std::string& sha256 : blobs) request.add_sha256(sha256);
  proto::ReleaseBlobsReply reply;
  const absl::Status status =
      peers.Call(peer->address, kReleaseTimeout,
                 [&](grpc::ClientContext& context,
                     const std::shared_ptr<grpc::Channel>& channel) {
                   return proto::MasterService::NewStub(channel)->ReleaseBlobs(
                       &context, request, &reply);
                 });
  if (!status.ok()) return {};
  return {reply.released().begin(), reply.released().end()};
}

}  // namespace millrace::master
