#include "master/state/testing/entries.h"

#include "common/strings.h"

namespace millrace::master::testing {
namespace {

proto::LogEntry NewEntry() {
  proto::LogEntry entry;
  entry.set_version(kLogEntryVersion);
  entry.set_proposed_at_ms(1'000'000);
  return entry;
}

void SetAttempt(uint64_t job, const TaskId& task, uint64_t uid,
                proto::AttemptRef* ref) {
  ref->set_job_id(Bytes(job));
  task.To(ref->mutable_task());
  ref->set_attempt_uid(Bytes(uid));
}

}  // namespace

std::string Bytes(uint64_t n) { return std::string(MakeId<JobId>(n).bytes()); }

proto::TaskDone MapDone(uint64_t records, uint64_t root) {
  proto::TaskDone done;
  proto::Ledger* ledger = done.mutable_ledger();
  ledger->set_emitted_records(records);
  ledger->mutable_written()->set_records(records);
  ledger->mutable_written()->set_hash(records * 77);
  done.set_map_output_root(Bytes(root));
  done.set_map_output_bytes(10 * records);
  proto::Counter* counter = done.add_counters();
  counter->set_group("task");
  counter->set_name("MAP_INPUT_RECORDS");
  counter->set_value(static_cast<int64_t>(records));
  return done;
}

proto::TaskDone ReduceDone(uint64_t fetched, const std::string& path) {
  proto::TaskDone done;
  for (proto::RecordSum* sum : {done.mutable_ledger()->mutable_fetched(),
                                done.mutable_ledger()->mutable_merged()}) {
    sum->set_records(fetched);
    sum->set_hash(fetched * 77);
  }
  done.mutable_ledger()->set_output_records(fetched);
  done.mutable_output()->set_path(path);
  done.mutable_output()->set_bytes(100 * fetched);
  done.mutable_output()->set_records(fetched);
  return done;
}

proto::LogEntry TermStarted(uint64_t cluster) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_term_started()->set_cluster_id(Bytes(cluster));
  return entry;
}

proto::LogEntry Submitted(uint64_t job, const std::string& output,
                          uint64_t request) {
  proto::LogEntry entry = NewEntry();
  proto::JobSubmitted* submitted = entry.mutable_job_submitted();
  submitted->set_job_id(Bytes(job));
  submitted->set_request_id(Bytes(request != 0 ? request : 1'000'000 + job));
  submitted->mutable_spec()->set_name(Cat("job", job));
  submitted->mutable_spec()->set_output(output);
  submitted->mutable_spec()->set_skip_bad_records(kBadRecordsOfJobs);
  return entry;
}

proto::LogEntry Planned(uint64_t job, uint64_t uid, uint64_t worker,
                        uint32_t maps, uint32_t partitions) {
  proto::LogEntry entry = NewEntry();
  proto::Planned* planned = entry.mutable_planned();
  SetAttempt(job, {proto::PLAN_TASK, 0}, uid, planned->mutable_attempt());
  planned->set_worker(Bytes(worker));
  planned->set_plan_sha256(std::string(32, 'p'));
  planned->mutable_done()->set_num_maps(maps);
  planned->mutable_done()->set_num_partitions(partitions);
  return entry;
}

proto::LogEntry MapWon(uint64_t job, uint32_t map, uint64_t uid,
                       uint64_t worker, const proto::TaskDone& done) {
  proto::LogEntry entry = NewEntry();
  proto::MapWon* won = entry.mutable_map_won();
  SetAttempt(job, {proto::MAP_TASK, map}, uid, won->mutable_attempt());
  won->set_worker(Bytes(worker));
  *won->mutable_done() = done;
  return entry;
}

proto::LogEntry MapReoffered(uint64_t job, uint32_t map, uint64_t uid,
                             uint64_t root, uint64_t worker) {
  proto::LogEntry entry = NewEntry();
  proto::MapReoffered* offered = entry.mutable_map_reoffered();
  offered->set_job_id(Bytes(job));
  offered->set_map_index(map);
  offered->set_attempt_uid(Bytes(uid));
  offered->set_root(Bytes(root));
  offered->set_worker(Bytes(worker));
  return entry;
}

proto::LogEntry ReduceWon(uint64_t job, uint32_t partition, uint64_t uid,
                          uint64_t worker, uint32_t epoch,
                          const proto::TaskDone& done) {
  proto::LogEntry entry = NewEntry();
  proto::ReduceWon* won = entry.mutable_reduce_won();
  SetAttempt(job, {proto::REDUCE_TASK, partition}, uid, won->mutable_attempt());
  won->set_worker(Bytes(worker));
  won->set_epoch(epoch);
  *won->mutable_done() = done;
  return entry;
}

proto::LogEntry AttemptFailed(uint64_t job, const TaskId& task, uint64_t uid,
                              uint64_t worker, proto::FailureCause cause,
                              bool retryable) {
  proto::LogEntry entry = NewEntry();
  proto::AttemptFailed* failed = entry.mutable_attempt_failed();
  SetAttempt(job, task, uid, failed->mutable_attempt());
  failed->set_worker(Bytes(worker));
  failed->set_cause(cause);
  failed->set_message("it failed");
  failed->set_retryable(retryable);
  return entry;
}

proto::LogEntry RecordPassedOver(uint64_t job, uint32_t map, uint64_t uid,
                                 uint64_t worker, uint64_t offset) {
  proto::LogEntry entry = NewEntry();
  proto::RecordPassedOver* passed = entry.mutable_record_passed_over();
  SetAttempt(job, {proto::MAP_TASK, map}, uid, passed->mutable_attempt());
  passed->set_worker(Bytes(worker));
  passed->mutable_record()->set_file(1);
  passed->mutable_record()->set_offset(offset);
  passed->mutable_record()->set_cause(proto::CRASHED);
  passed->mutable_record()->set_message(Cat("crashed at ", offset));
  passed->mutable_record()->set_stack("  at Map()\n");
  return entry;
}

proto::LogEntry MapLost(uint64_t job, uint32_t map, uint64_t uid) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_map_lost()->set_job_id(Bytes(job));
  entry.mutable_map_lost()->set_map_index(map);
  entry.mutable_map_lost()->set_attempt_uid(Bytes(uid));
  return entry;
}

proto::LogEntry OutputLost(uint64_t job, const TaskId& task, uint64_t uid) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_output_lost()->set_job_id(Bytes(job));
  task.To(entry.mutable_output_lost()->mutable_task());
  entry.mutable_output_lost()->set_attempt_uid(Bytes(uid));
  return entry;
}

proto::LogEntry WorkerJoined(uint64_t worker, const std::string& name,
                             uint32_t slots) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_worker_joined()->set_incarnation(Bytes(worker));
  entry.mutable_worker_joined()->set_name(name);
  entry.mutable_worker_joined()->set_slots(slots);
  return entry;
}

proto::LogEntry WorkerLost(uint64_t worker) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_worker_lost()->set_incarnation(Bytes(worker));
  entry.mutable_worker_lost()->set_reason("silent");
  return entry;
}

proto::LogEntry WorkerDrained(const std::string& name, bool draining) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_worker_drained()->set_name(name);
  entry.mutable_worker_drained()->set_draining(draining);
  return entry;
}

proto::LogEntry Decided(uint64_t job, const std::string& winners_hash) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_decided()->set_job_id(Bytes(job));
  entry.mutable_decided()->set_winners_hash(winners_hash);
  entry.mutable_decided()->set_manifest_sha256(std::string(32, 'm'));
  return entry;
}

proto::LogEntry Committed(uint64_t job) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_committed()->set_job_id(Bytes(job));
  return entry;
}

proto::LogEntry Cancelled(uint64_t job) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_cancelled()->set_job_id(Bytes(job));
  entry.mutable_cancelled()->set_reason("enough");
  return entry;
}

proto::LogEntry Failed(uint64_t job, proto::FailureCause cause) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_failed()->set_job_id(Bytes(job));
  entry.mutable_failed()->mutable_failure()->set_cause(cause);
  return entry;
}

proto::LogEntry Cleaned(uint64_t job) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_cleaned()->set_job_id(Bytes(job));
  return entry;
}

proto::LogEntry Evicted(uint64_t job) {
  proto::LogEntry entry = NewEntry();
  entry.mutable_evicted()->set_job_id(Bytes(job));
  return entry;
}

}  // namespace millrace::master::testing
