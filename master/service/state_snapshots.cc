#include "master/service/state_snapshots.h"

#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "master/state/state_snapshot.h"

namespace millrace::master {

void TakeSnapshot(const State& state,
                  const raft::LogSink::SnapshotTaken& done) {
  std::shared_ptr<const StateSnapshot> frozen = state.Freeze();
  const uint64_t index = frozen->applied_index();
  done(index, [frozen = std::move(frozen)](ByteSink& sink) {
    return frozen->WriteTo(sink);
  });
}

absl::StatusOr<std::unique_ptr<State>> ReadSnapshot(uint64_t index,
                                                    uint64_t term,
                                                    ByteSource& source) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<State> state, State::Restore(source));
  if (state->applied_index() != index || state->applied_term() != term) {
    return absl::DataLossError(
        Av(Cat("the snapshot of entry ", index, " of term ", term,
               " holds the state at entry ", state->applied_index(),
               " of term ", state->applied_term())));
  }
  return state;
}

}  // namespace millrace::master
