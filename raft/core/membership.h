// Changes of who belongs to the group, one at a time: a learner is added,
// becomes a voter, leaves. Two adjacent memberships differ in at most one
// voter, so any two of their majorities meet (Ongaro's dissertation, 4.1);
// joint consensus is not needed for it.
#ifndef MILLRACE_RAFT_CORE_MEMBERSHIP_H_
#define MILLRACE_RAFT_CORE_MEMBERSHIP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/core/types.h"

namespace millrace::raft {

struct MembershipChange {
  enum class Kind : uint8_t {
    kNone = 0,        // Nothing; what a refused change becomes.
    kAddVoter = 1,    // Also promotes a learner.
    kAddLearner = 2,  // Also demotes a voter.
    kRemove = 3,
    kUpdate = 4,  // The address alone.
  };
  Kind kind = Kind::kNone;
  NodeId node = kNobody;
  std::string address;  // Empty: the known one stays.
  friend bool operator==(const MembershipChange&,
                         const MembershipChange&) = default;
};

inline constexpr size_t kMembersMax = 64;
inline constexpr size_t kAddressBytesMax = 1024;

// The payload of a kMembershipEntry. Byte layout in membership.cc and
// docs/formats.md. Decoding: kDataLoss for anything that Encode did not write.
std::string EncodeMembershipChange(const MembershipChange& change);
absl::StatusOr<MembershipChange> DecodeMembershipChange(std::string_view bytes);
// Of a whole membership, for snapshots.
std::string EncodeMembership(const Membership& membership);
absl::StatusOr<Membership> DecodeMembership(std::string_view bytes);

// What `membership` becomes. kInvalidArgument: no voter would be left, the node
// is nobody, its address too long, or the group too large. A change of what is
// so already, or of an unknown node's address, or a removal of one, changes
// nothing.
absl::StatusOr<Membership> ApplyChange(const Membership& membership,
                                       const MembershipChange& change);

size_t CountVoters(const Membership& membership);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_MEMBERSHIP_H_
