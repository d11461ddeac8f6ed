#include "worker/agent/job_setup.h"

#include "common/sha256.h"
#include "common/strings.h"
#include "storage/commit/output_commit.h"
#include "storage/output/dead_letter.h"
#include "storage/output/part_writer.h"

namespace millrace::worker {
namespace {

bool IsSafeName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

absl::Status CheckSpec(const proto::JobSpec& spec) {
  if (spec.program_sha256().size() != kSha256Bytes) {
    return absl::InvalidArgumentError("the job names no program");
  }
  for (const proto::SideBlob& side : spec.side_files()) {
    if (side.sha256().size() != kSha256Bytes || !IsSafeName(side.name())) {
      return absl::InvalidArgumentError(
          Av(Cat("the job has a side file without a proper name: \"",
                 Printable(side.name()), "\"")));
    }
  }
  const std::string& output = spec.output();
  if (output.empty() || output[0] != '/' ||
      output.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(Av(Cat(
        "the job's output is no absolute path: \"", Printable(output), "\"")));
  }
  return absl::OkStatus();
}

std::set<std::string> JobBlobs(const proto::JobSpec& spec) {
  std::set<std::string> blobs = {spec.program_sha256()};
  for (const proto::SideBlob& side : spec.side_files()) {
    blobs.insert(side.sha256());
  }
  return blobs;
}

StartChild MakeStartChild(ChildNumber child, const JobId& job,
                          const AttemptUid& attempt, const proto::JobSpec& spec,
                          const WorkerLayout& layout) {
  const auto or_default = [](uint64_t value, uint64_t otherwise) {
    return value != 0 ? value : otherwise;
  };
  StartChild start;
  start.child = child;
  start.job = job;
  start.attempt = attempt;
  start.program_sha256 = spec.program_sha256();
  const uint64_t budget =
      or_default(spec.memory_budget_bytes(), kMemoryBudgetDefault);
  start.memory_limit_bytes =
      or_default(spec.memory_limit_bytes(), budget + kMemoryLimitExtra);
  start.log_bytes_max = or_default(spec.log_bytes_max(), kLogBytesMaxDefault);
  start.task_timeout = absl::Milliseconds(spec.task_timeout_ms());
  start.task_time_limit = absl::Milliseconds(spec.task_time_limit_ms());

  proto::Configure& configure = start.configure;
  configure.set_protocol_version(proto::TASK_PROTOCOL_VERSION);
  configure.set_job_id(std::string(job.bytes()));
  *configure.mutable_arguments() = spec.arguments();
  configure.set_memory_budget_bytes(budget);
  configure.set_map_output_codec(
      spec.map_output_codec().empty() ? "lz4" : spec.map_output_codec());
  configure.set_job_seed(spec.job_seed());
  configure.set_output_bytes_max(spec.output_bytes_max());
  for (const proto::SideBlob& side : spec.side_files()) {
    proto::SideFile* file = configure.add_side_files();
    file->set_name(side.name());
    file->set_path(layout.Blob(side.sha256()));
  }
  return start;
}

std::string OutputDirectory(const std::string& output, const JobId& job,
                            const AttemptUid& uid) {
  return JoinPath(JoinPath(storage::StagingPath(output, job), "att"),
                  uid.ToHex());
}

std::string OutputPath(const std::string& output, const JobId& job,
                       const AttemptUid& uid, uint32_t index) {
  return JoinPath(OutputDirectory(output, job, uid), storage::PartName(index));
}

bool SameRecord(const proto::BadRecord& a, const proto::BadRecord& b) {
  return a.file() == b.file() && a.offset() == b.offset();
}

std::string DeadLetterPath(const std::string& output, const JobId& job,
                           const AttemptUid& uid, uint32_t map) {
  return JoinPath(OutputDirectory(output, job, uid),
                  storage::DeadLetterName(map));
}

std::string PlanPath(const WorkerLayout& layout, const JobId& job,
                     const AttemptUid& uid) {
  return JoinPath(AttemptScratch(layout.Spool(), job, uid), "plan");
}

bool WritesPart(const proto::Grant& grant) {
  return grant.has_reduce() ||
         (grant.has_map() && grant.map().num_partitions() == 0);
}

proto::RunTask MakeRunTask(const proto::Grant& grant, const JobId& job,
                           const AttemptUid& uid, const proto::JobSpec& spec,
                           const WorkerLayout& layout,
                           const std::vector<proto::MapOutputRef>& inputs,
                           const std::vector<proto::BadRecord>& bad_records) {
  const proto::AttemptRef& ref = grant.attempt();
  proto::RunTask run;
  run.set_kind(ref.task().kind());
  run.set_index(ref.task().index());
  run.set_attempt_uid(ref.attempt_uid());
  run.set_attempt(ref.number());
  const std::string scratch = AttemptScratch(layout.Spool(), job, uid);
  const std::string part =
      OutputPath(spec.output(), job, uid, ref.task().index());
  if (grant.has_plan()) {
    proto::PlanTask* plan = run.mutable_plan();
    *plan->mutable_inputs() = spec.inputs();
    plan->set_split_bytes(spec.split_bytes());
    plan->set_num_reducers(spec.num_reducers());
    plan->set_plan_path(PlanPath(layout, job, uid));
    plan->set_sequence_rows(spec.sequence_rows());
    plan->set_sequence_splits(spec.sequence_splits());
    plan->mutable_bad_records()->Add(bad_records.begin(), bad_records.end());
    plan->set_sample_map_output(grant.plan().sample_map_output() &&
                                bad_records.empty());
  } else if (grant.has_map()) {
    proto::MapTask* map = run.mutable_map();
    map->set_plan_path(layout.Blob(grant.map().plan_sha256()));
    map->set_num_partitions(grant.map().num_partitions());
    map->set_scratch_dir(scratch);
    map->set_output_path(
        WritesPart(grant) ? part : MapOutputPath(layout.Spool(), job, uid));
    if (!bad_records.empty()) {
      map->mutable_bad_records()->Add(bad_records.begin(), bad_records.end());
      map->set_dead_letter_path(
          DeadLetterPath(spec.output(), job, uid, ref.task().index()));
    }
  } else {
    proto::ReduceTask* reduce = run.mutable_reduce();
    reduce->mutable_map_outputs()->Add(inputs.begin(), inputs.end());
    reduce->set_scratch_dir(scratch);
    reduce->set_output_path(part);
    reduce->set_num_partitions(grant.reduce().num_partitions());
  }
  return run;
}

}  // namespace millrace::worker
