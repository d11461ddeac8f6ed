// Carries out the core's writes on the segment log: all that wait, in one or a
// few appends, and one fdatasync.
#ifndef MILLRACE_RAFT_NODE_LOG_WRITER_H_
#define MILLRACE_RAFT_NODE_LOG_WRITER_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/core/core.h"
#include "raft/log/segment_log.h"
#include "raft/node/node_log.h"

namespace millrace::raft {

// Confined to who writes the log. Blocks in the disk, and nowhere else.
class LogWriter {
 public:
  // Both outlive the writer.
  LogWriter(SegmentLog& log, NodeLog& view);

  struct Done {
    uint64_t id = 0;  // Of the last write, for NodeCore::OnLogDurable.
    std::vector<Message> messages;  // May leave now, before that call.
  };

  // In the order in which the core handed them out.
  void Add(LogWrite write);
  // Whether Flush has anything to do.
  bool idle() const { return steps_.empty() && !done_.has_value(); }

  // Makes everything that was added durable.
  //   kResourceExhausted  no space; nothing is lost, call it again later
  //   others              the log's, final: the process ends
  // REQUIRES: !idle().
  absl::StatusOr<Done> Flush();

  // Removes segments that hold nothing after `index`; errors are those of Flush
  // and SegmentLog::DropThrough.
  absl::Status Drop(uint64_t index);
  // Before the end: writes what could wait until now.
  absl::Status Close();

 private:
  // One call of the log: a reset at most, then an append.
  struct Step {
    std::optional<SnapshotMeta> snapshot;
    std::optional<uint64_t> truncate_from;
    std::vector<LogEntry> entries;
    uint64_t cost = 0;  // Of the entries, as append_bytes_max counts.
  };

  absl::Status Carry(Step& step, bool last);
  absl::Status BeginAnew(const EntryId& last);
  // What Flush has left.
  absl::Status WriteHardState();

  SegmentLog& log_;
  NodeLog& view_;
  std::deque<Step> steps_;
  // The newest; the earlier ones need not be written. Stays behind after Flush
  // when it raises the commit index alone: that is not worth a write.
  std::optional<HardState> hard_state_;
  bool must_sync_ = false;
  std::optional<Done> done_;  // What is said when the steps are carried out.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_LOG_WRITER_H_
