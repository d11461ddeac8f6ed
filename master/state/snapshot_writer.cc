// StateSnapshot::WriteTo: proto/messages/state_snapshot.proto has the order.
#include <algorithm>
#include <string_view>

#include "common/status_macros.h"
#include "master/state/snapshot_stream.h"
#include "master/state/state_snapshot.h"

namespace millrace::master {
namespace {

using proto::SnapshotPart;

// A list goes on in another message when this one has so much.
constexpr size_t kListBytes = 256 << 10;

std::string Bytes(std::string_view bytes) { return std::string(bytes); }

// Messages that hold lists.
class ListWriter {
 public:
  explicit ListWriter(SnapshotOutput& out) : out_(out) {}

  SnapshotPart& part() { return part_; }
  // An item of so many bytes was added; the message is full, maybe.
  absl::Status Added(size_t bytes) {
    bytes_ += bytes + 1;  // An item may have none.
    return bytes_ >= kListBytes ? End() : absl::OkStatus();
  }
  absl::Status End() {
    if (bytes_ == 0) return absl::OkStatus();
    bytes_ = 0;
    const absl::Status status = out_.Append(part_);
    part_.Clear();
    return status;
  }

 private:
  SnapshotOutput& out_;
  SnapshotPart part_;
  size_t bytes_ = 0;
};

absl::Status WriteWorkers(const WorkerTable& workers, SnapshotOutput& out) {
  ListWriter list(out);
  for (WorkerNumber i = 0; i < workers.size(); ++i) {
    const Worker& worker = workers[i];
    proto::SnapshotWorker* to = list.part().mutable_workers()->add_workers();
    to->set_incarnation(Bytes(worker.incarnation.bytes()));
    to->set_name(worker.name);
    to->set_host_id(worker.host_id);
    to->set_address(worker.address);
    to->set_slots(worker.slots);
    to->set_version(worker.version);
    to->set_lost(!worker.alive);
    MR_RETURN_IF_ERROR(list.Added(to->ByteSizeLong()));
  }
  return list.End();
}

uint32_t CountTouched(const TaskTable& tasks) {
  uint32_t count = 0;
  for (const Task& task : tasks) count += !task.untouched();
  return count;
}

absl::Status WriteJobHead(const Job& job, SnapshotOutput& out) {
  SnapshotPart part;
  proto::SnapshotJob* to = part.mutable_job();
  to->set_job_id(Bytes(job.id.bytes()));
  to->set_request_id(Bytes(job.request_id.bytes()));
  to->set_index(job.index);
  to->set_state(job.state);
  to->set_decided(job.decided);
  to->set_planned(job.planned);
  to->set_cleaned(job.cleaned);
  to->set_failed(job.failure != nullptr);
  to->set_submitted_at_ms(job.submitted_at_ms);
  to->set_started_at_ms(job.started_at_ms);
  to->set_decided_at_ms(job.decided_at_ms);
  to->set_finished_at_ms(job.finished_at_ms);
  to->set_finished_index(job.finished_index);
  to->set_plan_sha256(job.plan_sha256);
  to->set_manifest_sha256(job.manifest_sha256);
  to->set_epoch(job.epoch);
  to->set_maps(job.maps.total);
  to->set_maps_done(job.maps.done);
  to->set_reduces(job.reduces.total);
  to->set_reduces_done(job.reduces.done);
  *to->mutable_ledger() = job.totals.ledger;
  to->set_map_output_bytes(job.totals.map_output_bytes);
  to->set_output_bytes(job.totals.output_bytes);
  to->set_output_records(job.totals.output_records);
  to->set_unbalanced_maps(job.totals.unbalanced_maps);
  to->set_attempts_failed(job.attempts_failed);
  to->set_attempts_lost(job.attempts_lost);
  to->set_attempts_seen(job.attempts_seen);
  to->set_plan_attempts(job.plan_attempts);
  to->set_attempts_speculative(job.attempts_speculative);
  to->set_maps_timed(job.maps.timed);
  to->set_maps_took_ms(job.maps.took_ms);
  to->set_reduces_timed(job.reduces.timed);
  to->set_reduces_took_ms(job.reduces.took_ms);
  to->set_counters(static_cast<uint32_t>(job.totals.counters.size()));
  to->set_troubles(static_cast<uint32_t>(job.troubles.size()));
  to->set_failures(static_cast<uint32_t>(job.recent_failures->size()));
  to->set_tasks(CountTouched(job.maps.tasks) + CountTouched(job.reduces.tasks));
  to->set_bad_records(static_cast<uint32_t>(job.bad_records->size()));
  to->set_bad_records_count(job.bad_records_count);
  to->set_largest_reduce(job.largest_reduce);
  to->set_largest_reduce_records(job.largest_reduce_records);
  return out.Append(part);
}

absl::Status WriteCounters(const Job& job, SnapshotOutput& out) {
  ListWriter list(out);
  for (uint32_t i = 0; i < job.totals.counters.size(); ++i) {
    proto::SnapshotCounter* to = list.part().mutable_counters()->add_counters();
    to->set_group(job.counter_names.Name(i).first);
    to->set_name(job.counter_names.Name(i).second);
    to->set_value(job.totals.counters[i]);
    MR_RETURN_IF_ERROR(list.Added(to->ByteSizeLong()));
  }
  return list.End();
}

absl::Status WriteTroubles(const Job& job, SnapshotOutput& out) {
  ListWriter list(out);
  for (const auto& [task, trouble] : job.troubles) {
    proto::SnapshotTrouble* to = list.part().mutable_troubles()->add_troubles();
    task.To(to->mutable_task());
    to->set_user_failures(trouble.user_failures);
    to->set_infrastructure_failures(trouble.infrastructure_failures);
    for (const auto& [uid, worker] : trouble.counted) {
      to->mutable_counted()->append(uid.bytes());
      to->add_workers(worker);
    }
    to->set_last_message(trouble.last_message);
    MR_RETURN_IF_ERROR(list.Added(to->ByteSizeLong()));
  }
  return list.End();
}

absl::Status WriteFailures(const Job& job, SnapshotOutput& out) {
  ListWriter list(out);
  for (const FailedAttempt& failed : *job.recent_failures) {
    proto::SnapshotFailure* to = list.part().mutable_failures()->add_failures();
    failed.task.To(to->mutable_task());
    to->set_attempt_uid(Bytes(failed.uid.bytes()));
    to->set_number(failed.number);
    to->set_worker(failed.worker);
    to->set_cause(failed.cause);
    to->set_message(failed.message);
    to->set_stack(failed.stack);
    to->set_log_tail(failed.log_tail);
    to->set_at_ms(failed.at_ms);
    MR_RETURN_IF_ERROR(list.Added(to->ByteSizeLong()));
  }
  return list.End();
}

// Tasks [from, end), of one chunk, that are there for good reason: `end` is
// behind the last one that is not as new.
absl::Status WriteChunk(const TaskTable& tasks, proto::TaskKind kind,
                        uint32_t from, uint32_t end, SnapshotOutput& out) {
  ListWriter list(out);
  for (uint32_t i = from; i < end; ++i) {
    const Task& task = tasks[i];
    proto::SnapshotTasks* to = list.part().mutable_tasks();
    if (to->flags().empty()) {
      if (task.untouched()) continue;
      to->set_kind(kind);
      to->set_first(i);
    }
    to->mutable_uids()->append(task.uid.bytes());
    to->mutable_roots()->append(task.root_bytes());
    to->add_workers(task.worker);
    to->add_attempts(task.attempts);
    to->mutable_flags()->push_back(static_cast<char>(
        (task.has_winner ? 1 : 0) + (task.had_winner ? 2 : 0)));
    const std::string_view report = tasks.Report(i);
    to->add_report_bytes(static_cast<uint32_t>(report.size()));
    to->mutable_reports()->append(report);
    MR_RETURN_IF_ERROR(list.Added(sizeof(Task) + report.size()));
  }
  return list.End();
}

absl::Status WriteTasks(const TaskTable& tasks, proto::TaskKind kind,
                        SnapshotOutput& out) {
  for (uint32_t from = 0; from < tasks.size(); from += TaskChunk::kTasks) {
    if (tasks.untouched(from)) continue;
    uint32_t end = std::min(from + TaskChunk::kTasks, tasks.size());
    while (end > from && tasks[end - 1].untouched()) --end;
    MR_RETURN_IF_ERROR(WriteChunk(tasks, kind, from, end, out));
  }
  return absl::OkStatus();
}

absl::Status WriteBadRecords(const Job& job, SnapshotOutput& out) {
  ListWriter list(out);
  for (const auto& [place, record] : *job.bad_records) {
    proto::SnapshotBadRecord* to =
        list.part().mutable_bad_records()->add_records();
    to->set_map(place.map);
    *to->mutable_record() = record;
    MR_RETURN_IF_ERROR(list.Added(to->ByteSizeLong()));
  }
  return list.End();
}

absl::Status WriteJob(const Job& job, SnapshotOutput& out) {
  MR_RETURN_IF_ERROR(WriteJobHead(job, out));
  SnapshotPart part;
  *part.mutable_spec() = *job.spec;
  MR_RETURN_IF_ERROR(out.Append(part));
  if (job.planned) {
    *part.mutable_plan() = *job.plan;
    MR_RETURN_IF_ERROR(out.Append(part));
  }
  if (job.failure != nullptr) {
    *part.mutable_failure() = *job.failure;
    MR_RETURN_IF_ERROR(out.Append(part));
  }
  MR_RETURN_IF_ERROR(WriteCounters(job, out));
  MR_RETURN_IF_ERROR(WriteTroubles(job, out));
  MR_RETURN_IF_ERROR(WriteFailures(job, out));
  MR_RETURN_IF_ERROR(WriteTasks(job.maps.tasks, proto::MAP_TASK, out));
  MR_RETURN_IF_ERROR(WriteTasks(job.reduces.tasks, proto::REDUCE_TASK, out));
  return WriteBadRecords(job, out);
}

}  // namespace

// Version 3: a master that does not know the limit of output would go on with
// a job that others have ended.
uint32_t StateSnapshot::Version() const {
  const bool limited =
      std::any_of(jobs_.begin(), jobs_.end(), [](const Job& job) {
        return !job.ended() && job.spec->output_bytes_max() > 0;
      });
  return limited ? 3 : 2;
}

absl::Status StateSnapshot::WriteTo(ByteSink& sink) const {
  SnapshotOutput out(sink, Version());
  SnapshotPart part;
  proto::SnapshotHead* head = part.mutable_head();
  head->set_applied_index(applied_index_);
  head->set_applied_term(applied_term_);
  head->set_cluster_id(Bytes(cluster_id_.bytes()));
  head->set_workers(workers_.size());
  head->set_draining(static_cast<uint32_t>(draining_.size()));
  head->set_jobs(static_cast<uint32_t>(jobs_.size()));
  MR_RETURN_IF_ERROR(out.Append(part));
  MR_RETURN_IF_ERROR(WriteWorkers(workers_, out));
  ListWriter draining(out);
  for (const std::string& name : draining_) {
    draining.part().mutable_draining()->add_names(name);
    MR_RETURN_IF_ERROR(draining.Added(name.size()));
  }
  MR_RETURN_IF_ERROR(draining.End());
  for (const Job& job : jobs_) MR_RETURN_IF_ERROR(WriteJob(job, out));
  return out.Finish();
}

}  // namespace millrace::master
