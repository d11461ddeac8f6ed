#include "master/scheduler/bad_records.h"

#include <string>
#include <utility>

namespace millrace::master {
namespace {

// The map attempt that waits, or null: its task needs it no more, or never had
// it.
Attempt* FindWaiting(SoftState& soft, const proto::AttemptRef& ref) {
  const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
  if (!uid.has_value()) return nullptr;
  Attempt* attempt = soft.FindAttempt(*uid);
  if (attempt == nullptr || attempt->task.kind != proto::MAP_TASK ||
      attempt->reported || attempt->killed) {
    return nullptr;
  }
  return attempt;
}

void SendPassOver(SoftState& soft, const Job& job, const Attempt& attempt) {
  SoftWorker* worker = soft.FindWorker(attempt.worker);
  if (worker == nullptr) return;
  proto::MasterMessage message;
  proto::PassOver* pass = message.mutable_pass_over();
  pass->set_attempt_uid(std::string(attempt.uid.bytes()));
  for (const proto::BadRecord* record : job.BadRecordsOf(attempt.task.index)) {
    *pass->add_bad_records() = *record;
  }
  soft.SendTo(*worker, std::move(message));
}

}  // namespace

void OnBadRecord(SoftState& soft, SoftWorker& worker,
                 const proto::BadRecordMet& met) {
  Attempt* attempt = FindWaiting(soft, met.attempt());
  if (attempt == nullptr || attempt->worker != worker.entry->number) return;
  SoftJob* job = soft.FindJob(attempt->job);
  if (job == nullptr || !job->job->open()) return;  // It ends there by DropJob.
  const BadRecordPlace place =
      BadRecordPlace::Of(attempt->task.index, met.record());
  if (job->job->bad_records->contains(place)) {
    return SendPassOver(soft, *job->job, *attempt);
  }
  proto::LogEntry entry;
  proto::RecordPassedOver* passed = entry.mutable_record_passed_over();
  passed->mutable_attempt()->set_job_id(std::string(attempt->job.bytes()));
  attempt->task.To(passed->mutable_attempt()->mutable_task());
  passed->mutable_attempt()->set_attempt_uid(std::string(attempt->uid.bytes()));
  passed->mutable_attempt()->set_number(attempt->number);
  passed->set_worker(std::string(worker.entry->incarnation.bytes()));
  *passed->mutable_record() = met.record();
  soft.Propose(std::move(entry));
}

void OnRecordPassedOver(SoftState& soft, const proto::RecordPassedOver& entry,
                        const ApplyResult& result) {
  Attempt* attempt = FindWaiting(soft, entry.attempt());
  if (attempt == nullptr) return;
  SoftJob* job = soft.FindJob(attempt->job);
  if (job == nullptr || !job->job->open()) return;
  soft.changed.insert(attempt->job);
  if (result.applied() || result.refusal == Refusal::kRepeated) {
    return SendPassOver(soft, *job->job, *attempt);
  }
  soft.Kill(*attempt, "its record is not passed over: " + result.message);
}

}  // namespace millrace::master
