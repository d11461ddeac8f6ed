// Reading a log back after a stop, a crash or a power cut.
//
// The one rule: a member never goes on with a shorter log than it had, because
// others may rely on what it acknowledged. So what is not as it should be is
// taken for the end of the log only where a crash explains it:
//
//   * in the last segment (a segment is complete before the next is used);
//   * behind every mark: no record that is still there says that this place had
//     been synced;
//   * and it looks as a write that did not finish does (TornEvidence).
//
// Such a *torn tail* was never acknowledged. It is zeroed, so that it cannot be
// taken for something later. Anything else is damage: kDataLoss with the file,
// the offset and what to do, and nothing is changed.
//
// What cannot be told from a crash, by anyone: the last group of records before
// a crash, lost from its first sector on by a disk that had promised to keep
// it.
#ifndef MILLRACE_RAFT_LOG_RECOVERY_H_
#define MILLRACE_RAFT_LOG_RECOVERY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/log/disk.h"
#include "raft/log/log_state.h"
#include "raft/log/log_types.h"
#include "raft/log/mutants.h"

namespace millrace::raft {

struct LogSegment {
  uint64_t seq = 0;
  uint64_t first_index = 0;
  std::string path;
  uint64_t seed = 0;  // Checksum of its header.
  // Whether the log may begin here once the segments before it are gone: no
  // record from here on removes an entry that stood before.
  bool can_begin = true;
};

struct RecoveredLog {
  LogState state{0, 0, {}};
  std::map<uint64_t, LogSegment> segments;  // By seq; at least one.
  // Of the last segment:
  std::unique_ptr<DiskFile> file;
  uint64_t segment_bytes = 0;
  uint64_t seed = 0;        // Checksum of its header.
  uint64_t chain = 0;       // Checksum of its last record.
  uint64_t end = 0;         // Everything before is valid and synced.
  uint64_t torn_bytes = 0;  // Zeroed: how much of a torn tail there was.
};

struct RecoveryOptions {
  std::string directory;  // The one that has "log" in it; for messages.
  LogIdentity identity;
  // The log must not begin later than behind it, nor end before it; the latter
  // only if the snapshot was taken here.
  LogSnapshot snapshot;
  // The log must hold this entry, or begin behind it: there is reason to
  // believe that it once did.
  uint64_t last_index_min = 0;
  LogMutant mutant;
};

std::string LogDirectory(std::string_view directory);

// kDataLoss: damaged. Other codes are the disk's.
absl::StatusOr<RecoveredLog> RecoverLog(const RecoveryOptions& options,
                                        Disk& disk);

// What to say of damage in a member's directory.
absl::Status DamagedLog(std::string_view directory, std::string_view path,
                        uint64_t offset, std::string_view what);

// Sequence numbers and names of the segments in the log directory; kDataLoss if
// a name is not one that the log gives. Other files are left out.
absl::StatusOr<std::map<uint64_t, LogSegment>> ListSegments(
    std::string_view directory, Disk& disk);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_RECOVERY_H_
