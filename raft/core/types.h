// What members of a Raft group agree on and speak about. Plain values.
#ifndef MILLRACE_RAFT_CORE_TYPES_H_
#define MILLRACE_RAFT_CORE_TYPES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::raft {

// A member of the group: 64 random bits, never used again. A disk that was lost
// comes back as a new member.
using NodeId = uint64_t;
inline constexpr NodeId kNobody = 0;

// Where an entry stands. Two logs that hold the same position hold the same
// entries up to it (Raft paper, 5.3, log matching).
struct EntryId {
  uint64_t term = 0;
  uint64_t index = 0;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

// What a member must remember beside the entries (Raft paper, figure 2).
struct HardState {
  uint64_t term = 0;    // Never decreases.
  NodeId vote = 0;      // Member voted for in `term`; 0: none yet.
  uint64_t commit = 0;  // Known to be committed; a lower bound.
  friend bool operator==(const HardState&, const HardState&) = default;
};

// Stored in LogEntry::kind; the numbers are part of the log's format.
enum EntryKind : uint8_t {
  kNormalEntry = 0,  // The caller's; empty: a new leader's first.
  kMembershipEntry =
      1,  // An encoded MembershipChange (raft/core/membership.h).
};

struct LogEntry {
  uint64_t index = 0;  // 1, 2, ... without gaps.
  uint64_t term = 0;   // Never decreases with the index.
  uint8_t kind = kNormalEntry;
  std::string payload;
  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

struct Member {
  bool voter = false;   // Else a learner: gets entries, has no vote.
  std::string address;  // "host:port"; nothing in raft/core reads it.
  friend bool operator==(const Member&, const Member&) = default;
};

// Who belongs to the group. Takes effect on a member when it applies the entry
// that says so, on restart and after a snapshot alike.
using Membership = std::map<NodeId, Member>;

// A snapshot as the core knows it: what it replaces, not what is in it.
struct SnapshotMeta {
  EntryId last;           // Of the last entry in it; index 0: there is none.
  Membership membership;  // After that entry.
  friend bool operator==(const SnapshotMeta&, const SnapshotMeta&) = default;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TYPES_H_
