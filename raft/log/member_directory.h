// The directory of one master: whose it is, and that nobody else uses it.
#ifndef MILLRACE_RAFT_LOG_MEMBER_DIRECTORY_H_
#define MILLRACE_RAFT_LOG_MEMBER_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

struct MemberDirectory {
  LogIdentity identity;
  std::unique_ptr<DiskLock> lock;
};

// Locks `directory` and reads its id. In a directory without an id, mints one
// and makes the first segment: the segment first, so that an id without a log
// is a log that was lost. `cluster`: the one it must belong to, or joins.
// Errors: see SegmentLog::Open.
absl::StatusOr<MemberDirectory> OpenMemberDirectory(
    const std::string& directory, const std::optional<ClusterId>& cluster,
    uint64_t segment_bytes, Disk& disk, Random& random);

// Where the next segment stands before it has a name.
std::string SparePath(std::string_view directory);

// Where snapshots are.
std::string SnapshotDirectory(std::string_view directory);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_MEMBER_DIRECTORY_H_
