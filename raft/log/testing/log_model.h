// A log as a plain list, to compare the real one with, and a small life of a
// log that meets everything: appends, truncations, votes, several appends to
// one sync, full segments, a snapshot.
#ifndef MILLRACE_RAFT_LOG_TESTING_LOG_MODEL_H_
#define MILLRACE_RAFT_LOG_TESTING_LOG_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/random.h"
#include "raft/log/segment_log.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {

struct ModelLog {
  uint64_t base_index = 0;  // Entries begin behind it.
  HardState hard;
  std::vector<LogEntry> entries;

  uint64_t last_index() const { return base_index + entries.size(); }
  friend bool operator==(const ModelLog&, const ModelLog&) = default;
};

// Whether both have the same hard state and end, and the same entries as far as
// both hold them: a log that dropped entries behind a snapshot is the same log.
bool SameLog(const ModelLog& a, const ModelLog& b);

std::ostream& operator<<(std::ostream& out, const ModelLog& log);

// What `log` reads as now. A read error is an error.
absl::StatusOr<ModelLog> ReadModel(const SegmentLog& log);

// `count` entries from `first` on, with payloads of `bytes` bytes that depend
// on index and term.
std::vector<LogEntry> MakeEntries(uint64_t first, size_t count, uint64_t term,
                                  size_t bytes);

// One step of a log's life.
struct LogStep {
  enum Kind { kAppend, kSync, kSpare, kReset, kDrop, kClose };
  Kind kind = kSync;
  // kAppend.
  std::optional<uint64_t> truncate_from;
  std::vector<LogEntry> entries;
  std::optional<HardState> hard;
  // kReset, kDrop.
  uint64_t index = 0;
  uint64_t term = 0;  // kReset.
};

// Options for the smallest segments, so that few entries fill them.
SegmentLogOptions SmallLogOptions();

// Fifteen syncs over five segments; reset and drop only `with_snapshot`.
std::vector<LogStep> SmallLife(bool with_snapshot);
// `steps` steps drawn from `random`, as Raft might take them.
std::vector<LogStep> RandomLife(Random& random, size_t steps);

// Runs steps on a log and keeps account of what it must hold after a crash.
class LogRunner {
 public:
  // Opens the log. `disk` outlives this.
  LogRunner(const SegmentLogOptions& options, SimDisk& disk);
  // For a log that somebody else has opened with these options, and that is
  // empty; it outlives this.
  LogRunner(const SegmentLogOptions& options, SegmentLog& log);

  // Takes the steps until one fails for good. kResourceExhausted is tried
  // again, once.
  void Run(const std::vector<LogStep>& steps);

  // From the last state that was acknowledged to the newest, by records: after
  // a crash the log must be one of these.
  const std::vector<ModelLog>& possible() const { return possible_; }
  // Every state that the log has been in, by records.
  const std::vector<ModelLog>& history() const { return history_; }
  // That the life has made durable so far.
  const LogSnapshot& snapshot() const { return snapshot_; }
  bool fatal() const { return fatal_; }
  // Of Open, or of the step that failed.
  const absl::Status& status() const { return status_; }
  SegmentLog* log() { return log_; }

 private:
  absl::Status Take(const LogStep& step);
  void Append(const LogStep& step);
  void Push(const ModelLog& log);

  std::vector<ModelLog> possible_ = {ModelLog()};
  std::vector<ModelLog> history_ = {ModelLog()};
  LogSnapshot snapshot_;
  uint64_t record_bytes_target_;
  bool fatal_ = false;
  absl::Status status_;
  std::unique_ptr<SegmentLog> owned_;
  SegmentLog* log_ = nullptr;
};

// Opens the log on `disk`, reads it, and closes nothing: as after a start that
// is killed at once.
absl::StatusOr<ModelLog> Recover(SegmentLogOptions options,
                                 const LogSnapshot& snapshot, SimDisk& disk);

// Calls `with` for each combination of answers to the questions that a run of
// it asks; at most `limit` times, then false.
bool ForEachChoice(size_t limit,
                   const std::function<void(const SimDisk::Choose&)>& with);

// Calls `check` with what a power cut of `disk` may leave: with everything that
// it may, if that is at most `limit` disks; else with each beginning and each
// end of what was not synced, and with `drawn` disks drawn from `seed`.
void ForEachPowerCut(
    const SimDisk& disk, size_t limit, size_t drawn, uint64_t seed,
    const std::function<void(std::unique_ptr<SimDisk>)>& check);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_TESTING_LOG_MODEL_H_
