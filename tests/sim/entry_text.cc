#include "tests/sim/entry_text.h"

#include "common/strings.h"
#include "master/state/task_id.h"

namespace millrace::sim {
namespace {

std::string Uid(const std::string& bytes) {
  return HexEncode(bytes.substr(0, 3));
}

}  // namespace

std::string Text(const proto::AttemptRef& ref) {
  return Cat("job ", Uid(ref.job_id()), " ",
             master::ToString(master::TaskId::From(ref.task())), " attempt ",
             Uid(ref.attempt_uid()));
}

std::string Text(const proto::LogEntry& entry) {
  switch (entry.entry_case()) {
    case proto::LogEntry::kTermStarted:
      return "TermStarted";
    case proto::LogEntry::kJobSubmitted:
      return Cat("JobSubmitted ", Uid(entry.job_submitted().job_id()), " ",
                 entry.job_submitted().spec().name());
    case proto::LogEntry::kPlanned:
      return Cat("Planned ", Text(entry.planned().attempt()));
    case proto::LogEntry::kMapWon:
      return Cat("MapWon ", Text(entry.map_won().attempt()));
    case proto::LogEntry::kMapReoffered:
      return Cat("MapReoffered ", Uid(entry.map_reoffered().job_id()), " map ",
                 entry.map_reoffered().map_index());
    case proto::LogEntry::kReduceWon:
      return Cat("ReduceWon ", Text(entry.reduce_won().attempt()), " epoch ",
                 entry.reduce_won().epoch());
    case proto::LogEntry::kAttemptFailed:
      return Cat("AttemptFailed ", Text(entry.attempt_failed().attempt()),
                 " cause ", entry.attempt_failed().cause());
    case proto::LogEntry::kRecordPassedOver:
      return Cat("RecordPassedOver ",
                 Text(entry.record_passed_over().attempt()), " offset ",
                 entry.record_passed_over().record().offset());
    case proto::LogEntry::kMapLost:
      return Cat("MapLost ", Uid(entry.map_lost().job_id()), " map ",
                 entry.map_lost().map_index(), " attempt ",
                 Uid(entry.map_lost().attempt_uid()), ": ",
                 entry.map_lost().message());
    case proto::LogEntry::kOutputLost:
      return Cat("OutputLost ", Uid(entry.output_lost().job_id()), " task ",
                 entry.output_lost().task().index());
    case proto::LogEntry::kWorkerJoined:
      return Cat("WorkerJoined ", entry.worker_joined().name(), " ",
                 Uid(entry.worker_joined().incarnation()));
    case proto::LogEntry::kWorkerLost:
      return Cat("WorkerLost ", Uid(entry.worker_lost().incarnation()), ": ",
                 entry.worker_lost().reason());
    case proto::LogEntry::kWorkerDrained:
      return Cat("WorkerDrained ", entry.worker_drained().name());
    case proto::LogEntry::kDecided:
      return Cat("Decided ", Uid(entry.decided().job_id()));
    case proto::LogEntry::kCommitted:
      return Cat("Committed ", Uid(entry.committed().job_id()));
    case proto::LogEntry::kCancelled:
      return Cat("Cancelled ", Uid(entry.cancelled().job_id()));
    case proto::LogEntry::kFailed:
      return Cat("Failed ", Uid(entry.failed().job_id()), " cause ",
                 entry.failed().failure().cause());
    case proto::LogEntry::kEvicted:
      return Cat("Evicted ", Uid(entry.evicted().job_id()));
    case proto::LogEntry::kCleaned:
      return Cat("Cleaned ", Uid(entry.cleaned().job_id()));
    case proto::LogEntry::ENTRY_NOT_SET:
      break;
  }
  return "nothing";
}

}  // namespace millrace::sim
