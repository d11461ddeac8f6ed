#include "worker/commit/commit_task.h"

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/manifest_builder.h"
#include "storage/commit/output_commit.h"
#include "storage/output/part_writer.h"
#include "worker/agent/job_setup.h"

namespace millrace::worker {
namespace {

// A job with a million part files has one of 150 MB.
constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;

proto::AttemptFailure Failure(proto::FailureCause cause,
                              const absl::Status& status, bool retryable) {
  proto::AttemptFailure failure;
  failure.set_cause(cause);
  failure.set_message(std::string(ToStd(status.message())));
  failure.set_retryable(retryable);
  return failure;
}

absl::Status MakeIfMissing(FileSystem& fs, const std::string& path) {
  const absl::Status made = fs.MakeDirectory(path);
  return absl::IsAlreadyExists(made) ? absl::OkStatus() : made;
}

proto::AttemptFailure StagingFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAlreadyExists:
      return Failure(proto::OUTPUT_EXISTS, status, false);
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInvalidArgument:
      return Failure(proto::OUTPUT_FAILED, status, false);
    case absl::StatusCode::kResourceExhausted:
      return Failure(proto::DISK_FULL, status, true);
    default:
      return Failure(proto::OUTPUT_FAILED, status, true);
  }
}

proto::AttemptFailure BlobFailure(const absl::Status& status) {
  return Failure(absl::IsResourceExhausted(status) ? proto::DISK_FULL
                                                   : proto::BLOB_UNAVAILABLE,
                 status, true);
}

// kInvalidArgument: the grant's winners are not named as they must be; a bug of
// a master.
absl::Status AddWinners(
    const proto::JobSpec& spec, const JobId& job,
    const google::protobuf::RepeatedPtrField<proto::WinnerFile>& winners,
    storage::Decision* decision) {
  decision->output = spec.output();
  decision->job = job;
  for (const proto::WinnerFile& winner : winners) {
    const auto uid = AttemptUid::FromBytes(winner.attempt_uid());
    if (!uid.has_value()) {
      return absl::InvalidArgumentError("a winner without an attempt uid");
    }
    const uint32_t index = winner.task().index();
    storage::Winner& out = decision->winners.emplace_back();
    // Made from ids, so that no job can have another one's file moved.
    out.staged_path = OutputPath(spec.output(), job, *uid, index);
    out.final_name = storage::PartName(index);
    out.bytes = winner.file().bytes();
    out.inode = winner.file().inode();
    out.xxh3 = winner.file().xxh3();
  }
  return absl::OkStatus();
}

storage::Manifest MakeManifest(const RunCheck& check) {
  const proto::JobDescription& description = check.spec.description();
  storage::ManifestHeader header;
  header.job = check.job;
  header.job_name =
      check.spec.name().empty() ? description.name() : check.spec.name();
  header.output_format = description.output_format().empty()
                             ? "text"
                             : description.output_format();
  header.record_bytes = description.output_record_bytes();
  header.created_at = absl::FromUnixMillis(check.grant.created_at_ms());
  storage::Manifest manifest =
      storage::StartManifest(header, check.grant.plan());
  storage::AddCounters(check.grant.counters(), &manifest);
  manifest.ledger.insert(check.grant.ledger().begin(),
                         check.grant.ledger().end());
  for (const proto::WinnerFile& winner : check.grant.winners()) {
    storage::AddFile(
        storage::PartName(winner.task().index()), winner.file(),
        AttemptUid::FromBytes(winner.attempt_uid()).value_or(AttemptUid()),
        &manifest);
  }
  return manifest;
}

}  // namespace

AttemptPrepared PrepareDirectories(FileSystem& fs, const WorkerLayout& layout,
                                   const PrepareAttempt& prepare) {
  AttemptPrepared answer{prepare.attempt, prepare.job, std::nullopt};
  const std::string spool = layout.Spool();
  absl::Status status = MakeIfMissing(fs, JobSpool(spool, prepare.job));
  if (status.ok()) {
    status =
        MakeIfMissing(fs, AttemptSpool(spool, prepare.job, prepare.attempt));
  }
  if (!status.ok()) {
    answer.failure =
        Failure(absl::IsResourceExhausted(status) ? proto::DISK_FULL
                                                  : proto::INFRASTRUCTURE,
                status, true);
    return answer;
  }
  if (prepare.makes_staging) {
    status = storage::PrepareStaging(fs, prepare.output, prepare.job);
    if (!status.ok()) answer.failure = StagingFailure(status);
  } else if (prepare.writes_output) {
    const std::string directory =
        OutputDirectory(prepare.output, prepare.job, prepare.attempt);
    status = MakeIfMissing(fs, directory);
    // A winner that stands in the masters' log must not lose its way in a
    // power cut. (The attempt syncs what is below.)
    if (status.ok()) status = fs.SyncDirectory(ParentPath(directory));
    if (!status.ok()) {
      answer.failure =
          Failure(absl::IsResourceExhausted(status) ? proto::DISK_FULL
                                                    : proto::OUTPUT_FAILED,
                  status, true);
    }
  }
  return answer;
}

OutputChecked CheckOutput(FileSystem& fs, BlobCache& blobs,
                          const RunCheck& check) {
  OutputChecked answer{check.attempt, check.job, "", std::nullopt};
  storage::Decision decision;
  absl::Status status =
      AddWinners(check.spec, check.job, check.grant.winners(), &decision);
  if (!status.ok()) {
    answer.failure = Failure(proto::INTERNAL, status, false);
    return answer;
  }
  size_t lost = 0;
  status = storage::CheckWinners(fs, decision, check.spec.paranoid(), &lost);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kAlreadyExists:
      answer.failure = Failure(proto::OUTPUT_EXISTS, status, false);
      return answer;
    case absl::StatusCode::kDataLoss: {
      answer.failure = Failure(proto::COMMIT_DATA_LOST, status, true);
      const proto::WinnerFile& winner =
          check.grant.winners(static_cast<int>(lost));
      answer.failure->set_map_index(winner.task().index());
      answer.failure->set_map_uid(winner.attempt_uid());
      return answer;
    }
    default:
      answer.failure = Failure(proto::OUTPUT_FAILED, status, true);
      return answer;
  }
  absl::StatusOr<std::string> stored =
      blobs.PutBytes(storage::SerializeManifest(MakeManifest(check)));
  if (!stored.ok()) {
    answer.failure = BlobFailure(stored.status());
    return answer;
  }
  answer.manifest_sha256 = *std::move(stored);
  return answer;
}

OutputPublished PublishOutput(FileSystem& fs, BlobCache& blobs,
                              const RunPublish& publish) {
  OutputPublished answer{publish.attempt, publish.job, std::nullopt};
  storage::Decision decision;
  absl::Status status =
      AddWinners(publish.spec, publish.job, publish.grant.winners(), &decision);
  if (!status.ok()) {
    answer.failure = Failure(proto::INTERNAL, status, true);
    return answer;
  }
  absl::StatusOr<std::string> manifest =
      blobs.Read(publish.grant.manifest_sha256(), kManifestBytesMax);
  if (!manifest.ok()) {
    answer.failure = BlobFailure(manifest.status());
    return answer;
  }
  decision.manifest_json = *std::move(manifest);
  // The winners were read again, if that was wanted, before the decision.
  status = storage::Publish(fs, decision, /*paranoid=*/false);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kAlreadyExists:
      answer.failure = Failure(proto::OUTPUT_CONFLICT, status, false);
      break;
    case absl::StatusCode::kDataLoss:
      answer.failure = Failure(proto::COMMIT_DATA_LOST, status, false);
      break;
    case absl::StatusCode::kResourceExhausted:
      answer.failure = Failure(proto::DISK_FULL, status, true);
      break;
    default:
      answer.failure = Failure(proto::OUTPUT_FAILED, status, true);
      break;
  }
  return answer;
}

PlanStored StorePlan(const WorkerLayout& layout, BlobCache& blobs,
                     const PutPlan& put) {
  PlanStored answer{put.attempt, put.job, "", std::nullopt};
  absl::StatusOr<std::string> stored =
      blobs.Put(PlanPath(layout, put.job, put.attempt));
  if (stored.ok()) {
    answer.sha256 = *std::move(stored);
  } else {
    answer.failure = BlobFailure(stored.status());
  }
  return answer;
}

}  // namespace millrace::worker
