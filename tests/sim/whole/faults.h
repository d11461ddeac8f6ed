// The faults that a simulated cluster knows, the steps of a job that they can
// meet, and how often each met which. A fault counts when it had an effect: one
// that met nobody (a full disk that nobody wrote to) does not.
#ifndef MILLRACE_TESTS_SIM_WHOLE_FAULTS_H_
#define MILLRACE_TESTS_SIM_WHOLE_FAULTS_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace millrace::wholesim {

enum class Fault : uint8_t {
  // Machines.
  kWorkerKilled,   // kill -9; it comes back with what its disk has.
  kWorkerPaused,   // Stands still, with or without its job processes.
  kHostRestarted,  // Nothing of the spool is trusted afterwards.
  kWorkerSlow,     // Everything takes 20 times as long.
  // Job processes.
  kProcessCrashed,
  kProcessHung,    // Until the supervisor ends it.
  kProcessExited,  // Before its task did.
  kSpawnFailed,
  // The network.
  kStreamBroken,    // Of a worker to a master; both learn of it.
  kStreamHalfOpen,  // The master does not, for a while.
  kMessagesDelayed,
  kLinkCut,       // Between a worker and all masters, for a while.
  kLinkOneWay,    // What one of the two says arrives, the rest does not.
  kFetchCut,      // A worker cannot reach another one.
  kFetchReset,    // In the middle of a transfer.
  kFetchStalled,  // It never says anything again.
  kFetchFlipped,  // A bit on the wire.
  kFetchSwapped,  // The bytes of another partition.
  // Disks.
  kDiskFull,
  kWriteError,
  kReadError,
  kOutputFlipped,  // A bit of a map output rots.
  kOutputCut,
  kOutputDeleted,
  kStoreAway,    // The store of inputs and outputs.
  kStoreStalls,  // An operation there takes its time: others overtake it.
  // Clocks.
  kClockJump,  // Forward: a monotonic one does not go back.
  kClockRate,
  // Masters.
  kMasterKilled,
  kLeaderDeposed,  // It goes on commanding until it learns of it.
  kMasterStalled,
  kLogSlow,
  kBlobMissing,  // The masters cannot be asked for it.
  kBlobLost,     // An entry names a blob that no master has.
  // Jobs and people.
  kOtherRecords,  // A map that runs again gives other records.
  kInputChanged,
  kClientRepeats,
  kClientKills,
  kWorkerDrained,
  kCount,
};
inline constexpr size_t kFaults = static_cast<size_t>(Fault::kCount);

enum class Step : uint8_t {
  kSubmit,  // A client waits for the answer.
  kPlan,
  kMapPrepare,  // Granted; its plan and program are on their way.
  kMapRun,
  kMapDone,  // Told to the leader; not yet in the log.
  kMapHeld,  // Its output stands in a spool, for reduces that come.
  kFetch,
  kReduceRun,
  kReduceDone,
  kCheck,
  kPublish,
  kCleanup,  // The job has ended; workers delete what they have of it.
  // Beside those.
  kSecond,    // A second attempt of a task that runs elsewhere already.
  kExcluded,  // The leader gives the worker nothing, or one task at a time.
  kCount,
};
inline constexpr size_t kSteps = static_cast<size_t>(Step::kCount);
using StepSet = std::bitset<kSteps>;

inline StepSet Only(Step step) {
  return StepSet().set(static_cast<size_t>(step));
}

// "worker killed", "map run".
std::string_view FaultName(Fault fault);
std::string_view StepName(Step step);

// Why a fault cannot meet a step; "": it can.
std::string_view WhyImpossible(Fault fault, Step step);

class Coverage {
 public:
  // `met` may be empty: an effect on something that is no step of a job.
  void Hit(Fault fault, StepSet met);

  uint64_t of(Fault fault) const { return faults_[static_cast<size_t>(fault)]; }
  uint64_t of(Fault fault, Step step) const {
    return cells_[static_cast<size_t>(fault)][static_cast<size_t>(step)];
  }
  uint64_t total() const;
  Coverage& operator+=(const Coverage& other);

  std::map<std::string, uint64_t> FaultCounts() const;
  std::map<std::string, uint64_t> CellCounts() const;

 private:
  std::array<uint64_t, kFaults> faults_{};
  std::array<std::array<uint64_t, kSteps>, kFaults> cells_{};
};

// The matrix as a table in Markdown, and below it why cells are impossible.
// `*empty`: how many cells that can be met have not been.
std::string MatrixTable(const std::map<std::string, uint64_t>& cells,
                        size_t* empty);

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_FAULTS_H_
