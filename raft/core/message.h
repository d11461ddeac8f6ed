// What members of a group say to one another. One struct for all kinds, each of
// which uses the fields that stand beside it.
#ifndef MILLRACE_RAFT_CORE_MESSAGE_H_
#define MILLRACE_RAFT_CORE_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "raft/core/types.h"

namespace millrace::raft {

enum class MessageType : uint8_t {
  kAppend,             // prev, commit, entries
  kAppendResponse,     // prev.index: matched up to; or rejected, prev, hint
  kPreVote,            // term: the one it would stand for; prev: its last entry
  kPreVoteResponse,    // rejected
  kVote,               // prev: its last entry; transfer
  kVoteResponse,       // rejected
  kHeartbeat,          // commit, read_context
  kHeartbeatResponse,  // read_context
  kSnapshot,           // snapshot; its bytes travel apart from this message
  kTimeoutNow,         // Stand for election at once: leadership is handed over.
};

struct Message {
  MessageType type = MessageType::kAppend;
  NodeId from = kNobody;
  NodeId to = kNobody;
  uint64_t term = 0;

  EntryId prev;         // kAppend: the entry before the first of `entries`.
  uint64_t commit = 0;  // What the receiver may take for committed.
  std::vector<LogEntry> entries;
  bool rejected = false;
  // kAppendResponse, rejected: the last place where the sender's log may still
  // agree with the leader's (index and term of that entry). kVote, kPreVote and
  // their answers, rejected: the last entry that the sender knows to be
  // committed.
  EntryId hint;
  // kVote, kPreVote: on a leader's request, so nobody waits for its silence.
  bool transfer = false;
  // Numbers a round of heartbeats that reads wait for; 0: none do.
  uint64_t read_context = 0;
  std::optional<SnapshotMeta> snapshot;

  friend bool operator==(const Message&, const Message&) = default;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_MESSAGE_H_
