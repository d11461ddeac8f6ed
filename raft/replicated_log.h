// A log of entries that a group of masters agrees on. What stands in it as
// committed is never lost and never changes; everything that the masters must
// not forget goes through it.
//
//   Propose ──► durable on a quorum ──► OnCommitted, in order, on every member
//
// A group of one is the same thing with a quorum of one: the entry is committed
// when it is durable here.
//
// The caller applies an entry when it is committed, never when it proposes it.
// A proposal that was accepted may still be dropped when leadership is lost; or
// its fate may be unknown. So proposals must be safe to repeat, and their
// preconditions are checked when they are applied.
#ifndef MILLRACE_RAFT_REPLICATED_LOG_H_
#define MILLRACE_RAFT_REPLICATED_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace millrace::raft {

struct CommittedEntry {
  uint64_t index = 0;  // Ascending; the log's own entries are left out.
  uint64_t term = 0;   // In which it was proposed; never decreases.
  std::string payload;
};

// Called on a thread of the log, one call at a time, in this order:
//   OnCommitted for every entry that a member had when it started (in batches),
//   then OnLeading or OnFollowing, and from then on whatever happens.
// Implementations post to their own loop and return at once. A slow one holds
// up the log.
class LogSink {
 public:
  virtual ~LogSink() = default;

  virtual void OnCommitted(std::vector<CommittedEntry> entries) = 0;

  // This member leads `term`. Every entry of earlier terms that can ever be
  // committed has been handed over by OnCommitted before this call.
  virtual void OnLeading(uint64_t term) = 0;

  // This member does not lead. Proposals of terms that it led and that were not
  // handed over have an unknown fate. `leader_address` may be empty.
  virtual void OnFollowing(uint64_t term, std::string leader_address) = 0;
};

// Thread-safe.
class ReplicatedLog {
 public:
  // Stops; no call of the sink is under way or comes afterwards.
  virtual ~ReplicatedLog() = default;

  // Appends the payloads in order, all or none, and returns before they are
  // durable; OnCommitted follows. An error of the disk ends the process (a
  // failed fsync says nothing about what is on the disk, so there is nothing
  // safe to do next).
  //   kFailedPrecondition  this member does not lead `term`
  //   kResourceExhausted   too much is proposed and not yet committed, or the
  //                        disk is nearly full: try again later
  //   kInvalidArgument     a payload is longer than kPayloadBytesMax
  virtual absl::Status Propose(uint64_t term,
                               std::vector<std::string> payloads) = 0;
};

inline constexpr size_t kPayloadBytesMax = 8 << 20;

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_REPLICATED_LOG_H_
