#include "storage/commit/output_commit.h"

#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

constexpr size_t kCheckBytes = 1 << 20;

// Whether something is at `path`; a dangling link is something.
absl::StatusOr<bool> Exists(FileSystem& fs, const std::string& path) {
  const absl::StatusOr<FileInfo> info = fs.StatLink(path);
  if (info.ok()) return true;
  if (absl::IsNotFound(info.status())) return false;
  return info.status();
}

absl::Status OutputExists(const std::string& output) {
  return absl::AlreadyExistsError(
      Av(Cat("output ", Printable(output, 4096),
             " exists and is never overwritten; remove it or choose another")));
}

// OK when a directory is there afterwards.
absl::Status EnsureDirectory(FileSystem& fs, const std::string& path) {
  const absl::Status status = fs.MakeDirectory(path);
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

absl::StatusOr<uint64_t> HashFile(FileSystem& fs, const std::string& path) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  StreamHash64 hash;
  std::string buffer(kCheckBytes, '\0');
  for (uint64_t offset = 0;;) {
    MR_ASSIGN_OR_RETURN(const size_t got,
                        file->ReadAt(offset, buffer.data(), buffer.size()));
    hash.Update(std::string_view(buffer).substr(0, got));
    if (got < buffer.size()) return hash.Digest();
    offset += got;
  }
}

// OK: the file at `path` is the winner's, as it was reported.
absl::Status CheckWinner(FileSystem& fs, const Winner& winner,
                         const std::string& path, bool paranoid) {
  const auto lost = [&](std::string_view why) {
    return absl::DataLossError(Av(Cat("COMMIT_DATA_LOST: ", winner.final_name,
                                      " (", Printable(path, 4096), ") ", why)));
  };
  const absl::StatusOr<FileInfo> info = fs.StatLink(path);
  if (absl::IsNotFound(info.status())) return lost("is gone");
  MR_RETURN_IF_ERROR(info.status());
  if (info->kind != FileKind::kRegular) return lost("is no regular file");
  if (info->identity.size != winner.bytes) {
    return lost(Cat("has ", info->identity.size, " bytes, was written with ",
                    winner.bytes));
  }
  if (info->identity.inode != winner.inode) return lost("is another file");
  if (paranoid) {
    MR_ASSIGN_OR_RETURN(const uint64_t hash, HashFile(fs, path));
    if (hash != winner.xxh3) return lost("does not have its checksum");
  }
  return absl::OkStatus();
}

// Whether the output at `decision.output` is this very job's, complete.
absl::StatusOr<bool> AlreadyPublished(FileSystem& fs,
                                      const Decision& decision) {
  MR_ASSIGN_OR_RETURN(const bool exists, Exists(fs, decision.output));
  if (!exists) return false;
  const absl::StatusOr<std::string> manifest =
      ReadWholeFile(fs, JoinPath(decision.output, kManifestName),
                    decision.manifest_json.size());
  if (manifest.ok() && *manifest == decision.manifest_json) return true;
  return absl::AlreadyExistsError(
      Av(Cat("OUTPUT_CONFLICT: somebody else made ",
             Printable(decision.output, 4096), " while the job ran")));
}

absl::Status WriteManifest(FileSystem& fs, const std::string& staging,
                           const std::string& final_dir,
                           const Decision& decision) {
  const std::string path = JoinPath(final_dir, kManifestName);
  const absl::StatusOr<std::string> present =
      ReadWholeFile(fs, path, decision.manifest_json.size());
  if (present.ok() && *present == decision.manifest_json) {
    return absl::OkStatus();
  }
  // By way of a temporary name: S/final never holds half a manifest.
  const std::string temporary = JoinPath(staging, "manifest.tmp");
  MR_RETURN_IF_ERROR(fs.RemoveTree(temporary));
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, temporary, decision.manifest_json));
  return fs.Rename(temporary, path);
}

}  // namespace

std::string StagingPath(const std::string& output, const JobId& job) {
  return Cat(output, ".millrace-", job.ToHex());
}

absl::Status PrepareStaging(FileSystem& fs, const std::string& output,
                            const JobId& job) {
  MR_ASSIGN_OR_RETURN(const bool exists, Exists(fs, output));
  if (exists) return OutputExists(output);
  const std::string parent = ParentPath(output);
  const absl::StatusOr<FileInfo> info = fs.Stat(parent);
  if (absl::IsNotFound(info.status())) {
    return absl::NotFoundError(
        Av(Cat("output ", Printable(output, 4096), ": its parent directory ",
               Printable(parent, 4096), " does not exist; make it first")));
  }
  MR_RETURN_IF_ERROR(info.status());
  const std::string staging = StagingPath(output, job);
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(
        status, Cat("output ", Printable(output, 4096), " cannot be written"));
  };
  MR_RETURN_IF_ERROR(annotate(fs.MakeDirectory(staging)));
  MR_RETURN_IF_ERROR(annotate(fs.MakeDirectory(JoinPath(staging, "att"))));

  // Publishing rests on this call; whether it works is better known now.
  const std::string from = JoinPath(staging, "probe");
  const std::string to = JoinPath(staging, "probed");
  MR_RETURN_IF_ERROR(annotate(fs.MakeDirectory(from)));
  MR_RETURN_IF_ERROR(annotate(fs.RenameNoReplace(from, to)));
  return annotate(fs.RemoveTree(to));
}

absl::Status Publish(FileSystem& fs, const Decision& decision, bool paranoid) {
  MR_ASSIGN_OR_RETURN(const bool published, AlreadyPublished(fs, decision));
  if (published) return fs.SyncDirectory(ParentPath(decision.output));

  const std::string staging = StagingPath(decision.output, decision.job);
  const std::string final_dir = JoinPath(staging, "final");
  MR_RETURN_IF_ERROR(EnsureDirectory(fs, final_dir));
  for (const Winner& winner : decision.winners) {
    const std::string target = JoinPath(final_dir, winner.final_name);
    MR_ASSIGN_OR_RETURN(const bool moved, Exists(fs, target));
    if (!moved) {
      MR_RETURN_IF_ERROR(CheckWinner(fs, winner, winner.staged_path, paranoid));
      MR_RETURN_IF_ERROR(fs.Rename(winner.staged_path, target));
    } else {
      MR_RETURN_IF_ERROR(CheckWinner(fs, winner, target, paranoid));
    }
  }
  // The part files were synced when they were sealed.
  MR_RETURN_IF_ERROR(WriteManifest(fs, staging, final_dir, decision));
  MR_RETURN_IF_ERROR(fs.SyncDirectory(final_dir));

  const absl::Status renamed = fs.RenameNoReplace(final_dir, decision.output);
  if (!renamed.ok()) {
    // A network file system may have done it and lost the answer.
    MR_ASSIGN_OR_RETURN(const bool done, AlreadyPublished(fs, decision));
    if (!done) return renamed;
  }
  return fs.SyncDirectory(ParentPath(decision.output));
}

absl::Status RemoveStaging(FileSystem& fs, const std::string& output,
                           const JobId& job) {
  return fs.RemoveTree(StagingPath(output, job));
}

}  // namespace millrace::storage
