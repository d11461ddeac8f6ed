// A member's store in small: a log whose entries make a state, snapshots of
// that state, and a life in which everything happens: snapshots taken and
// installed, transfers that break off, compaction. The state is a number that
// depends on every entry, so whatever a member starts with can be judged by the
// one that it arrives at.
#ifndef MILLRACE_RAFT_LOG_TESTING_STORE_MODEL_H_
#define MILLRACE_RAFT_LOG_TESTING_STORE_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/random.h"
#include "raft/log/member_store.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {

// The state after `entry`, when it was `state` before; 0 before all entries.
uint64_t NextState(uint64_t state, const LogEntry& entry);
// A state and the members at that point, as they stand in a snapshot: 40 to 400
// bytes, and some.
std::string StateBytes(uint64_t state);
std::string StateConfiguration(uint64_t state);
// The inverse of both; an error if it is no such snapshot.
absl::StatusOr<uint64_t> ReadState(SnapshotReader& reader);

// What the member has that `store` was opened for.
struct MemberState {
  HardState hard;
  uint64_t last_index = 0;
  uint64_t state = 0;  // After the last entry.
  friend bool operator==(const MemberState&, const MemberState&) = default;
};
std::ostream& operator<<(std::ostream& out, const MemberState& member);
absl::StatusOr<MemberState> ReadMember(const MemberStore& store);

// A snapshot as a leader sends it.
struct SentSnapshot {
  std::string description;
  std::vector<std::string> chunks;
};
SentSnapshot MakeSent(const ClusterId& cluster, uint64_t index, uint64_t term,
                      uint64_t state, uint64_t chunk_bytes);
// State at the entry, as the leader of these tests has it.
uint64_t LeaderState(uint64_t index, uint64_t term);

// SmallLogOptions, and chunks of 64 bytes.
MemberStoreOptions SmallStoreOptions();

struct StoreStep {
  enum Kind { kLog, kSnapshot, kInstall, kCompact };
  Kind kind = kLog;
  LogStep log;                   // kLog.
  uint64_t index = 0, term = 0;  // kInstall.
  CompactionOptions compaction;  // kCompact.
};

// Four snapshots taken, two installed (one of which the log has caught up with
// by itself), some removed, segments dropped behind them.
std::vector<StoreStep> SmallStoreLife();
std::vector<StoreStep> RandomStoreLife(Random& random, size_t steps);

// Runs steps on a store and keeps account of what it must hold after a crash.
class StoreRunner {
 public:
  StoreRunner(const MemberStoreOptions& options, SimDisk& disk);

  // Takes the steps until the log fails for good. A snapshot that fails is
  // tried once more, as is what the disk had no space for.
  void Run(const std::vector<StoreStep>& steps);

  // Opens what `disk` holds now and says what is wrong with it; "" if it is
  // what the member may have then.
  std::string Check(SimDisk& disk) const;
  // The same, and that what was opened stays what it is when the power goes,
  // and can be used.
  std::string CheckAndUse(SimDisk& disk) const;

  bool fatal() const { return fatal_; }
  // Of Open, or of the step that failed for good.
  const absl::Status& status() const { return status_; }
  // Errors of snapshots that did not come about.
  const std::vector<absl::Status>& lost() const { return lost_; }
  // Of steps after which something stood in the directory that should not.
  const std::string& litter() const { return litter_; }
  MemberStore& store() { return store_; }
  MemberState Newest() const;

 private:
  absl::Status Take(const StoreStep& step);
  absl::Status TakeSnapshot();
  absl::Status Install(uint64_t index, uint64_t term);
  absl::Status Transfer(const SentSnapshot& sent);
  uint64_t StateAt(const ModelLog& log, uint64_t index) const;
  std::string CheckOpened(SimDisk& disk, MemberState* found) const;
  void LookForLitter(const absl::Status& status);

  const MemberStoreOptions options_;
  SimDisk& disk_;
  std::vector<absl::Status> lost_;
  std::string litter_;
  absl::Status status_;
  bool fatal_ = false;
  MemberStore store_;
  std::optional<LogRunner> runner_;
  std::map<uint64_t, uint64_t> base_states_ = {{0, 0}};  // By base index.
  uint64_t snapshot_ = 0;  // Index of the newest that counts.
  // The log that there is once the last snapshot from a leader that was begun
  // is installed; no base: there was none.
  ModelLog pending_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_TESTING_STORE_MODEL_H_
