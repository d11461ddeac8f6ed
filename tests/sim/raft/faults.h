// The faults that a simulation knows, and how many of each had an effect: one
// that met nobody (a pause of a dead process, a cut of a link that nobody used)
// is not counted.
#ifndef MILLRACE_TESTS_SIM_RAFT_FAULTS_H_
#define MILLRACE_TESTS_SIM_RAFT_FAULTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace millrace::raftsim {

// Of the network each is a stretch of time, counted once when it first touched
// a message; of disks and processes each is one event.
enum class Fault : uint8_t {
  kLoss,
  kDuplication,
  kReordering,
  kDelay,
  kPartition,    // Two halves.
  kOneWayCut,    // One machine hears, but is not heard, or the other way round.
  kBridge,       // Two halves that both see one machine in the middle.
  kLeaderCut,    // The leader alone, right after it was given a proposal.
  kClockRate,    // A machine's ticks come faster or slower than they should.
  kPause,        // A process stands still.
  kMailboxFull,  // A message found no room at a process.
  kKill,         // A process dies; what it wrote stays.
  kPowerCut,     // What was not synced is kept or lost sector by sector.
  kKillAtCall,   // The same in the middle of the disk's work.
  kPowerCutAtCall,
  kPowerCutAll,  // Of all machines at once.
  kSlowDisk,     // A sync takes up to 5 s.
  kDiskFull,
  kIoError,
  kSyncDropsPages,  // A sync fails, and the next would not write it either.
  kBitRot,          // A bit on the disk changes while the process is down.
  kDiskLost,        // The machine comes back as a new member.
  kMembership,      // A change of the group; counted when it is applied.
  kTransfer,        // Of leadership; counted when it is begun.
  kSnapshotBroken,  // A snapshot on its way to another member breaks off.
  kStateSlow,       // The state machine lags behind what is committed.
  kCount,
};

inline constexpr size_t kFaults = static_cast<size_t>(Fault::kCount);

// "power cut at call".
std::string_view FaultName(Fault fault);

class FaultCounts {
 public:
  void Add(Fault fault) { ++counts_[static_cast<size_t>(fault)]; }
  uint64_t of(Fault fault) const { return counts_[static_cast<size_t>(fault)]; }
  uint64_t total() const {
    uint64_t sum = 0;
    for (uint64_t n : counts_) sum += n;
    return sum;
  }
  FaultCounts& operator+=(const FaultCounts& other) {
    for (size_t i = 0; i < kFaults; ++i) counts_[i] += other.counts_[i];
    return *this;
  }

 private:
  std::array<uint64_t, kFaults> counts_{};
};

// A stretch of time with a fault of the network: the first message that it
// touches makes it count.
struct Stretch {
  Fault fault;
  bool counted = false;

  void Touch(FaultCounts* counts) {
    if (!counted) counts->Add(fault);
    counted = true;
  }
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_FAULTS_H_
