// Who belongs to the group of masters: adds, promotes, removes, hands
// leadership over, describes. The decisions stand in group_rules.h; the log
// carries them out.
//
// A thread of its own looks a few times a second. On the leader it makes voters
// of the learners that have caught up and hold every blob that the state names.
// On a master that hears no leader it asks the others whether it still belongs
// to them: who was removed while it was away is told by nobody.
#ifndef MILLRACE_MASTER_GROUP_GROUP_KEEPER_H_
#define MILLRACE_MASTER_GROUP_GROUP_KEEPER_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "master/group/blob_holders.h"
#include "master/group/group_rules.h"
#include "master/group/peers.h"
#include "proto/messages/client.pb.h"
#include "raft/replicated_log.h"

namespace millrace::master {

// Thread-safe.
class GroupKeeper {
 public:
  struct Edges {
    // What the jobs name and are about to name; waits for the answer. Not OK:
    // this master does not lead.
    std::function<absl::StatusOr<std::set<std::string>>()> named_blobs;
    // What this master says of itself.
    std::function<proto::MasterStatus()> self;
    // A member is added, made a voter or removed; before whoever asked for it
    // hears so.
    std::function<void()> on_changed;
    // It was removed; the log is not used any more. Called once, on the
    // keeper's thread.
    std::function<void()> on_removed;
  };

  // All outlive the keeper.
  GroupKeeper(Peers& peers, BlobHolders& holders, Clock& clock, Edges edges);
  ~GroupKeeper();

  // The log outlives Stop, or the call of on_removed.
  void Start(raft::ReplicatedLog& log);
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // The three changes. Each does the next step that is possible, waits for it
  // (seconds at most), and says what is left; whoever asked asks again until it
  // is done. Errors: what makes it impossible, and
  //   kUnavailable         outcome unknown, or leadership is changing
  //   kFailedPrecondition  this master does not lead (NotLeader); or the group
  //                        could not go on
  absl::StatusOr<proto::MasterChangeReply> Add(const std::string& address);
  absl::StatusOr<proto::MasterChangeReply> Remove(const std::string& name);
  absl::StatusOr<proto::MasterChangeReply> Transfer(const std::string& name);

  // All members, as far as is known here; the leader asks each of them, for a
  // second at most.
  void List(std::function<void(std::vector<proto::MasterStatus>)> done);

 private:
  void Loop();
  absl::Status CheckLeading(const GroupStatus& group) const;
  // Waits for a change of the membership.
  absl::Status Change(const raft::MembershipChange& change);
  absl::StatusOr<raft::NodeId> Adopt(const std::string& address,
                                     std::string* its_address);
  // The status of the log, where a member is active that was heard of within
  // the last seconds: the log starts to count anew all the time.
  GroupStatus Status() ABSL_LOCKS_EXCLUDED(mu_);
  void PromoteLearners();
  // "": it is a voter now; else what is waited for.
  std::string Promote(const GroupStatus& group, raft::NodeId learner);
  // "": it holds all; else what is missing.
  std::string HoldAll(raft::NodeId learner, const std::set<std::string>& blobs);
  void LookWhetherRemoved();
  bool SaysRemoved(const Peer& peer, uint64_t commit_index);
  proto::MasterStatus Describe(const GroupStatus& group, raft::NodeId id) const;
  proto::MasterChangeReply Pending(const GroupStatus& group, raft::NodeId id,
                                   std::string waiting_for) const;

  Peers& peers_;
  BlobHolders& holders_;
  Clock& clock_;
  const Edges edges_;

  // Confined to the thread.
  absl::Duration leaderless_since_ = absl::InfiniteDuration();
  absl::Duration ask_at_;

  // Held over calls: changes are made one at a time, with all that belongs to
  // each. Nobody else waits for it.
  absl::Mutex changing_ ABSL_ACQUIRED_BEFORE(mu_);
  // Set by Start; null again, under changing_, when this master was removed.
  raft::ReplicatedLog* log_ = nullptr;

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::map<raft::NodeId, std::string> waiting_for_ ABSL_GUARDED_BY(mu_);
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  // Since when this master leads that term; what it has heard since then.
  absl::Duration leading_since_ ABSL_GUARDED_BY(mu_);
  std::map<raft::NodeId, absl::Duration> last_active_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_GROUP_KEEPER_H_
