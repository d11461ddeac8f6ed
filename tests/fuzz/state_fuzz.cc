// The replicated state under any entries.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/state/limits.h"
#include "master/state/state.h"
#include "master/state/testing/entries.h"
#include "tests/fuzz/dice.h"

namespace millrace::master {
namespace {

using testing::MakeId;

// Any entries: one that is refused is as good as one that says nothing, and
// two masters agree.
void FuzzState(Dice& dice) {
  State state;
  State twin;
  for (uint64_t index = 1; index <= 200 && !dice.Done(); ++index) {
    const uint64_t job = 1 + dice.Below(3);
    const uint64_t uid = 1 + dice.Below(20);
    const uint64_t worker = 1 + dice.Below(4);
    const uint32_t task = dice.Number(5);
    const TaskId id{static_cast<proto::TaskKind>(dice.Number(7)), task};
    const auto cause = static_cast<proto::FailureCause>(dice.Number(32));
    proto::LogEntry entry;
    switch (dice.Below(20)) {
      case 0:
        entry = testing::TermStarted(worker);
        break;
      case 1:
        entry = testing::Submitted(job, Cat("/out", dice.Below(3)),
                                   1 + dice.Below(5));
        break;
      case 2:
        entry =
            testing::Planned(job, uid, worker, dice.Below(5), dice.Below(3));
        break;
      case 3:
        entry = testing::WorkerLost(worker);
        break;
      case 4:
      case 5:
        entry = testing::WorkerJoined(worker, Cat("w", dice.Below(4)));
        break;
      case 6:
        entry =
            testing::AttemptFailed(job, id, uid, worker, cause, !dice.OneIn(8));
        break;
      case 7:
        entry = testing::MapLost(job, task, uid);
        break;
      case 8:
        entry = testing::OutputLost(job, id, uid);
        break;
      case 9:
        entry = testing::MapReoffered(job, task, uid, dice.Below(2), worker);
        break;
      case 10: {
        const Job* known = state.FindJob(MakeId<JobId>(job));
        entry = testing::Decided(
            job, known != nullptr && known->complete() && !known->ended()
                     ? WinnersHash(*known)
                     : "x");
        break;
      }
      case 11:
        entry = testing::Committed(job);
        break;
      case 12:
        entry = dice.OneIn(2) ? testing::Cancelled(job)
                              : testing::Failed(job, cause);
        break;
      case 13:
        entry = dice.OneIn(2) ? testing::Cleaned(job) : testing::Evicted(job);
        break;
      case 14:
      case 15:
      case 16:
        entry = testing::ReduceWon(job, task, uid, worker, dice.Below(2),
                                   testing::ReduceDone(dice.Number(3), "/p"));
        break;
      default:
        entry =
            testing::MapWon(job, task, uid, worker,
                            testing::MapDone(dice.Number(3), dice.Below(2)));
    }
    entry = dice.Changed(std::move(entry));
    if (entry.has_planned()) {  // Small enough to be hashed 200 times.
      proto::TaskDone* done = entry.mutable_planned()->mutable_done();
      if (done->num_maps() <= kMapsMax)
        done->set_num_maps(done->num_maps() % 6);
      if (done->num_partitions() <= kPartitionsMax) {
        done->set_num_partitions(done->num_partitions() % 4);
      }
    }
    const bool applied = state.Apply(index, 1, entry).applied();
    twin.Apply(index, 1, applied ? entry : proto::LogEntry());
    CHECK_EQ(state.Hash(), twin.Hash()) << "a refused entry has an effect";
  }
}

}  // namespace
}  // namespace millrace::master

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::Dice dice(data);
  millrace::master::FuzzState(dice);
  return 0;
}
