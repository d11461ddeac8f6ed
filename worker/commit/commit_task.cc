#include "worker/commit/commit_task.h"

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/manifest_builder.h"
#include "storage/commit/output_commit.h"
#include "storage/output/dead_letter.h"
#include "storage/output/part_writer.h"
#include "supervisor/shortage_cause.h"
#include "worker/agent/job_setup.h"
#include "worker/spool/attempt_files.h"

namespace millrace::worker {
namespace {

using supervisor::CauseOf;

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
    default:
      return Failure(CauseOf(status, proto::OUTPUT_FAILED), status, true);
  }
}

proto::AttemptFailure BlobFailure(const absl::Status& status) {
  return Failure(CauseOf(status, proto::BLOB_UNAVAILABLE), status, true);
}

AttemptUid UidOf(const proto::DeadLetter& letter) {
  return AttemptUid::FromBytes(letter.attempt_uid()).value_or(AttemptUid());
}

using DeadLetters = google::protobuf::RepeatedPtrField<proto::DeadLetter>;

// The dead letters come after the part files.
storage::Decision MakeDecision(const proto::JobSpec& spec, const JobId& job,
                               const WinnerFiles& winners,
                               const DeadLetters& letters) {
  storage::Decision decision;
  decision.output = spec.output();
  decision.job = job;
  static const auto* const kNone = new std::vector<WinnerFile>;
  const std::vector<WinnerFile>& parts = winners == nullptr ? *kNone : *winners;
  decision.winners.reserve(parts.size() + static_cast<size_t>(letters.size()));
  for (const WinnerFile& winner : parts) {
    const uint32_t index = static_cast<uint32_t>(decision.winners.size());
    storage::Winner& out = decision.winners.emplace_back();
    // Made from ids, so that no job can have another one's file moved.
    out.staged_path = OutputPath(spec.output(), job, winner.uid, index);
    out.final_name = storage::PartName(index);
    out.bytes = winner.bytes;
    out.inode = winner.inode;
    out.xxh3 = winner.xxh3;
  }
  for (const proto::DeadLetter& letter : letters) {
    storage::Winner& out = decision.winners.emplace_back();
    out.staged_path =
        DeadLetterPath(spec.output(), job, UidOf(letter), letter.map_index());
    out.final_name = storage::DeadLetterName(letter.map_index());
    out.bytes = letter.bytes();
    out.inode = letter.inode();
    out.xxh3 = letter.xxh3();
  }
  return decision;
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
  for (const proto::DeadLetter& letter : check.grant.dead_letters()) {
    proto::OutputFile file;
    file.set_bytes(letter.bytes());
    file.set_records(letter.records());
    file.set_xxh3(letter.xxh3());
    storage::AddFile(storage::DeadLetterName(letter.map_index()), file,
                     UidOf(letter), &manifest.dead_letters);
  }
  if (check.winners == nullptr) return manifest;
  uint32_t index = 0;
  for (const WinnerFile& winner : *check.winners) {
    proto::OutputFile file;
    file.set_bytes(winner.bytes);
    file.set_records(winner.records);
    file.set_xxh3(winner.xxh3);
    storage::AddFile(storage::PartName(index++), file, winner.uid,
                     &manifest.files);
  }
  return manifest;
}

}  // namespace

AttemptPrepared PrepareDirectories(FileSystem& fs, const WorkerLayout& layout,
                                   const PrepareAttempt& prepare) {
  AttemptPrepared answer{prepare.attempt, prepare.job, std::nullopt};
  const std::string spool = layout.Spool();
  absl::Status status;
  if (prepare.begins_anew) {
    status = RemoveAttemptFiles(fs, spool, prepare.job, prepare.attempt);
    if (status.ok() && prepare.writes_output) {
      status = fs.RemoveTree(
          OutputDirectory(prepare.output, prepare.job, prepare.attempt));
    }
  }
  if (status.ok()) status = MakeIfMissing(fs, JobSpool(spool, prepare.job));
  if (status.ok() && prepare.needs_scratch) {
    status =
        MakeIfMissing(fs, AttemptScratch(spool, prepare.job, prepare.attempt));
  }
  if (!status.ok()) {
    answer.failure =
        Failure(CauseOf(status, proto::INFRASTRUCTURE), status, true);
    return answer;
  }
  if (prepare.makes_staging) {
    status = storage::PrepareStaging(fs, prepare.output, prepare.job,
                                     prepare.attempt);
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
          Failure(CauseOf(status, proto::OUTPUT_FAILED), status, true);
    }
  }
  return answer;
}

OutputChecked CheckOutput(FileSystem& fs, BlobCache& blobs,
                          const RunCheck& check, int readers) {
  OutputChecked answer{check.attempt, check.job, "", std::nullopt};
  const storage::Decision decision = MakeDecision(
      check.spec, check.job, check.winners, check.grant.dead_letters());
  size_t lost = 0;
  const absl::Status status = storage::CheckWinners(
      fs, decision, check.spec.paranoid() ? readers : 0, &lost);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kAlreadyExists:
      answer.failure = Failure(proto::OUTPUT_EXISTS, status, false);
      return answer;
    case absl::StatusCode::kDataLoss: {
      answer.failure = Failure(proto::COMMIT_DATA_LOST, status, true);
      const size_t parts = check.winners == nullptr ? 0 : check.winners->size();
      if (lost < parts) {
        answer.failure->set_map_index(static_cast<uint32_t>(lost));
        answer.failure->set_map_uid(
            std::string(check.winners->at(lost).uid.bytes()));
        return answer;
      }
      const proto::DeadLetter& letter =
          check.grant.dead_letters(static_cast<int>(lost - parts));
      answer.failure->set_dead_letter(true);
      answer.failure->set_map_index(letter.map_index());
      answer.failure->set_map_uid(letter.attempt_uid());
      return answer;
    }
    default:
      answer.failure =
          Failure(CauseOf(status, proto::OUTPUT_FAILED), status, true);
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
  storage::Decision decision = MakeDecision(
      publish.spec, publish.job, publish.winners, publish.grant.dead_letters());
  absl::StatusOr<std::string> manifest =
      blobs.Read(publish.grant.manifest_sha256(), kManifestBytesMax);
  if (!manifest.ok()) {
    answer.failure = BlobFailure(manifest.status());
    return answer;
  }
  decision.manifest_json = *std::move(manifest);
  // The winners were read again, if that was wanted, before the decision.
  const absl::Status status = storage::Publish(fs, decision, /*readers=*/0);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kAlreadyExists:
      answer.failure = Failure(proto::OUTPUT_CONFLICT, status, false);
      break;
    case absl::StatusCode::kDataLoss:
      answer.failure = Failure(proto::COMMIT_DATA_LOST, status, false);
      break;
    default:
      answer.failure =
          Failure(CauseOf(status, proto::OUTPUT_FAILED), status, true);
      break;
  }
  return answer;
}

JobDeleted DeleteJobFiles(FileSystem& fs, const WorkerLayout& layout,
                          const DeleteJob& job) {
  const std::string spool = JobSpool(layout.Spool(), job.job);
  const absl::StatusOr<std::vector<DirEntry>> attempts = fs.List(spool);
  absl::Status status = attempts.status();
  if (absl::IsNotFound(status)) status = absl::OkStatus();
  // The bytes first: the store may be away for long.
  for (size_t i = 0; attempts.ok() && status.ok() && i < attempts->size();
       ++i) {
    status = fs.RemoveTree(JoinPath(spool, (*attempts)[i].name));
  }
  if (status.ok() && !job.output.empty()) {
    status = storage::RemoveStaging(fs, job.output, job.job);
  }
  if (status.ok()) status = fs.RemoveTree(spool);
  return {job.job, status};
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
