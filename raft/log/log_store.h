// What Raft asks of durable storage. One implementation today, SegmentLog; the
// contract stands in raft/log/log_store_test.cc for any other.
//
// Written is not yet durable: after Append and before Sync nothing may be said
// to anyone that rests on it (a vote, an acknowledgement, a term).
#ifndef MILLRACE_RAFT_LOG_LOG_STORE_H_
#define MILLRACE_RAFT_LOG_LOG_STORE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

// Reading is thread-safe and may run beside anything. Changing the log is for
// one thread at a time.
class LogStore {
 public:
  virtual ~LogStore() = default;

  virtual HardState hard_state() const = 0;
  // Of the first entry held, were there one: 1, or more behind a snapshot.
  virtual uint64_t first_index() const = 0;
  // first_index() - 1 when no entry is held.
  virtual uint64_t last_index() const = 0;
  // Of the entry, or of the one before the first. kOutOfRange: not held.
  virtual absl::StatusOr<uint64_t> Term(uint64_t index) const = 0;
  // Entries [first, end), or fewer from the beginning: at least one, and no
  // more than have payloads of `bytes_max` together. Also those that are not
  // yet synced. REQUIRES: first < end.
  //   kOutOfRange  not all of them are held
  //   kDataLoss    what is on the disk is not what was written
  virtual absl::StatusOr<std::vector<LogEntry>> Read(
      uint64_t first, uint64_t end, uint64_t bytes_max) const = 0;

  // All or nothing happens to the log as it is read here; a crash may keep any
  // beginning of what was appended since the last Sync.
  //   kInternal           the step breaks a rule of Raft (see LogState); a bug
  //   kInvalidArgument    larger than append_bytes_max()
  //   kResourceExhausted  no space; nothing happened, later it may work
  // Any other error is the disk's and final; the process should be gone.
  virtual absl::Status Append(const LogAppend& append) = 0;
  virtual absl::Status Sync() = 0;

  // Room for the entries of one Append; an entry takes its payload and
  // kLogEntryOverheadBytes.
  virtual uint64_t append_bytes_max() const = 0;
};

// Covers heads and padding of an entry that has a record to itself.
inline constexpr uint64_t kLogEntryOverheadBytes = 128;

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_LOG_STORE_H_
