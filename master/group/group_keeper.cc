#include "master/group/group_keeper.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/version.h"
#include "proto/services/master.grpc.pb.h"
#include "rpc/address.h"
#include "rpc/not_leader.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(200);
// How long no leader is heard before the others are asked about it, and between
// two times.
constexpr absl::Duration kLeaderlessMax = absl::Seconds(3);
constexpr absl::Duration kAskInterval = absl::Seconds(1);
// Of silence, after which a member counts as absent.
constexpr absl::Duration kSilenceMax = absl::Seconds(3);
constexpr absl::Duration kCallTimeout = absl::Seconds(2);
// A learner goes on fetching blobs when this is over, and is asked again.
constexpr absl::Duration kHoldTimeout = absl::Seconds(5);
constexpr size_t kBlobsPerCall = 256;
// For a majority to hold what a member that leaves holds.
constexpr absl::Duration kSettleTimeout = absl::Seconds(5);
// For an entry of the log.
constexpr absl::Duration kChangeTimeout = absl::Seconds(5);

// Waits for the one call of a callback.
template <typename T>
class Answer {
 public:
  // To be handed out; may be called when nobody waits any more.
  std::function<void(T)> Taker() {
    return [shared = shared_](T value) {
      shared->value = std::move(value);
      shared->given.Notify();
    };
  }
  T Wait(absl::Duration timeout, T otherwise) {
    if (!shared_->given.WaitForNotificationWithTimeout(timeout)) {
      return otherwise;
    }
    return std::move(shared_->value);
  }

 private:
  struct Shared {
    absl::Notification given;
    T value;
  };
  // Also the callback's.
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace

GroupKeeper::GroupKeeper(Peers& peers, BlobHolders& holders, Clock& clock,
                         Edges edges)
    : peers_(peers),
      holders_(holders),
      clock_(clock),
      edges_(std::move(edges)) {}

GroupKeeper::~GroupKeeper() { Stop(); }

void GroupKeeper::Start(raft::ReplicatedLog& log) {
  log_ = &log;
  thread_ = std::thread([this] { Loop(); });
}

void GroupKeeper::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) {
    thread_.join();
  }
}

void GroupKeeper::Loop() {
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), kLookInterval)) {
        return;
      }
    }
    const GroupStatus group = Status();
    if (group.leader == group.self) {
      leaderless_since_ = absl::InfiniteDuration();
      PromoteLearners();
    } else if (group.leader != raft::kNobody) {
      leaderless_since_ = absl::InfiniteDuration();
    } else {
      LookWhetherRemoved();
    }
  }
}

GroupStatus GroupKeeper::Status() {
  GroupStatus group = peers_.status();
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mu_);
  if (group.leader != group.self) {
    term_ = 0;
    return group;
  }
  if (term_ != group.term) {
    term_ = group.term;
    leading_since_ = now;
    last_active_.clear();
    waiting_for_.clear();
  }
  for (auto& [id, progress] : group.progress) {
    if (progress.recently_active) last_active_[id] = now;
    const auto last = last_active_.find(id);
    progress.recently_active =
        last != last_active_.end() && now - last->second < kSilenceMax;
  }
  return group;
}

absl::Status GroupKeeper::CheckLeading(const GroupStatus& group) const {
  if (log_ != nullptr && group.self != raft::kNobody &&
      group.leader == group.self) {
    return absl::OkStatus();
  }
  const auto leader = group.membership.find(group.leader);
  return rpc::NotLeaderError(
      {leader == group.membership.end() ? "" : leader->second.address,
       group.term, peers_.Addresses()});
}

absl::Status GroupKeeper::Change(const raft::MembershipChange& change) {
  Answer<absl::Status> answer;
  log_->ChangeMembership(change, answer.Taker());
  const absl::Status changed = answer.Wait(
      kChangeTimeout, absl::UnavailableError("the log does not get ahead: too "
                                             "few masters answer"));
  if (changed.ok()) edges_.on_changed();
  return changed;
}

// ---------------------------------------------------------------------- add

absl::StatusOr<raft::NodeId> GroupKeeper::Adopt(const std::string& address,
                                                std::string* its_address) {
  proto::AdoptRequest request;
  request.set_cluster_id(std::string(peers_.cluster().bytes()));
  request.set_from(log_->status().self);
  request.set_version(std::string(Version()));
  proto::AdoptReply reply;
  MR_RETURN_IF_ERROR(
      peers_.Call(address, kCallTimeout,
                  [&](grpc::ClientContext& context,
                      const std::shared_ptr<grpc::Channel>& channel) {
                    return proto::MasterService::NewStub(channel)->Adopt(
                        &context, request, &reply);
                  }));
  if (reply.member() == raft::kNobody || reply.address().empty()) {
    return absl::InternalError(
        Av(Cat("the master at ", address, " does not say who it is")));
  }
  *its_address = reply.address();
  return reply.member();
}

absl::StatusOr<proto::MasterChangeReply> GroupKeeper::Add(
    const std::string& name) {
  MR_ASSIGN_OR_RETURN(const rpc::Address parsed, rpc::ParseAddress(name));
  const std::string address = parsed.ToString();
  absl::MutexLock lock(&changing_);
  GroupStatus group = Status();
  MR_RETURN_IF_ERROR(CheckLeading(group));
  raft::NodeId id = FindByAddress(group, address);
  if (id == raft::kNobody) {
    std::string its_address;
    const absl::StatusOr<raft::NodeId> adopted = Adopt(address, &its_address);
    if (rpc::IsRetryable(adopted.status())) {
      proto::MasterChangeReply reply;
      reply.mutable_master()->set_address(address);
      reply.set_waiting_for(Cat("no master answers at ", address, " (",
                                ToStd(adopted.status().message()), ")"));
      return reply;
    }
    MR_RETURN_IF_ERROR(adopted.status());
    id = *adopted;
    const auto known = group.membership.find(id);
    if (known == group.membership.end()) {
      LOG(INFO) << "adding master " << MasterName(id) << " at " << its_address;
      MR_RETURN_IF_ERROR(
          Change({raft::MembershipChange::Kind::kAddLearner, id, its_address}));
      group = Status();
    }
  }
  const auto member = group.membership.find(id);
  if (member != group.membership.end() && member->second.voter) {
    proto::MasterChangeReply reply;
    reply.set_done(true);
    *reply.mutable_master() = Describe(group, id);
    return reply;
  }
  std::string why;
  {
    absl::MutexLock inner(&mu_);
    if (const auto found = waiting_for_.find(id); found != waiting_for_.end()) {
      why = found->second;
    }
  }
  return Pending(group, id, why.empty() ? "it is being looked at" : why);
}

void GroupKeeper::PromoteLearners() {
  const GroupStatus group = Status();
  std::map<raft::NodeId, std::string> waiting_for;
  for (const auto& [id, member] : group.membership) {
    if (member.voter) continue;
    waiting_for[id] = Promote(group, id);
    absl::MutexLock lock(&mu_);
    waiting_for_ = waiting_for;
    if (stopping_) return;
  }
  absl::MutexLock lock(&mu_);
  waiting_for_ = std::move(waiting_for);
}

std::string GroupKeeper::Promote(const GroupStatus& group,
                                 raft::NodeId learner) {
  std::string why = WhyNotVoter(group, learner);
  if (!why.empty()) return why;
  absl::MutexLock lock(&changing_);
  // From here on whatever is named is held by a majority that counts it in.
  holders_.SetChange(BlobHolders::Change{learner, true});
  const absl::StatusOr<std::set<std::string>> named = edges_.named_blobs();
  why = named.ok() ? HoldAll(learner, *named)
                   : std::string(ToStd(named.status().message()));
  if (why.empty()) {
    const absl::Status promoted =
        Change({raft::MembershipChange::Kind::kAddVoter, learner, ""});
    if (promoted.ok()) {
      LOG(INFO) << "master " << MasterName(learner) << " votes from now on";
    } else {
      why = std::string(ToStd(promoted.message()));
    }
  }
  holders_.SetChange(std::nullopt);
  return why;
}

std::string GroupKeeper::HoldAll(raft::NodeId learner,
                                 const std::set<std::string>& blobs) {
  const std::optional<Peer> peer = peers_.Find(learner);
  if (!peer.has_value()) return "its address is not known";
  const std::vector<std::string> all(blobs.begin(), blobs.end());
  size_t missing = 0;
  for (size_t begin = 0; begin < all.size(); begin += kBlobsPerCall) {
    proto::HoldBlobsRequest request;
    *request.mutable_call() = peers_.CallTo(learner);
    for (size_t i = begin; i < std::min(all.size(), begin + kBlobsPerCall);
         ++i) {
      request.add_sha256(all[i]);
    }
    proto::HoldBlobsReply reply;
    const absl::Status status =
        peers_.Call(peer->address, kHoldTimeout,
                    [&](grpc::ClientContext& context,
                        const std::shared_ptr<grpc::Channel>& channel) {
                      return proto::MasterService::NewStub(channel)->HoldBlobs(
                          &context, request, &reply);
                    });
    if (!status.ok()) {
      return Cat("it fetches ", all.size(),
                 " files of jobs (programs, plans, manifests); the last call "
                 "said: ",
                 ToStd(status.message()));
    }
    missing += static_cast<size_t>(reply.missing_size());
  }
  if (missing == 0) return "";
  return Cat("it lacks ", missing, " of ", all.size(),
             " files of jobs (programs, plans, manifests) that no master "
             "which answers could give it");
}

// ------------------------------------------------------------------- remove

absl::StatusOr<proto::MasterChangeReply> GroupKeeper::Remove(
    const std::string& name) {
  absl::MutexLock lock(&changing_);
  const GroupStatus group = Status();
  MR_RETURN_IF_ERROR(CheckLeading(group));
  MR_ASSIGN_OR_RETURN(const raft::NodeId id, ResolveMember(group, name));
  if (const absl::Status may = MayRemove(group, id); !may.ok()) {
    bool new_here = false;
    {
      absl::MutexLock inner(&mu_);
      new_here = clock_.Monotonic() - leading_since_ < kSilenceMax;
    }
    if (!new_here || !absl::IsFailedPrecondition(may)) return may;
    return Pending(group, id, "the new leader hears who is there");
  }
  if (id == group.self) {
    MR_RETURN_IF_ERROR(log_->TransferLeadership(raft::kNobody));
    return Pending(group, id, "another master to take the lead first");
  }
  const bool votes = group.membership.at(id).voter;
  if (votes) {
    holders_.SetChange(BlobHolders::Change{id, false});
    const absl::StatusOr<std::set<std::string>> named = edges_.named_blobs();
    Answer<absl::Status> settled;
    if (named.ok()) holders_.Want(*named, settled.Taker());
    const absl::Status held =
        named.ok() ? settled.Wait(kSettleTimeout,
                                  absl::DeadlineExceededError("not yet"))
                   : named.status();
    // What is nowhere is not lost by this.
    if (!held.ok() && !absl::IsNotFound(held)) {
      holders_.SetChange(std::nullopt);
      if (!absl::IsDeadlineExceeded(held)) return held;
      return Pending(group, id,
                     "files of jobs (programs, plans, manifests) are on their "
                     "way to the masters that stay");
    }
  }
  const absl::Status removed =
      Change({raft::MembershipChange::Kind::kRemove, id, ""});
  if (votes) holders_.SetChange(std::nullopt);
  MR_RETURN_IF_ERROR(removed);
  LOG(INFO) << "master " << MasterName(id) << " is removed";
  proto::MasterChangeReply reply;
  reply.set_done(true);
  *reply.mutable_master() = Describe(group, id);
  reply.mutable_master()->set_role("removed");
  return reply;
}

void GroupKeeper::LookWhetherRemoved() {
  const absl::Duration now = clock_.Monotonic();
  if (leaderless_since_ == absl::InfiniteDuration()) leaderless_since_ = now;
  if (now - leaderless_since_ < kLeaderlessMax || now < ask_at_) return;
  ask_at_ = now + kAskInterval;
  const uint64_t commit_index = log_->status().commit_index;
  for (const Peer& peer : peers_.Others()) {
    if (!SaysRemoved(peer, commit_index)) continue;
    LOG(ERROR) << "this master was removed from its cluster: it takes no part "
                  "any more, and its directory is of no use";
    {
      absl::MutexLock changing(&changing_);
      log_ = nullptr;
      absl::MutexLock lock(&mu_);
      stopping_ = true;
    }
    edges_.on_removed();
    return;
  }
}

// A leader that knows all that this master knows to be committed, its addition
// with it, and does not count it among the members.
bool GroupKeeper::SaysRemoved(const Peer& peer, uint64_t commit_index) {
  proto::DescribeRequest request;
  *request.mutable_call() = peers_.CallTo(peer.id);
  proto::DescribeReply reply;
  const absl::Status status =
      peers_.Call(peer.address, kCallTimeout,
                  [&](grpc::ClientContext& context,
                      const std::shared_ptr<grpc::Channel>& channel) {
                    return proto::MasterService::NewStub(channel)->Describe(
                        &context, request, &reply);
                  });
  return status.ok() && reply.leader() == peer.id &&
         !reply.caller_is_member() && reply.commit_index() >= commit_index;
}

// ----------------------------------------------------------------- transfer

absl::StatusOr<proto::MasterChangeReply> GroupKeeper::Transfer(
    const std::string& name) {
  absl::MutexLock lock(&changing_);
  const GroupStatus group = Status();
  MR_RETURN_IF_ERROR(CheckLeading(group));
  raft::NodeId id = raft::kNobody;
  if (name.empty()) {
    uint64_t furthest = 0;
    for (const auto& [other, progress] : group.progress) {
      const auto member = group.membership.find(other);
      if (other == group.self || member == group.membership.end() ||
          !member->second.voter || !progress.recently_active) {
        continue;
      }
      if (id == raft::kNobody || progress.match > furthest) {
        id = other;
        furthest = progress.match;
      }
    }
    if (id == raft::kNobody) {
      return absl::FailedPreconditionError(
          "there is no other voter that could take the lead");
    }
  } else {
    MR_ASSIGN_OR_RETURN(id, ResolveMember(group, name));
  }
  if (id == group.self) {
    proto::MasterChangeReply reply;
    reply.set_done(true);
    *reply.mutable_master() = Describe(group, id);
    return reply;
  }
  if (!group.membership.at(id).voter) {
    return absl::FailedPreconditionError(
        Av(Cat("master ", MasterName(id), " has no vote yet")));
  }
  const absl::Status begun = log_->TransferLeadership(id);
  // One that is under way already refuses another.
  if (!begun.ok() && !absl::IsFailedPrecondition(begun)) return begun;
  return Pending(group, id, Cat(MasterName(id), " to take the lead"));
}

// --------------------------------------------------------------------- list

proto::MasterStatus GroupKeeper::Describe(const GroupStatus& group,
                                          raft::NodeId id) const {
  proto::MasterStatus status;
  if (id == group.self) status = edges_.self();
  status.set_id(MasterName(id));
  if (const auto member = group.membership.find(id);
      member != group.membership.end() && !member->second.address.empty()) {
    status.set_address(member->second.address);
  }
  status.set_role(std::string(RoleOf(group, id)));
  status.set_term(id == group.self ? group.term : 0);
  status.set_state(id == group.self ? "up" : "unknown");
  if (group.leader == group.self) {
    status.set_entries_behind(EntriesBehind(group, id));
    absl::MutexLock lock(&mu_);
    const auto found = waiting_for_.find(id);
    if (found != waiting_for_.end()) status.set_waiting_for(found->second);
  }
  return status;
}

proto::MasterChangeReply GroupKeeper::Pending(const GroupStatus& group,
                                              raft::NodeId id,
                                              std::string waiting_for) const {
  proto::MasterChangeReply reply;
  *reply.mutable_master() = Describe(group, id);
  reply.set_waiting_for(std::move(waiting_for));
  return reply;
}

}  // namespace millrace::master
