#include "master/state/job.h"

#include <algorithm>

#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"

namespace millrace::master {

uint64_t CounterValue(const Job& job, std::string_view name) {
  for (uint32_t i = 0; i < job.totals.counters.size(); ++i) {
    if (job.counter_names.Name(i).second == name) {
      return static_cast<uint64_t>(
          std::max<int64_t>(job.totals.counters[i], 0));
    }
  }
  return 0;
}

const Task* Job::FindTask(const TaskId& task) const {
  const Stage* stage = task.kind == proto::MAP_TASK      ? &maps
                       : task.kind == proto::REDUCE_TASK ? &reduces
                                                         : nullptr;
  if (stage == nullptr || task.index >= stage->tasks.size()) return nullptr;
  return &stage->tasks[task.index];
}

std::vector<const proto::BadRecord*> Job::BadRecordsOf(uint32_t map) const {
  std::vector<const proto::BadRecord*> records;
  for (auto at = bad_records->lower_bound({map, 0, 0});
       at != bad_records->end() && at->first.map == map; ++at) {
    records.push_back(&at->second);
  }
  return records;
}

void CountReport(const Job& job, proto::TaskKind kind,
                 const proto::TaskDone& done, const NumberedCounters& counters,
                 bool gained, Totals* totals) {
  const uint64_t sign = gained ? 1 : ~uint64_t{0};
  if (gained) {
    AddLedger(done.ledger(), &totals->ledger);
  } else {
    SubtractLedger(done.ledger(), &totals->ledger);
  }
  totals->counters.resize(job.counter_names.size());
  for (const auto& [number, value] : counters) {
    totals->counters[number] =
        static_cast<int64_t>(static_cast<uint64_t>(totals->counters[number]) +
                             sign * static_cast<uint64_t>(value));
  }
  totals->map_output_bytes += sign * done.map_output_bytes();
  totals->output_bytes += sign * done.output().bytes();
  totals->output_records += sign * done.output().records();
  if (kind == proto::MAP_TASK &&
      !CheckMapLedger(done.ledger(), job.reduces.total > 0).ok()) {
    totals->unbalanced_maps += static_cast<uint32_t>(sign);
  }
}

absl::Status CheckLedger(const Job& job) {
  CHECK(job.complete() && !job.ended());
  const bool partitioned = job.reduces.total > 0;
  if (job.totals.unbalanced_maps > 0) {
    for (uint32_t i = 0; i < job.maps.total; ++i) {
      const UnpackedDone map = UnpackDone(job, {proto::MAP_TASK, i});
      const absl::Status status =
          CheckMapLedger(map.done.ledger(), partitioned);
      if (!status.ok()) {
        return absl::InternalError(
            Av(Cat("ledger of map ", i,
                   " does not balance: ", ToStd(status.message()))));
      }
    }
  }
  if (!partitioned) return absl::OkStatus();
  const absl::Status status = CheckJobLedger(job.totals.ledger);
  if (status.ok()) return status;
  return absl::InternalError(
      Av(Cat("ledger of the job does not balance: ", ToStd(status.message()))));
}

std::string WinnersHash(const Job& job) {
  CHECK(job.complete() && !job.ended());
  std::string uids;
  uids.reserve((job.maps.tasks.size() + job.reduces.tasks.size()) *
               AttemptUid::kBytes);
  for (const Stage* stage : {&job.maps, &job.reduces}) {
    for (const Task& task : stage->tasks) uids.append(task.uid.bytes());
  }
  const Hash128Value hash = Hash128(uids);
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(hash.low >> (8 * i));
    bytes[8 + i] = static_cast<char>(hash.high >> (8 * i));
  }
  return bytes;
}

}  // namespace millrace::master
