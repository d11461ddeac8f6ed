// A state as it was at one index of the log, held still while the master goes
// on (State::Freeze). It holds all that the entries up to there have said that
// still matters, so that the log before it can be dropped.
//
// As a stream of bytes it is what a new or restarted master begins with
// (State::Restore). The layout is in docs/formats.md, the messages in
// proto/messages/state_snapshot.proto. Equal states give equal bytes.
//
// Immutable and thread-safe. Shared by whoever froze it and the thread that
// writes it; the last one frees what the state has replaced since.
#ifndef MILLRACE_MASTER_STATE_STATE_SNAPSHOT_H_
#define MILLRACE_MASTER_STATE_STATE_SNAPSHOT_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "common/ids.h"
#include "master/state/job.h"
#include "master/state/worker_table.h"

namespace millrace::master {

// Of the stream. A reader refuses a later one, and knows all before it. It is
// written with the lowest version that has all it holds, as entries are.
inline constexpr uint32_t kStateSnapshotVersion = 3;

class StateSnapshot {
 public:
  uint64_t applied_index() const { return applied_index_; }
  uint64_t applied_term() const { return applied_term_; }

  // Of the state that was frozen: State::Hash().
  uint64_t Hash() const;

  // Appends pieces of at most 256 KiB. Whatever error the sink returns ends it,
  // so a sink can cancel. Takes memory for the longest message alone (the tasks
  // of a chunk, or what one entry of the log has brought).
  absl::Status WriteTo(ByteSink& sink) const;

 private:
  friend class State;

  uint32_t Version() const;

  uint64_t applied_index_ = 0;
  uint64_t applied_term_ = 0;
  ClusterId cluster_id_;
  std::vector<Job> jobs_;  // In the order of submission.
  std::map<std::string, JobId, std::less<>> outputs_;
  WorkerTable workers_;
  std::set<std::string, std::less<>> draining_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_STATE_SNAPSHOT_H_
