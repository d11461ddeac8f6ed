#include "api/src/local/local_job.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/manifest_builder.h"
#include "storage/commit/output_commit.h"
#include "storage/output/dead_letter.h"
#include "storage/output/part_writer.h"
#include "supervisor/shortage_cause.h"

namespace millrace::local {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
// What does not help at once does not help in a moment either.
constexpr int kPublishTriesMax = 3;

int64_t CounterValue(const proto::TaskDone& done, std::string_view name) {
  for (const proto::Counter& counter : done.counters()) {
    if (counter.group() == "millrace" && counter.name() == name) {
      return counter.value();
    }
  }
  return 0;
}

}  // namespace

LocalJob::LocalJob(const internal::JobDefinition& job, const JobFlags& flags,
                   const JobId& job_id, const JobPaths& paths, FileSystem& fs,
                   Clock& clock, Random& random, TaskHost& host)
    : job_(job),
      flags_(flags),
      job_id_(job_id),
      paths_(paths),
      fs_(fs),
      clock_(clock),
      host_(host),
      core_({flags.in_process ? 1 : flags.slots, flags.max_attempts,
             flags.fresh_process, flags.skip_bad_records,
             flags.output_limit_bytes},
            random) {}

std::optional<JobFailure> LocalJob::Execute(
    const std::function<bool()>& interrupted,
    const std::function<void()>& on_tick) {
  Apply(core_.Start());
  while (!failure_.has_value() && !committed_) {
    if (interrupted()) return std::nullopt;
    std::vector<Event> events = std::exchange(pending_, {});
    if (events.empty()) {
      absl::StatusOr<std::vector<Event>> waited = host_.Wait(kTick);
      if (!waited.ok()) {
        Failure failure;
        failure.message = waited.status().ToString();
        return JobFailure{std::nullopt, failure};
      }
      events = *std::move(waited);
    }
    for (const Event& event : events) {
      if (const auto* done = std::get_if<AttemptSucceeded>(&event)) {
        winners_input_bytes_ +=
            static_cast<uint64_t>(CounterValue(done->done, "MAP_INPUT_BYTES"));
        running_.erase(done->slot);
      }
      Apply(core_.Step(event));
      if (const auto* gone = std::get_if<SlotGone>(&event)) {
        running_.erase(gone->slot);
      }
    }
    on_tick();
  }
  return failure_;
}

uint64_t LocalJob::input_bytes_done() const {
  uint64_t bytes = winners_input_bytes_;
  for (const auto& [slot, run] : running_) {
    if (run.task.kind == proto::MAP_TASK)
      bytes += host_.RunningInputBytes(slot);
  }
  // Readers look a little past the ends of their splits.
  return core_.planned() ? std::min(bytes, core_.plan().input_bytes()) : bytes;
}

void LocalJob::Apply(const std::vector<Effect>& effects) {
  for (const Effect& effect : effects) {
    if (const auto* start = std::get_if<StartSlot>(&effect)) {
      if (absl::Status status = host_.Start(start->slot); !status.ok()) {
        StepSlotGone(start->slot, status);
      }
    } else if (const auto* run = std::get_if<RunAttempt>(&effect)) {
      Run(*run);
    } else if (const auto* retire = std::get_if<RetireSlot>(&effect)) {
      running_.erase(retire->slot);
      host_.Retire(retire->slot);
    } else if (const auto* drop = std::get_if<DropAttempt>(&effect)) {
      Drop(drop->uid);
    } else if (const auto* fail = std::get_if<FailJob>(&effect)) {
      failure_ = JobFailure{fail->task, fail->failure};
      KeepFailedRun(*fail);
    } else if (std::holds_alternative<CommitJob>(effect)) {
      if (absl::Status status = Publish(); !status.ok()) {
        Failure failure;
        failure.cause = supervisor::CauseOf(status, proto::OUTPUT_FAILED);
        failure.message = std::string(ToStd(status.message()));
        if (absl::IsAlreadyExists(status)) {
          failure.cause = proto::OUTPUT_EXISTS;
          keep_staging_ = true;
          const std::string final = JoinPath(paths_.staging, "final");
          if (fs_.Stat(JoinPath(final, storage::kManifestName)).ok()) {
            failure.message += Cat("; to keep the output, move ",
                                   Printable(final, 4096), " to another name");
          }
        }
        failure_ = JobFailure{std::nullopt, failure};
      } else {
        committed_ = true;
      }
    }
  }
}

void LocalJob::KeepFailedRun(const FailJob& fail) {
  switch (fail.failure.cause) {
    case proto::USER_EXCEPTION:
    case proto::CRASHED:
    case proto::EXITED:
    case proto::TASK_TIMEOUT:
    case proto::MEMORY_LIMIT:
    case proto::LOG_LIMIT:
    case proto::BAD_PARTITION:
    case proto::INVALID_OUTPUT:
    case proto::BAD_RECORD_LIMIT:
    case proto::OUTPUT_LIMIT:
    case proto::PROCESS_LIMIT:
      break;
    default:
      return;
  }
  if (!fail.task.has_value() || fail.task->kind == proto::PLAN_TASK) return;
  for (const auto& [slot, run] : running_) {
    if (run.task == *fail.task) failed_run_ = MakeRunTask(run);
  }
}

void LocalJob::StepSlotGone(int slot, const absl::Status& status) {
  Failure failure;
  failure.cause = supervisor::CauseOf(status, proto::SPAWN_FAILED);
  failure.message = std::string(ToStd(status.message()));
  pending_.push_back(SlotGone{slot, std::move(failure)});
}

void LocalJob::Run(const RunAttempt& run) {
  running_[run.slot] = run;
  absl::Status status;
  // A map makes its own, if it spills.
  if (run.task.kind == proto::REDUCE_TASK) {
    status = fs_.MakeDirectory(paths_.Scratch(run.uid));
  }
  const bool writes_output =
      run.task.kind == proto::REDUCE_TASK ||
      (run.task.kind == proto::MAP_TASK &&
       (core_.num_partitions() == 0 || !run.bad_records.empty()));
  if (status.ok() && writes_output) {
    status = fs_.MakeDirectory(paths_.AttemptOutput(run.uid));
  }
  if (!status.ok()) {
    Failure failure;
    failure.cause = supervisor::CauseOf(status, proto::OUTPUT_FAILED);
    failure.message = std::string(ToStd(status.message()));
    pending_.push_back(AttemptFailed{run.slot, std::move(failure)});
    return;
  }
  host_.Run(run.slot, MakeRunTask(run));
}

proto::RunTask LocalJob::MakeRunTask(const RunAttempt& run) const {
  proto::RunTask task;
  task.set_kind(run.task.kind);
  task.set_index(run.task.index);
  task.set_attempt_uid(std::string(run.uid.bytes()));
  task.set_attempt(run.attempt);
  const std::string scratch = paths_.Scratch(run.uid);
  const auto part = [&](uint32_t index) {
    return JoinPath(paths_.AttemptOutput(run.uid), storage::PartName(index));
  };
  switch (run.task.kind) {
    case proto::MAP_TASK: {
      proto::MapTask* map = task.mutable_map();
      map->set_plan_path(paths_.Plan());
      map->set_num_partitions(core_.num_partitions());
      map->set_scratch_dir(scratch);
      map->set_output_path(core_.num_partitions() == 0
                               ? part(run.task.index)
                               : paths_.MapOutput(run.uid));
      if (run.bad_records.empty()) break;
      map->mutable_bad_records()->Add(run.bad_records.begin(),
                                      run.bad_records.end());
      map->set_dead_letter_path(
          JoinPath(paths_.AttemptOutput(run.uid),
                   storage::DeadLetterName(run.task.index)));
      break;
    }
    case proto::REDUCE_TASK: {
      proto::ReduceTask* reduce = task.mutable_reduce();
      for (uint32_t i = 0; i < core_.num_maps(); ++i) {
        const Winner& winner = core_.map_winner(i);
        proto::MapOutputRef* ref = reduce->add_map_outputs();
        ref->set_path(paths_.MapOutput(winner.uid));
        ref->set_map_index(i);
        ref->set_attempt_uid(std::string(winner.uid.bytes()));
        ref->set_root(winner.done.map_output_root());
      }
      reduce->set_scratch_dir(scratch);
      reduce->set_output_path(part(run.task.index));
      reduce->set_num_partitions(core_.num_partitions());
      break;
    }
    default: {
      proto::PlanTask* plan = task.mutable_plan();
      for (const std::string& input : flags_.inputs) plan->add_inputs(input);
      plan->set_split_bytes(flags_.split_bytes);
      plan->set_num_reducers(flags_.reducers != 0 ? flags_.reducers
                                                  : job_.default_reducers);
      plan->set_plan_path(paths_.Plan());
      plan->set_sequence_rows(flags_.rows);
      plan->set_sequence_splits(flags_.sequence_splits);
      plan->mutable_bad_records()->Add(run.bad_records.begin(),
                                       run.bad_records.end());
      plan->set_sample_map_output(run.sample_map_output);
      break;
    }
  }
  return task;
}

storage::Sizing LocalJob::sizing() const {
  const proto::TaskDone& plan = core_.plan();
  storage::Sizing sizing = {.input_bytes = plan.input_bytes(),
                            .maps = core_.num_maps(),
                            .reduces = core_.num_partitions(),
                            .split_bytes_asked = flags_.split_bytes,
                            .splits_asked = flags_.sequence_splits,
                            .reducers_asked = flags_.reducers,
                            .reducers_of_job = job_.default_reducers};
  if (plan.has_map_output_estimate()) {
    sizing.map_output_estimate = plan.map_output_estimate();
  }
  return sizing;
}

void LocalJob::Drop(const AttemptUid& uid) {
  // What stays behind goes with the whole staging directory at the end.
  fs_.RemoveTree(paths_.AttemptOutput(uid)).IgnoreError();
  fs_.RemoveTree(paths_.MapOutput(uid)).IgnoreError();
  fs_.RemoveTree(paths_.Scratch(uid)).IgnoreError();
}

absl::Status LocalJob::Publish() {
  manifest_ = MakeManifest();
  storage::Decision decision;
  decision.output = paths_.output;
  decision.job = job_id_;
  decision.manifest_json = storage::SerializeManifest(manifest_);
  const bool map_only = core_.num_partitions() == 0;
  const uint32_t parts = map_only ? core_.num_maps() : core_.num_partitions();
  const auto add = [&](const proto::OutputFile& file, std::string name) {
    storage::Winner& out = decision.winners.emplace_back();
    out.staged_path = file.path();
    out.final_name = std::move(name);
    out.bytes = file.bytes();
    out.inode = file.inode();
    out.xxh3 = file.xxh3();
  };
  for (uint32_t i = 0; i < parts; ++i) {
    const Winner& winner =
        map_only ? core_.map_winner(i) : core_.reduce_winner(i);
    add(winner.done.output(), storage::PartName(i));
  }
  for (uint32_t i = 0; i < core_.num_maps(); ++i) {
    const proto::TaskDone& done = core_.map_winner(i).done;
    if (!done.has_dead_letter()) continue;
    add(done.dead_letter(), storage::DeadLetterName(i));
  }
  // From here on the job fails for two reasons alone, which the store names;
  // all else is worth another try. But nobody waits here for ever for a store
  // that stays ill.
  absl::Status status;
  for (int tries = 0; tries < kPublishTriesMax; ++tries) {
    status = storage::Publish(fs_, decision,
                              flags_.paranoid ? storage::kParanoidReaders : 0);
    if (status.ok() || absl::IsAlreadyExists(status) ||
        absl::IsDataLoss(status)) {
      break;
    }
  }
  return status;
}

storage::Manifest LocalJob::MakeManifest() const {
  storage::ManifestHeader header;
  header.job = job_id_;
  header.job_name = job_.name;
  header.output_format =
      job_.output == internal::OutputKind::kText ? "text" : "fixed";
  header.record_bytes = job_.output_record_bytes;
  header.created_at = clock_.Now();
  storage::Manifest manifest = storage::StartManifest(header, core_.plan());
  const auto add = [&](uint32_t index, const Winner& winner) {
    storage::AddCounters(winner.done.counters(), &manifest);
    storage::AddLedger(winner.done.ledger(), &manifest.ledger);
    if (winner.done.has_dead_letter()) {
      storage::AddFile(storage::DeadLetterName(index),
                       winner.done.dead_letter(), winner.uid,
                       &manifest.dead_letters);
    }
    if (!winner.done.has_output()) return;
    storage::AddFile(storage::PartName(index), winner.done.output(), winner.uid,
                     &manifest.files);
  };
  for (uint32_t i = 0; i < core_.num_maps(); ++i) add(i, core_.map_winner(i));
  for (uint32_t i = 0; i < core_.num_partitions(); ++i) {
    add(i, core_.reduce_winner(i));
  }
  return manifest;
}

}  // namespace millrace::local
