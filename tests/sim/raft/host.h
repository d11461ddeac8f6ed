// What a machine is to the process that runs on it.
#ifndef MILLRACE_TESTS_SIM_RAFT_HOST_H_
#define MILLRACE_TESTS_SIM_RAFT_HOST_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/random.h"
#include "raft/core/message.h"
#include "tests/sim/raft/faults.h"
#include "tests/sim/raft/trace.h"

namespace millrace::raftsim {

// The events of a process. Between any two of them it may die.
enum class Step : uint8_t {
  kStart,
  kTick,
  kMessage,
  kRequest,        // Of a client or the operator.
  kFlush,          // What waits is written and synced...
  kDurable,        // ... and only now it is said.
  kPump,           // The node's thread gets to what has come.
  kDeliver,        // To the state machine.
  kSnapshotTaken,  // The state machine has frozen its state...
  kSnapshotWrite,  // ... and it is written.
  kSnapshotPiece,  // Of one on its way from or to another member.
  kCount,
};

// One piece of a snapshot on its way between two members, or what the other
// says to it.
struct SnapshotPiece {
  enum class Kind : uint8_t { kBegin, kChunk, kWanted, kDone, kRefused };
  Kind kind = Kind::kBegin;
  raft::NodeId from = raft::kNobody;
  raft::NodeId to = raft::kNobody;
  uint64_t transfer = 0;  // Unique to the sender's process.
  raft::Message message;  // kBegin.
  std::string bytes;      // kBegin: the description. kChunk.
  uint64_t number = 0;    // kChunk; kWanted: what to send next.
};

// Where the member has its files.
inline constexpr char kMemberDirectory[] = "/member";

class Host {
 public:
  virtual ~Host() = default;

  virtual int machine() const = 0;
  virtual Random& random() = 0;
  virtual Trace& trace() = 0;
  virtual absl::Duration now() const = 0;
  // A fault had an effect.
  virtual void Count(Fault fault) = 0;
  // How long a sync takes, or the state machine, right now.
  virtual absl::Duration SyncTime() = 0;
  virtual absl::Duration ApplyTime() = 0;

  // Unless the process has ended by then.
  virtual void After(absl::Duration wait, Step step,
                     std::function<void()> what) = 0;
  virtual void Send(raft::Message message) = 0;
  virtual void Send(SnapshotPiece piece) = 0;
  // The process cannot go on. It ends when the event does, and what it does
  // until then reaches nobody.
  virtual void Die(const absl::Status& why) = 0;
  // False: it has died in this event.
  virtual bool alive() const = 0;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_HOST_H_
