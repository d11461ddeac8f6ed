#include "master/scheduler/fetch_failures.h"

#include <set>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/health.h"

namespace millrace::master {
namespace {

// Of each report that is kept: there may be one for each map and reader.
constexpr size_t kComplaintBytesMax = 200;

bool ReadsAlone(const SoftJob& job, WorkerNumber reader) {
  for (auto at = job.live.lower_bound({proto::REDUCE_TASK, 0});
       at != job.live.end() && at->first.kind == proto::REDUCE_TASK; ++at) {
    if (at->second->worker != reader) return false;
  }
  return true;
}

// The reduces of the job that still fetch there are granted elsewhere.
void MoveReduces(SoftState& soft, SoftJob& job, SoftWorker& worker) {
  for (const auto& [order, attempt] : worker.attempts) {
    if (attempt->job == job.job->id &&
        attempt->task.kind == proto::REDUCE_TASK &&
        attempt->phase == proto::PREPARING) {
      soft.Kill(*attempt, "it cannot fetch from workers that others can reach");
    }
  }
}

}  // namespace

void ProposeMapLost(SoftState& soft, SoftJob& job, uint32_t map,
                    const AttemptUid& uid, const std::string& message) {
  const auto [at, is_new] = job.losing.emplace(map, uid);
  if (!is_new && at->second == uid) return;
  at->second = uid;
  proto::LogEntry entry;
  proto::MapLost* lost = entry.mutable_map_lost();
  lost->set_job_id(std::string(job.job->id.bytes()));
  lost->set_map_index(map);
  lost->set_attempt_uid(std::string(uid.bytes()));
  lost->set_message(message);
  soft.Propose(std::move(entry));
}

void OnFetchFailure(SoftState& soft, SoftWorker& worker,
                    const proto::FetchFailure& failure) {
  const auto job_id = JobId::FromBytes(failure.reduce().job_id());
  const auto uid = AttemptUid::FromBytes(failure.map_uid());
  if (!job_id.has_value() || !uid.has_value()) return;
  SoftJob* job = soft.FindJob(*job_id);
  if (job == nullptr || soft.options.mutant.ignore_fetch_failures) return;
  const Task* task = job->job->FindTask({proto::MAP_TASK, failure.map_index()});
  if (task == nullptr || !task->has_winner || task->uid != *uid) return;
  if (soft.state.workers()[task->worker].incarnation.bytes() !=
      failure.source()) {
    return;  // It has moved since.
  }
  const WorkerNumber reader = worker.entry->number;
  const FetchReport report{
      failure.map_index(), *uid,
      task->worker,        reader,
      failure.gone(),      CutText(failure.message(), kComplaintBytesMax)};
  const FetchEvidence::Verdict verdict = job->fetch_evidence.Add(
      report, ReadsAlone(*job, reader), CanAvoid(soft, *job, reader), soft.now);
  if (verdict.reader_is_suspect) {
    Avoid(soft, *job, reader,
          Cat("it cannot fetch: ", Printable(failure.message())));
    return MoveReduces(soft, *job, worker);
  }
  for (uint32_t map : verdict.lost) {
    const Task& lost = job->job->maps.tasks[map];
    if (!lost.has_winner || lost.worker != task->worker) continue;
    ProposeMapLost(soft, *job, map, lost.uid,
                   Cat("fetch by ", Printable(worker.entry->name),
                       " failed: ", Printable(failure.message())));
  }
}

}  // namespace millrace::master
