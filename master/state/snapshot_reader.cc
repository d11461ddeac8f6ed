#include "master/state/snapshot_reader.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"

namespace millrace::master {

using Part = proto::SnapshotPart;

absl::StatusOr<std::unique_ptr<State>> State::Restore(
    ByteSource& source, const StateMutant& mutant) {
  auto state = std::make_unique<State>(mutant);
  MR_RETURN_IF_ERROR(SnapshotReader(source, *state).Read());
  return state;
}

absl::Status SnapshotReader::Next(Case part) {
  MR_RETURN_IF_ERROR(input_.Next(&part_));
  if (part_.part_case() == part) return absl::OkStatus();
  return BadSnapshot(Cat("part ", static_cast<int>(part_.part_case()),
                         " stands where part ", static_cast<int>(part),
                         " belongs"));
}

absl::Status SnapshotReader::Read() {
  MR_RETURN_IF_ERROR(input_.Begin());
  MR_RETURN_IF_ERROR(Next(Part::kHead));
  const proto::SnapshotHead head = part_.head();
  const auto cluster = ClusterId::FromBytes(head.cluster_id());
  if (!cluster.has_value()) return BadSnapshot("its cluster's id is no id");
  state_.cluster_id_ = *cluster;
  state_.applied_index_ = head.applied_index();
  state_.applied_term_ = head.applied_term();
  MR_RETURN_IF_ERROR(ReadWorkers(head.workers()));
  MR_RETURN_IF_ERROR(ReadDraining(head.draining()));
  for (uint32_t i = 0; i < head.jobs(); ++i) MR_RETURN_IF_ERROR(ReadJob());
  return input_.Finish();
}

absl::Status SnapshotReader::ReadWorkers(uint32_t count) {
  while (state_.workers_.size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kWorkers));
    if (part_.workers().workers().empty()) return BadSnapshot("no workers");
    for (const proto::SnapshotWorker& from : part_.workers().workers()) {
      const auto incarnation = WorkerIncarnation::FromBytes(from.incarnation());
      if (!incarnation.has_value() || incarnation->is_zero() ||
          state_.FindWorker(*incarnation) != nullptr || from.name().empty() ||
          from.slots() == 0 || state_.workers_.size() == count ||
          (!from.lost() && state_.FindAliveWorker(from.name()) != nullptr)) {
        return BadSnapshot(
            Cat("worker ", state_.workers_.size(), " is not possible"));
      }
      Worker worker;
      worker.incarnation = *incarnation;
      worker.name = from.name();
      worker.host_id = from.host_id();
      worker.address = from.address();
      worker.slots = from.slots();
      worker.version = from.version();
      worker.alive = !from.lost();
      state_.AddWorker(std::move(worker));
    }
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadDraining(uint32_t count) {
  std::string last;
  while (state_.draining_.size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kDraining));
    if (part_.draining().names().empty()) return BadSnapshot("no names");
    for (const std::string& name : part_.draining().names()) {
      if (name <= last || state_.draining_.size() == count) {
        return BadSnapshot("the names of draining workers are not sorted");
      }
      state_.draining_.insert(name);
      last = name;
    }
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------ one job

absl::Status SnapshotReader::BadJob(std::string_view what) const {
  return BadSnapshot(Cat("job ", job_->id.ToShort(), ": ", what));
}

bool SnapshotReader::KnownWorker(uint32_t number) const {
  return number < state_.workers_.size();
}

bool SnapshotReader::KnownTask(const TaskId& task) const {
  switch (task.kind) {
    case proto::PLAN_TASK:
    case proto::CHECK_TASK:
      return true;
    case proto::MAP_TASK:
      return task.index < job_->maps.total;
    case proto::REDUCE_TASK:
      return task.index < job_->reduces.total;
    default:
      return false;
  }
}

absl::Status SnapshotReader::ReadJob() {
  job_ = std::make_unique<Job>();
  MR_RETURN_IF_ERROR(Next(Part::kJob));
  const uint32_t counters = part_.job().counters();
  const uint32_t troubles = part_.job().troubles();
  const uint32_t failures = part_.job().failures();
  const uint32_t tasks = part_.job().tasks();
  const uint32_t bad_records = part_.job().bad_records();
  const bool failed = part_.job().failed();
  MR_RETURN_IF_ERROR(ReadJobHead());
  MR_RETURN_IF_ERROR(ReadSpec());
  if (job_->planned) {
    MR_RETURN_IF_ERROR(Next(Part::kPlan));
    job_->plan.Mutable() = std::move(*part_.mutable_plan());
  }
  if (failed) {
    MR_RETURN_IF_ERROR(Next(Part::kFailure));
    job_->failure = std::make_shared<proto::JobFailure>(
        std::move(*part_.mutable_failure()));
  }
  MR_RETURN_IF_ERROR(ReadCounters(counters));
  MR_RETURN_IF_ERROR(ReadTroubles(troubles));
  MR_RETURN_IF_ERROR(ReadFailures(failures));
  MR_RETURN_IF_ERROR(ReadTasks(tasks));
  MR_RETURN_IF_ERROR(ReadBadRecords(bad_records));
  MR_RETURN_IF_ERROR(CheckStage());
  MR_RETURN_IF_ERROR(CheckTasks());
  state_.AddJob(std::move(job_));
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadJobHead() {
  const proto::SnapshotJob& from = part_.job();
  const auto id = JobId::FromBytes(from.job_id());
  const auto request = RequestId::FromBytes(from.request_id());
  if (!id.has_value() || id->is_zero() || !request.has_value() ||
      state_.FindJob(*id) != nullptr ||
      state_.FindJobByRequest(*request) != nullptr) {
    return BadSnapshot("a job's id is none, or another's");
  }
  Job& job = *job_;
  job.id = *id;
  job.request_id = *request;
  job.index = from.index();
  job.state = from.state();
  job.decided = from.decided();
  job.submitted_at_ms = from.submitted_at_ms();
  job.started_at_ms = from.started_at_ms();
  job.decided_at_ms = from.decided_at_ms();
  job.finished_at_ms = from.finished_at_ms();
  job.finished_index = from.finished_index();
  job.cleaned = from.cleaned();
  job.planned = from.planned();
  job.plan_sha256 = from.plan_sha256();
  job.manifest_sha256 = from.manifest_sha256();
  job.epoch = from.epoch();
  job.maps.total = from.maps();
  job.maps.done = from.maps_done();
  job.reduces.total = from.reduces();
  job.reduces.done = from.reduces_done();
  job.totals.ledger = from.ledger();
  job.totals.map_output_bytes = from.map_output_bytes();
  job.totals.output_bytes = from.output_bytes();
  job.totals.output_records = from.output_records();
  job.totals.unbalanced_maps = from.unbalanced_maps();
  job.attempts_failed = from.attempts_failed();
  job.attempts_lost = from.attempts_lost();
  job.attempts_seen = from.attempts_seen();
  job.plan_attempts = from.plan_attempts();
  job.attempts_speculative = from.attempts_speculative();
  job.maps.timed = from.maps_timed();
  job.maps.took_ms = from.maps_took_ms();
  job.reduces.timed = from.reduces_timed();
  job.reduces.took_ms = from.reduces_took_ms();
  job.bad_records_count = from.bad_records_count();
  job.largest_reduce = from.largest_reduce();
  job.largest_reduce_records = from.largest_reduce_records();
  if (job.index <= last_index_ || job.index > state_.applied_index_ ||
      job.finished_index > state_.applied_index_ ||
      (job.ended() && job.finished_index <= job.index)) {
    return BadJob("its entries are not in the order of the log");
  }
  last_index_ = job.index;
  const uint64_t maps = job.maps.total;
  const uint64_t reduces = job.reduces.total;
  if (maps > kMapsMax || reduces > kPartitionsMax ||
      maps * reduces > kMapsTimesPartitionsMax || job.maps.done > maps ||
      job.reduces.done > reduces || (!job.planned && maps + reduces > 0) ||
      job.epoch > kEpochRaisesMax + 1) {
    return BadJob("it has too much of something");
  }
  if (job.planned && !job.ended()) {
    job.maps.tasks.Reset(job.maps.total);
    job.reduces.tasks.Reset(job.reduces.total);
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadSpec() {
  MR_RETURN_IF_ERROR(Next(Part::kSpec));
  const std::string& output = part_.spec().output();
  if (output.empty() ||
      (!job_->ended() && state_.FindJobByOutput(output) != nullptr)) {
    return BadJob("its output path is none, or reserved by another");
  }
  job_->spec =
      std::make_shared<proto::JobSpec>(std::move(*part_.mutable_spec()));
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadCounters(uint32_t count) {
  std::vector<int64_t>& values = job_->totals.counters;
  while (values.size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kCounters));
    if (part_.counters().counters().empty()) return BadJob("no counters");
    for (const proto::SnapshotCounter& from : part_.counters().counters()) {
      if (values.size() == count ||
          job_->counter_names.NumberOf(from.group(), from.name()) !=
              values.size()) {
        return BadJob("a counter too many, or twice");
      }
      values.push_back(from.value());
    }
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadTroubles(uint32_t count) {
  TaskId last;
  while (job_->troubles.size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kTroubles));
    if (part_.troubles().troubles().empty()) return BadJob("no troubles");
    for (proto::SnapshotTrouble& from :
         *part_.mutable_troubles()->mutable_troubles()) {
      const TaskId task = TaskId::From(from.task());
      const bool first = job_->troubles.size() == 0;
      const size_t counted = static_cast<size_t>(from.workers_size());
      if (!KnownTask(task) || (!first && task <= last) ||
          job_->troubles.size() == count ||
          from.counted().size() != counted * AttemptUid::kBytes ||
          !std::all_of(
              from.workers().begin(), from.workers().end(),
              [this](uint32_t worker) { return KnownWorker(worker); })) {
        return BadJob(Cat("the failures of ", ToString(task)));
      }
      last = task;
      Trouble& trouble = job_->troubles.Mutable(task);
      trouble.user_failures = from.user_failures();
      trouble.infrastructure_failures = from.infrastructure_failures();
      trouble.counted.reserve(counted);
      for (size_t i = 0; i < counted; ++i) {
        trouble.counted.emplace_back(
            *AttemptUid::FromBytes(
                std::string_view(from.counted())
                    .substr(i * AttemptUid::kBytes, AttemptUid::kBytes)),
            from.workers(static_cast<int>(i)));
      }
      trouble.last_message = std::move(*from.mutable_last_message());
    }
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadFailures(uint32_t count) {
  if (count == 0) return absl::OkStatus();
  if (count > kRecentFailuresMax) return BadJob("too many failures are kept");
  std::deque<FailedAttempt>& recent = job_->recent_failures.Mutable();
  while (recent.size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kFailures));
    if (part_.failures().failures().empty()) return BadJob("no failures");
    for (proto::SnapshotFailure& from :
         *part_.mutable_failures()->mutable_failures()) {
      const auto uid = AttemptUid::FromBytes(from.attempt_uid());
      const TaskId task = TaskId::From(from.task());
      if (!uid.has_value() || !KnownTask(task) || !KnownWorker(from.worker()) ||
          recent.size() == count) {
        return BadJob(Cat("failure ", recent.size(), " is not possible"));
      }
      FailedAttempt& failed = recent.emplace_back();
      failed.task = task;
      failed.uid = *uid;
      failed.number = from.number();
      failed.worker = from.worker();
      failed.cause = from.cause();
      failed.message = std::move(*from.mutable_message());
      failed.stack = std::move(*from.mutable_stack());
      failed.log_tail = std::move(*from.mutable_log_tail());
      failed.at_ms = from.at_ms();
    }
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::ReadBadRecords(uint32_t count) {
  const Job& job = *job_;
  if (job.ended() ? count != 0 : count != job.bad_records_count) {
    return BadJob("its bad records are not as many as it says");
  }
  if (job.bad_records_count > job.spec->skip_bad_records()) {
    return BadJob("more bad records than it may have");
  }
  while (job.bad_records->size() < count) {
    MR_RETURN_IF_ERROR(Next(Part::kBadRecords));
    if (part_.bad_records().records().empty()) return BadJob("no bad records");
    BadRecordTable& table = job_->bad_records.Mutable();
    for (proto::SnapshotBadRecord& from :
         *part_.mutable_bad_records()->mutable_records()) {
      const BadRecordPlace place =
          BadRecordPlace::Of(from.map(), from.record());
      if (from.map() >= job.maps.total || table.size() == count ||
          (!table.empty() && place <= table.rbegin()->first)) {
        return BadJob("a bad record is not possible");
      }
      table.emplace(place, std::move(*from.mutable_record()));
    }
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------- tasks

absl::Status SnapshotReader::ReadTasks(uint32_t count) {
  rest_ = job_->totals;
  touched_ = maps_done_ = reduces_done_ = 0;
  attempts_ = job_->plan_attempts;
  TaskId next{proto::MAP_TASK, 0};
  while (touched_ < count) {
    const uint32_t before = touched_;
    MR_RETURN_IF_ERROR(Next(Part::kTasks));
    MR_RETURN_IF_ERROR(AddTasks(part_.tasks(), &next));
    if (touched_ == before || touched_ > count) {
      return BadJob("more or fewer tasks than it says");
    }
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::AddTasks(const proto::SnapshotTasks& from,
                                      TaskId* next) {
  const TaskId first{from.kind(), from.first()};
  const TaskTable& table =
      first.kind == proto::MAP_TASK ? job_->maps.tasks : job_->reduces.tasks;
  const size_t items = from.flags().size();
  size_t bytes = 0;
  for (uint32_t report : from.report_bytes()) bytes += report;
  if ((first.kind != proto::MAP_TASK && first.kind != proto::REDUCE_TASK) ||
      first < *next || items > table.size() ||
      first.index > table.size() - items ||
      from.uids().size() != items * AttemptUid::kBytes ||
      from.roots().size() != items * sizeof(Task::root) ||
      static_cast<size_t>(from.workers_size()) != items ||
      static_cast<size_t>(from.attempts_size()) != items ||
      static_cast<size_t>(from.report_bytes_size()) != items ||
      from.reports().size() != bytes) {
    return BadJob(Cat("tasks from ", ToString(first), " on"));
  }
  std::string_view reports = from.reports();
  for (int item = 0; item < static_cast<int>(items); ++item) {
    const TaskId id{first.kind, first.index + static_cast<uint32_t>(item)};
    const uint32_t size = from.report_bytes(item);
    MR_RETURN_IF_ERROR(AddTask(from, item, reports.substr(0, size), id));
    reports.remove_prefix(size);
  }
  *next = {first.kind, first.index + static_cast<uint32_t>(items)};
  return absl::OkStatus();
}

absl::Status SnapshotReader::AddTask(const proto::SnapshotTasks& from, int item,
                                     std::string_view report,
                                     const TaskId& id) {
  const size_t at = static_cast<size_t>(item) * AttemptUid::kBytes;
  Task task;
  task.uid = *AttemptUid::FromBytes(
      std::string_view(from.uids()).substr(at, AttemptUid::kBytes));
  std::copy_n(from.roots().data() + at, task.root.size(), task.root.data());
  task.worker = from.workers(item);
  const uint32_t attempts = from.attempts(item);
  task.attempts = static_cast<uint16_t>(attempts);
  const uint8_t flags = static_cast<uint8_t>(from.flags()[item]);
  task.has_winner = (flags & 1) != 0;
  task.had_winner = (flags & 2) != 0;

  const bool holder = task.had_winner
                          ? !task.uid.is_zero() && KnownWorker(task.worker)
                          : task.uid.is_zero() && task.worker == 0 &&
                                task.root == Task().root && report.empty();
  if (!holder || flags > 3 || (task.has_winner && !task.had_winner) ||
      attempts != task.attempts) {
    return BadJob(Cat(ToString(id), " is not possible"));
  }
  if (task.untouched()) return absl::OkStatus();
  ++touched_;
  attempts_ += attempts;
  TaskTable& table =
      id.kind == proto::MAP_TASK ? job_->maps.tasks : job_->reduces.tasks;
  table.Mutable(id.index) = task;
  if (!task.had_winner) return absl::OkStatus();
  table.SetReport(id.index, report);
  const std::optional<UnpackedDone> done = TryUnpackDone(*job_, id);
  if (!done.has_value()) {
    return BadJob(Cat("what ", ToString(id), " reported cannot be read"));
  }
  if (!task.has_winner) return absl::OkStatus();
  (id.kind == proto::MAP_TASK ? maps_done_ : reduces_done_) += 1;
  CountReport(*job_, id.kind, done->done, done->counters, /*gained=*/false,
              &rest_);
  return absl::OkStatus();
}

// --------------------------------------------------------- the job as a whole

absl::Status SnapshotReader::CheckStage() const {
  const Job& job = *job_;
  bool right = false;
  switch (job.state) {
    case proto::QUEUED:
      right = !job.ended() && !job.planned && !job.decided;
      break;
    case proto::RUNNING:
      right = !job.ended() && job.planned && !job.decided;
      break;
    case proto::COMMITTING:
      right = !job.ended() && job.decided && job.complete();
      break;
    case proto::SUCCEEDED:
      right = job.ended() && job.decided && job.complete();
      break;
    case proto::FAILED:
    case proto::KILLED:
      right = job.ended() && (!job.decided || job.complete());
      break;
    default:
      break;
  }
  const bool failed = job.state == proto::FAILED || job.state == proto::KILLED;
  // Zero also where the program that decided it did not look.
  const bool largest_right = job.largest_reduce_records == 0
                                 ? job.largest_reduce == 0
                                 : job.decided &&
                                       job.largest_reduce < job.reduces.total &&
                                       job.largest_reduce_records <=
                                           job.totals.ledger.merged().records();
  if (!right || !largest_right || failed != (job.failure != nullptr) ||
      (job.cleaned && !job.ended())) {
    return BadJob("its parts are not those of its state");
  }
  return absl::OkStatus();
}

absl::Status SnapshotReader::CheckTasks() const {
  const Job& job = *job_;
  if (job.ended()) return absl::OkStatus();  // Its tasks are given up.
  if (maps_done_ != job.maps.done || reduces_done_ != job.reduces.done ||
      attempts_ != job.attempts_seen) {
    return BadJob("its tasks are not as many as it says");
  }
  if (!IsZero(rest_.ledger) || rest_.map_output_bytes != 0 ||
      rest_.output_bytes != 0 || rest_.output_records != 0 ||
      rest_.unbalanced_maps != 0 ||
      std::any_of(rest_.counters.begin(), rest_.counters.end(),
                  [](int64_t value) { return value != 0; })) {
    return BadJob("its sums are not those of its winners");
  }
  return absl::OkStatus();
}

}  // namespace millrace::master
