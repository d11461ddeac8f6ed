#include "client/replay_request.h"

#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "common/bundle_names.h"
#include "common/errno_status.h"
#include "common/ids.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::client {

proto::ReplayBundle MakeBundle(const proto::GetJobReply& job,
                               const proto::TaskName& task, Random& random) {
  const proto::JobSpec& spec = job.spec();
  proto::ReplayBundle bundle;
  bundle.set_format_version(kBundleFormatVersion);
  bundle.set_job_name(spec.description().name());
  proto::Configure* configure = bundle.mutable_configure();
  configure->set_job_id(job.status().job_id());
  *configure->mutable_arguments() = spec.arguments();
  configure->set_memory_budget_bytes(spec.memory_budget_bytes());
  configure->set_map_output_codec(spec.map_output_codec());
  configure->set_output_bytes_max(spec.output_bytes_max());
  configure->set_job_seed(spec.job_seed());
  for (const proto::SideBlob& side : spec.side_files()) {
    configure->add_side_files()->set_name(side.name());
  }
  bundle.set_memory_limit_bytes(spec.memory_limit_bytes());
  bundle.set_log_bytes_max(spec.log_bytes_max());
  bundle.set_task_timeout_ms(spec.task_timeout_ms());
  bundle.set_task_time_limit_ms(spec.task_time_limit_ms());
  bundle.set_skip_bad_records(spec.skip_bad_records());
  if (job.has_map_written()) *bundle.mutable_map_written() = job.map_written();

  proto::RunTask* run = bundle.mutable_task();
  run->set_kind(task.kind());
  run->set_index(task.index());
  run->set_attempt_uid(std::string(AttemptUid::Generate(random).bytes()));
  if (task.kind() == proto::MAP_TASK) {
    run->mutable_map();
  } else {
    run->mutable_reduce();
  }
  const proto::JobFailure& failure = job.status().failure();
  const proto::AttemptRef& attempt = failure.attempt();
  if (job.status().has_failure() && failure.has_attempt() &&
      attempt.task().kind() == task.kind() &&
      attempt.task().index() == task.index()) {
    if (!attempt.attempt_uid().empty()) {
      run->set_attempt_uid(attempt.attempt_uid());
    }
    run->set_attempt(attempt.number());
    bundle.mutable_failed()->set_cause(failure.cause());
    bundle.mutable_failed()->set_message(failure.message());
    bundle.mutable_failed()->set_stack(failure.stack());
  }
  return bundle;
}

absl::Status FetchBundle(ClusterClient& cluster, FileSystem& fs,
                         std::string_view id_prefix,
                         const proto::TaskName& task,
                         const std::string& directory) {
  if (task.kind() != proto::MAP_TASK && task.kind() != proto::REDUCE_TASK) {
    return absl::FailedPreconditionError("only maps and reduces are replayed");
  }
  JobDetail detail;
  detail.spec = true;
  MR_ASSIGN_OR_RETURN(const proto::GetJobReply job,
                      cluster.GetJob(id_prefix, detail));
  if (job.plan_sha256().empty()) {
    return absl::FailedPreconditionError(
        Av(Cat("job ", HexEncode(job.status().job_id()).substr(0, 8),
               " has no plan, so it has no tasks that could be replayed")));
  }
  const proto::TaskTotals& totals = task.kind() == proto::MAP_TASK
                                        ? job.status().maps()
                                        : job.status().reduces();
  if (task.index() >= totals.total()) {
    return absl::NotFoundError(
        Av(Cat("the job has ", totals.total(),
               task.kind() == proto::MAP_TASK ? " maps" : " reduces")));
  }
  MR_RETURN_IF_ERROR(fs.MakeDirectory(directory));
  const std::string program = JoinPath(directory, kBundleProgram);
  MR_RETURN_IF_ERROR(
      cluster.FetchBlob(job.spec().program_sha256(), program, fs));
  if (chmod(program.c_str(), 0755) != 0) {
    return ErrnoStatus(errno, "make executable", program);
  }
  MR_RETURN_IF_ERROR(cluster.FetchBlob(job.plan_sha256(),
                                       JoinPath(directory, kBundlePlan), fs));
  for (int i = 0; i < job.spec().side_files_size(); ++i) {
    MR_RETURN_IF_ERROR(
        cluster.FetchBlob(job.spec().side_files(i).sha256(),
                          JoinPath(directory, BundleSideFileName(i)), fs));
  }
  const std::unique_ptr<Random> random = Random::Entropy();
  return WriteWholeFile(fs, JoinPath(directory, kBundleAttempt),
                        MakeBundle(job, task, *random).SerializeAsString());
}

}  // namespace millrace::client
