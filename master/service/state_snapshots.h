// How the state of a master becomes a snapshot of its log, and back. Between
// the log's two calls (raft/replicated_log.h) and the loop that owns the state:
//
//   log's thread           master loop             thread of the snapshots
//   OnSnapshotWanted ────► TakeSnapshot
//                            Freeze, done ───────► writes itself; may be told
//                                                  to break off
//   OnSnapshot
//     ReadSnapshot ──────► State::Swap
//                          Step(StateRestored)
//
// The loop stands still for State::Freeze and for Swap, not for reading or
// writing. That there is one snapshot at a time, that its file counts only once
// it is complete and durable, and that writing ends when the master does, is
// what the log sees to (raft/node/snapshot_cycle.h, raft/node/workers.h).
#ifndef MILLRACE_MASTER_SERVICE_STATE_SNAPSHOTS_H_
#define MILLRACE_MASTER_SERVICE_STATE_SNAPSHOTS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "common/byte_stream.h"
#include "master/state/state.h"
#include "raft/replicated_log.h"

namespace millrace::master {

// Answers OnSnapshotWanted with the state as it is now. To be called where the
// state is applied to; it may change as soon as this returns. What is handed to
// `done` may be written on any thread, returns the first error of its sink, and
// keeps what the state has replaced since until it is gone itself.
void TakeSnapshot(const State& state, const raft::LogSink::SnapshotTaken& done);

// What OnSnapshot gives, on any thread. A loop that swaps it in must not have
// applied any entry behind `index`. State::Restore's errors, or
//   kDataLoss  it is whole, but not the state at entry `index` of `term`
absl::StatusOr<std::unique_ptr<State>> ReadSnapshot(uint64_t index,
                                                    uint64_t term,
                                                    ByteSource& source);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_STATE_SNAPSHOTS_H_
