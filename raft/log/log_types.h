// What a Raft log holds, apart from how it is stored.
#ifndef MILLRACE_RAFT_LOG_LOG_TYPES_H_
#define MILLRACE_RAFT_LOG_LOG_TYPES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "common/ids.h"
#include "raft/core/types.h"

namespace millrace::raft {

// Who wrote a log. Both are random and never used again: a disk that was lost
// comes back as a new member.
struct LogIdentity {
  ClusterId cluster;
  uint64_t member = 0;  // Never 0, which means "nobody" in a vote.
  friend bool operator==(const LogIdentity&, const LogIdentity&) = default;
};

// What a log may rely on instead of entries: the newest durable snapshot.
struct LogSnapshot {
  uint64_t index = 0;  // Of the last entry in it; 0: there is none.
  uint64_t term = 0;   // Of that entry.
  // It came from a leader, so the log may still have to begin anew behind it.
  // One that was taken here is never ahead of the log.
  bool installed = false;
};

// One step of a log. The parts take effect in the order in which they stand
// here, and a crash may keep any beginning of them; the log writes them so that
// each beginning is a state that Raft allows (see SegmentLog::Append).
struct LogAppend {
  // Entries from this index on are removed first.
  std::optional<uint64_t> truncate_from;
  // Follow the last one that is left.
  std::span<const LogEntry> entries;
  std::optional<HardState> hard_state;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_LOG_TYPES_H_
