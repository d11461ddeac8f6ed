#include "master/state/testing/random_entries.h"

#include "common/strings.h"
#include "master/state/testing/entries.h"

namespace millrace::master::testing {

namespace {

// With a counter of its own now and then.
proto::TaskDone AnyMapDone(Random& random) {
  proto::TaskDone done = MapDone(random.Uniform(3), random.Uniform(20) == 0);
  if (random.Uniform(5) == 0) {
    done.mutable_ledger()->set_skipped_records(1);
    done.mutable_dead_letter()->set_records(1);
    done.mutable_dead_letter()->set_bytes(random.Uniform(1000));
  }
  if (random.Uniform(3) > 0) return done;
  proto::Counter* counter = done.add_counters();
  counter->set_group("mine");
  counter->set_name(Cat("C", random.Uniform(9)));
  counter->set_value(static_cast<int64_t>(random.Uniform(9)) - 4);
  return done;
}

}  // namespace

proto::LogEntry AnyEntry(Random& random, const State& state, uint32_t tasks) {
  const uint64_t job = 1 + random.Uniform(3);
  const uint64_t uid = 1 + random.Uniform(8 * tasks);
  const uint64_t worker = 1 + random.Uniform(5);
  const uint32_t index = static_cast<uint32_t>(random.Uniform(tasks));
  const TaskId task{static_cast<proto::TaskKind>(1 + random.Uniform(5)), index};
  const auto cause = static_cast<proto::FailureCause>(
      random.Uniform(proto::FailureCause_ARRAYSIZE));
  const Job* known = state.FindJob(MakeId<JobId>(job));
  switch (random.Uniform(25)) {
    case 0: {
      proto::LogEntry entry =
          Submitted(job, Cat("/out", random.Uniform(3)), 1 + random.Uniform(9));
      if (random.Uniform(4) == 0) {
        entry.mutable_job_submitted()->mutable_spec()->set_output_bytes_max(
            1 + random.Uniform(500));
      }
      return entry;
    }
    case 1:
    case 2:
      return Planned(job, uid, worker,
                     static_cast<uint32_t>(random.Uniform(tasks)),
                     static_cast<uint32_t>(random.Uniform(tasks / 2 + 1)));
    case 3:
      return WorkerLost(worker);
    case 4:
    case 5:
      return WorkerJoined(worker, Cat("w", random.Uniform(4)));
    case 6:
      return AttemptFailed(job, task, uid, worker, cause,
                           random.Uniform(20) > 0);
    case 7:
      return MapLost(job, index, uid);
    case 8:
      return OutputLost(job, task, uid);
    case 9:
    case 10:
      return MapReoffered(job, index, uid, random.Uniform(20) == 0, worker);
    case 11:
      if (random.Uniform(20) > 0) {
        if (random.Uniform(2) == 0) return TermStarted(worker);
        return WorkerDrained(Cat("w", worker), random.Uniform(2) == 0);
      }
      return Cancelled(job);
    case 12:
      if (known == nullptr || !known->complete() || known->ended()) {
        return Decided(job, "x");
      }
      return Decided(job, WinnersHash(*known));
    case 13:
      return Committed(job);
    case 14:
      if (random.Uniform(10) > 0) return Cleaned(job);
      return Failed(job, cause);
    case 15:
      return Evicted(job);
    case 24:
      return RecordPassedOver(job, index, uid, worker, random.Uniform(4));
    case 16:
    case 17:
    case 18:
      return ReduceWon(job, index, uid, worker,
                       static_cast<uint32_t>(random.Uniform(2)),
                       ReduceDone(random.Uniform(3), "/p"));
    default:
      return MapWon(job, index, uid, worker, AnyMapDone(random));
  }
}

}  // namespace millrace::master::testing
