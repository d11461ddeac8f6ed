// What may be done to a group of masters, and what has to be waited for. Pure.
#ifndef MILLRACE_MASTER_GROUP_GROUP_RULES_H_
#define MILLRACE_MASTER_GROUP_GROUP_RULES_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/replicated_log.h"

namespace millrace::master {

using GroupStatus = raft::ReplicatedLog::GroupStatus;

// A learner that lacks no more than so many entries has caught up: under load
// there are always some on their way.
inline constexpr uint64_t kEntriesBehindMax = 1000;

// Entries that the member lacks, as its leader sees it; of the leader itself 0.
uint64_t EntriesBehind(const GroupStatus& group, raft::NodeId id);

// Which member is meant: its id, a unique prefix of it, or its address.
//   kNotFound         none
//   kInvalidArgument  several; or nothing was said
absl::StatusOr<raft::NodeId> ResolveMember(const GroupStatus& group,
                                           std::string_view name);
// Likewise; kNobody when there is none.
raft::NodeId FindByAddress(const GroupStatus& group, std::string_view address);

// On the leader: what keeps this learner from becoming a voter, as far as the
// log tells; "": nothing does.
std::string WhyNotVoter(const GroupStatus& group, raft::NodeId learner);

// On the leader: whether the group can do without the member.
//   kInvalidArgument     it is the only voter
//   kFailedPrecondition  too few of those that would be left are there to go on
absl::Status MayRemove(const GroupStatus& group, raft::NodeId id);

// "leader", "standby", "learner".
std::string_view RoleOf(const GroupStatus& group, raft::NodeId id);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_GROUP_RULES_H_
