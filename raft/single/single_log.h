// The replicated log of a group of one: an entry is committed when it is
// durable here.
//
//   Propose ─► queue ─► log thread: write all that is queued, one fdatasync,
//                       OnCommitted, again
//
// Each start makes a new term durable before it leads, so no two starts of a
// master ever command in the same term. The format is the group's
// (raft/log/segment_log.h), with this member's own vote in every term, so the
// directory can later become one of a group's.
//
// When the disk is nearly full, new proposals are refused; should it fill up
// all the same, what was accepted waits until there is room.
#ifndef MILLRACE_RAFT_SINGLE_SINGLE_LOG_H_
#define MILLRACE_RAFT_SINGLE_SINGLE_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/log_types.h"
#include "raft/replicated_log.h"

namespace millrace::raft {

struct SingleLogOptions {
  // Made if it is not there; its parent must be.
  std::string directory;
  // The cluster that it must belong to; none: any, a new one at the first
  // start.
  std::optional<ClusterId> cluster;
  // See SegmentLogOptions. A payload must fit into a segment.
  uint64_t segment_bytes = uint64_t{64} << 20;
  uint64_t free_bytes_min = uint64_t{64} << 20;
  // Payloads that are proposed and not yet handed over; beyond it Propose says
  // kResourceExhausted. A proposal of more than this is kInvalidArgument.
  uint64_t uncommitted_bytes_max = uint64_t{64} << 20;
  // Payloads that one fdatasync makes durable; a limit on how long a proposal
  // waits for others, and on the memory of a batch handed over.
  uint64_t group_bytes_max = uint64_t{8} << 20;
  // How long to wait before a full disk is tried again.
  absl::Duration retry_interval = absl::Seconds(1);
  // See SegmentLogOptions::on_fatal.
  std::function<void(const absl::Status&)> on_fatal;
};

class SingleLog : public ReplicatedLog {
 public:
  virtual const LogIdentity& identity() const = 0;
};

// Recovers the log, which may take as long as reading it does, and starts its
// threads. `sink` gets everything from them, also before this returns; it and
// `disk` outlive the log. `random` is used during the call, to mint the ids at
// the first start. Errors are SegmentLog::Open's.
absl::StatusOr<std::unique_ptr<SingleLog>> OpenSingleLog(
    const SingleLogOptions& options, Disk& disk, Random& random, LogSink& sink);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_SINGLE_SINGLE_LOG_H_
