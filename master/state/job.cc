#include "master/state/job.h"

#include <algorithm>

#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"

namespace millrace::master {

std::optional<uint32_t> CounterNames::NumberOf(const proto::Counter& counter) {
  if (next_ >= names_.size()) next_ = 0;
  if (next_ < names_.size() && names_[next_]->first == counter.group() &&
      names_[next_]->second == counter.name()) {
    return next_++;
  }
  FullName name(counter.group(), counter.name());
  auto found = numbers_.find(name);
  if (found == numbers_.end()) {
    if (names_.size() >= kNamesMax) return std::nullopt;
    const uint32_t number = static_cast<uint32_t>(names_.size());
    found = numbers_.emplace(std::move(name), number).first;
    names_.push_back(&found->first);
  }
  next_ = found->second + 1;
  return found->second;
}

bool Trouble::Counted(const AttemptUid& uid) const {
  return std::any_of(counted.begin(), counted.end(),
                     [&uid](const auto& one) { return one.first == uid; });
}

const Task* Job::FindTask(const TaskId& task) const {
  const Stage* stage = task.kind == proto::MAP_TASK      ? &maps
                       : task.kind == proto::REDUCE_TASK ? &reduces
                                                         : nullptr;
  if (stage == nullptr || task.index >= stage->tasks.size()) return nullptr;
  return &stage->tasks[task.index];
}

const Trouble* Job::FindTrouble(const TaskId& task) const {
  const auto found = troubles.find(task);
  return found == troubles.end() ? nullptr : &found->second;
}

absl::Status CheckLedger(const Job& job) {
  CHECK(job.complete() && !job.ended());
  const bool partitioned = job.reduces.total > 0;
  if (job.totals.unbalanced_maps > 0) {
    for (uint32_t i = 0; i < job.maps.total; ++i) {
      const UnpackedDone map = UnpackDone(job, job.maps.tasks[i]);
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
