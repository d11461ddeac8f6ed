#include "storage/commit/output_commit.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "common/fault_point.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

constexpr std::string_view kStagingMark = ".millrace-";
constexpr size_t kProbeBytes = 4096;
constexpr size_t kReadBytes = 1 << 20;
// Names for the manifest's temporary file; each crash of a committer uses one.
constexpr int kManifestNamesMax = 10'000;

std::string Shown(const std::string& path) { return Printable(path, 4096); }

std::string WithoutTrailingSeparators(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

// kDataLoss and kAlreadyExists are this file's verdicts, which end a job. An
// error of the disk with such a code is no verdict: it may go away.
absl::Status Retryable(const absl::Status& status) {
  if (!absl::IsDataLoss(status) && !absl::IsAlreadyExists(status) &&
      !absl::IsNotFound(status)) {
    return status;
  }
  return absl::UnavailableError(status.message());
}

absl::Status Exists(const std::string& output, const FileInfo& found) {
  std::string_view what = "a directory";
  if (found.kind == FileKind::kRegular) what = "a file";
  if (found.kind == FileKind::kSymlink) what = "a symbolic link";
  if (found.kind == FileKind::kOther) what = "a device, pipe or socket";
  return absl::AlreadyExistsError(
      Av(Cat("the output ", Shown(output), " exists already (", what,
             ") and is never overwritten; remove it or name another")));
}

// Whether what is in the directory `probe`, which is made for it, can be
// renamed without replacing, and whether a block can be written there. Leaves
// nothing, unless it fails.
absl::Status Probe(FileSystem& fs, const std::string& probe) {
  MR_RETURN_IF_ERROR(fs.RemoveTree(probe));  // Of a call that was cut short.
  MR_RETURN_IF_ERROR(fs.MakeDirectory(probe));
  const std::string from = JoinPath(probe, "from");
  const std::string to = JoinPath(probe, "to");
  MR_RETURN_IF_ERROR(fs.MakeDirectory(from));
  MR_RETURN_IF_ERROR(fs.RenameNoReplace(from, to));
  MR_RETURN_IF_ERROR(fs.MakeDirectory(from));
  // A file system that does not know the flag may ignore it: it would replace
  // the empty directory.
  const absl::Status second = fs.RenameNoReplace(from, to);
  if (second.ok()) {
    return absl::UnimplementedError("its rename replaces although told not to");
  }
  if (!absl::IsAlreadyExists(second)) return second;
  // Free space is a number some file systems make up; a block that was taken
  // is not.
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file,
                      fs.Create(JoinPath(probe, "block")));
  MR_RETURN_IF_ERROR(file->Append(std::string(kProbeBytes, '\0')));
  MR_RETURN_IF_ERROR(file->Close());
  return fs.RemoveTree(probe);
}

// The first in position of the faults that several threads find. Thread-safe.
class FirstFault {
 public:
  // Positions are below `end`.
  explicit FirstFault(size_t end) : position_(end) {}

  // `end` and OK as long as there is none.
  size_t position() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return position_;
  }
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  void Note(size_t position, absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (position >= position_) return;
    position_ = position;
    status_ = std::move(status);
  }

 private:
  mutable absl::Mutex mu_;
  size_t position_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// One run of Publish. Every step looks first whether an earlier run, or a
// committer that works at the same time, has done it already; all of them do
// the same.
class Publisher {
 public:
  Publisher(FileSystem& fs, const Decision& decision)
      : fs_(fs),
        decision_(decision),
        output_(WithoutTrailingSeparators(decision.output)),
        staging_(StagingPath(output_, decision.job)),
        final_(JoinPath(staging_, "final")) {}

  absl::Status Check(int readers, size_t* lost) const {
    MR_RETURN_IF_ERROR(CheckNames());
    MR_ASSIGN_OR_RETURN(const bool published, IsPublished());
    return published ? absl::OkStatus() : CheckAll(readers, lost);
  }

  absl::Status Run(int readers) {
    MR_RETURN_IF_ERROR(CheckNames());
    const absl::StatusOr<bool> published = IsPublished();
    if (absl::IsAlreadyExists(published.status())) {
      // Put together all the same: whoever settles the conflict finds an
      // output, not parts below the names of attempts.
      BuildFinal(readers).IgnoreError();
    }
    MR_RETURN_IF_ERROR(published.status());
    if (!*published) {
      const absl::Status status = BuildAndRename(readers);
      if (!status.ok()) {
        // If the output is there in spite of that, somebody else was faster,
        // or a reply was lost.
        MR_ASSIGN_OR_RETURN(const bool after_all, IsPublished());
        if (!after_all) return status;
      }
    }
    // Also for a run that found all done: the one that did it may have ended
    // before this.
    const absl::Status synced = fs_.SyncDirectory(ParentPath(output_));
    if (synced.ok()) return synced;
    return absl::UnavailableError(
        Av(Cat("the output ", Shown(output_),
               " is complete and in its place, but may not outlive a power cut "
               "(",
               ToStd(synced.message()),
               "); let the disk be checked, and verify the output rather than "
               "make it again")));
  }

 private:
  absl::Status CheckNames() const {
    std::set<std::string_view> names = {kManifestName};
    for (const Winner& winner : decision_.winners) {
      const std::string& name = winner.final_name;
      if (name.empty() || name == "." || name == ".." ||
          name.find('/') != std::string::npos || !names.insert(name).second) {
        return absl::InvalidArgumentError(
            Av(Cat("no name for a part file, or not the first of this name: \"",
                   Printable(name), "\"")));
      }
    }
    return absl::OkStatus();
  }

  // True: this very output is in its place. kAlreadyExists: another one is.
  absl::StatusOr<bool> IsPublished() const {
    const absl::StatusOr<FileInfo> info = fs_.StatLink(output_);
    if (absl::IsNotFound(info.status())) return false;
    if (!info.ok()) return Retryable(info.status());
    const absl::StatusOr<std::string> manifest =
        info->kind == FileKind::kDirectory
            ? ReadWholeFile(fs_, JoinPath(output_, kManifestName),
                            decision_.manifest_json.size())
            : absl::NotFoundError("");
    if (manifest.ok() && *manifest == decision_.manifest_json) return true;
    switch (manifest.status().code()) {
      case absl::StatusCode::kOk:
      case absl::StatusCode::kNotFound:
      case absl::StatusCode::kOutOfRange:        // Longer than ours.
      case absl::StatusCode::kInvalidArgument:   // A directory.
      case absl::StatusCode::kPermissionDenied:  // Ours can be read.
        break;
      default:
        return Retryable(manifest.status());
    }
    return absl::AlreadyExistsError(
        Av(Cat("OUTPUT_CONFLICT: ", Shown(output_),
               " was made by somebody else while the job ran; the finished "
               "parts stay in ",
               Shown(staging_))));
  }

  absl::Status BuildAndRename(int readers) {
    MR_RETURN_IF_ERROR(BuildFinal(readers));
    FaultPoint("commit.before_rename");
    const absl::Status renamed =
        Retryable(fs_.RenameNoReplace(final_, output_));
    FaultPoint("commit.renamed");
    return renamed;
  }

  absl::Status BuildFinal(int readers) {
    // All are checked before the first is moved.
    size_t lost = 0;
    MR_RETURN_IF_ERROR(CheckAll(readers, &lost));
    MR_RETURN_IF_ERROR(MakeFinal());
    for (const Winner& winner : decision_.winners) {
      MR_RETURN_IF_ERROR(Move(winner));
      FaultPoint("commit.moved");
    }
    MR_RETURN_IF_ERROR(PutManifest());
    FaultPoint("commit.manifest");
    MR_RETURN_IF_ERROR(CheckFinal());
    // The parts were synced by their attempts, the manifest by PutManifest;
    // their names are now, so that the rename cannot outlive them.
    return Retryable(fs_.SyncDirectory(final_));
  }

  absl::Status Lost(const Winner& winner, std::string_view how) const {
    return absl::DataLossError(
        Av(Cat("COMMIT_DATA_LOST: ", winner.final_name, " of ", Shown(output_),
               " (", Shown(winner.staged_path), ") ", how)));
  }

  absl::Status CheckFile(const Winner& winner, const FileInfo& info) const {
    if (info.kind != FileKind::kRegular) {
      return Lost(winner, "is no regular file");
    }
    if (info.identity.size != winner.bytes) {
      return Lost(winner, Cat("has ", info.identity.size, " bytes, ",
                              winner.bytes, " were reported"));
    }
    if (info.identity.inode != winner.inode) {
      return Lost(winner, Cat("was replaced: inode ", info.identity.inode,
                              ", reported ", winner.inode));
    }
    return absl::OkStatus();
  }

  // The status of the first winner with which something is wrong, and if it is
  // lost its position.
  absl::Status CheckAll(int readers, size_t* lost) const {
    const size_t count = decision_.winners.size();
    const size_t threads =
        std::min(static_cast<size_t>(std::max(readers, 0)), count);
    FirstFault fault(count);
    std::atomic<size_t> next{0};
    const auto check = [&] {
      // What is taken is finished, so whatever is wrong with a winner, those
      // before it are looked at.
      for (size_t i = next++; i < fault.position(); i = next++) {
        const Winner& winner = decision_.winners[i];
        if (absl::Status s = CheckWinner(winner, readers > 0); !s.ok()) {
          fault.Note(i, std::move(s));
        }
      }
    };
    std::vector<std::thread> others;
    try {
      for (size_t i = 1; i < threads; ++i) others.emplace_back(check);
    } catch (const std::system_error& error) {
      LOG(WARNING) << "fewer threads read the output: " << error.what();
    }
    check();
    for (std::thread& other : others) other.join();
    if (absl::IsDataLoss(fault.status())) *lost = fault.position();
    return fault.status();
  }

  // Where the winner is, staged or in its final place, unharmed.
  absl::Status CheckWinner(const Winner& winner, bool read) const {
    std::string path = winner.staged_path;
    absl::StatusOr<FileInfo> info = fs_.StatLink(path);
    if (absl::IsNotFound(info.status())) {
      path = JoinPath(final_, winner.final_name);
      info = fs_.StatLink(path);
    }
    if (absl::IsNotFound(info.status())) return Missing(winner);
    if (!info.ok()) return Retryable(info.status());
    MR_RETURN_IF_ERROR(CheckFile(winner, *info));
    return read ? CheckContents(winner, path) : absl::OkStatus();
  }

  // Nothing at either place. Without the parent directory the store is away,
  // and says nothing about the winner.
  absl::Status Missing(const Winner& winner) const {
    const std::string parent = ParentPath(output_);
    if (!fs_.StatLink(parent).ok()) {
      return absl::UnavailableError(
          Av(Cat("the directory ", Shown(parent),
                 " is not there; is its file system mounted?")));
    }
    return Lost(winner, "is gone");
  }

  absl::Status CheckContents(const Winner& winner,
                             const std::string& path) const {
    absl::StatusOr<std::unique_ptr<ReadFile>> file = fs_.OpenRead(path);
    if (!file.ok()) return Retryable(file.status());
    const std::unique_ptr<char[]> buffer(new char[kReadBytes]);
    StreamHash64 hash;
    for (uint64_t offset = 0; offset < winner.bytes;) {
      absl::StatusOr<size_t> n =
          (*file)->ReadAt(offset, buffer.get(),
                          static_cast<size_t>(std::min<uint64_t>(
                              kReadBytes, winner.bytes - offset)));
      if (!n.ok()) return Retryable(n.status());
      if (*n == 0) return Lost(winner, Cat("ends at ", offset));
      hash.Update({buffer.get(), *n});
      offset += *n;
    }
    if (hash.Digest() != winner.xxh3) {
      return Lost(winner, "holds other bytes than were reported");
    }
    return absl::OkStatus();
  }

  absl::Status MakeFinal() const {
    const absl::Status made = fs_.MakeDirectory(final_);
    if (made.ok()) return absl::OkStatus();
    if (absl::IsAlreadyExists(made)) {
      const absl::StatusOr<FileInfo> there = fs_.StatLink(final_);
      if (!there.ok()) return Retryable(there.status());
      if (there->kind == FileKind::kDirectory) return absl::OkStatus();
      // Not the winners are at fault, which could not be moved there.
      return absl::UnavailableError(
          Av(Cat(Shown(final_), " is no directory; who put it there?")));
    }
    if (absl::IsNotFound(made) && fs_.StatLink(ParentPath(output_)).ok()) {
      // With winners CheckWinner would have failed; a job without any has its
      // staging directory removed after it was published. Nothing is made
      // anew for a zombie.
      return absl::DataLossError(
          Av(Cat("COMMIT_DATA_LOST: ", Shown(staging_), " is gone")));
    }
    return Retryable(made);
  }

  absl::Status Move(const Winner& winner) const {
    const std::string to = JoinPath(final_, winner.final_name);
    const absl::Status moved = fs_.Rename(winner.staged_path, to);
    if (moved.ok()) return absl::OkStatus();
    if (!absl::IsNotFound(moved)) return Retryable(moved);
    const absl::StatusOr<FileInfo> info = fs_.StatLink(to);
    if (absl::IsNotFound(info.status())) return Missing(winner);
    if (!info.ok()) return Retryable(info.status());
    return CheckFile(winner, *info);
  }

  bool ManifestIsThere() const {
    const absl::StatusOr<std::string> there = ReadWholeFile(
        fs_, JoinPath(final_, kManifestName), decision_.manifest_json.size());
    return there.ok() && *there == decision_.manifest_json;
  }

  // Through a temporary name, so that what stands under the manifest's own is
  // whole and synced. The name is one that nobody has: two committers never
  // write to one file.
  absl::Status PutManifest() const {
    if (ManifestIsThere()) return absl::OkStatus();
    for (int i = 0; i < kManifestNamesMax; ++i) {
      const std::string path = JoinPath(staging_, Cat("manifest.", i));
      absl::Status status = WriteWholeFile(fs_, path, decision_.manifest_json);
      if (absl::IsAlreadyExists(status)) continue;
      if (status.ok()) status = fs_.MakeReadOnly(path);
      if (status.ok()) {
        status = fs_.Rename(path, JoinPath(final_, kManifestName));
      }
      if (!status.ok()) fs_.RemoveFile(path).IgnoreError();
      return Retryable(status);
    }
    return absl::ResourceExhaustedError(
        Av(Cat("too many temporary files in ", Shown(staging_))));
  }

  // What is about to become visible is exactly what was decided.
  absl::Status CheckFinal() const {
    absl::StatusOr<std::vector<DirEntry>> entries = fs_.List(final_);
    if (!entries.ok()) return Retryable(entries.status());
    std::set<std::string_view> names = {kManifestName};
    for (const Winner& winner : decision_.winners) {
      names.insert(winner.final_name);
      const absl::StatusOr<FileInfo> info =
          fs_.StatLink(JoinPath(final_, winner.final_name));
      if (absl::IsNotFound(info.status())) return Missing(winner);
      if (!info.ok()) return Retryable(info.status());
      MR_RETURN_IF_ERROR(CheckFile(winner, *info));
    }
    for (const DirEntry& entry : *entries) {
      if (!names.contains(entry.name)) {
        return absl::InternalError(
            Av(Cat(Shown(JoinPath(final_, entry.name)),
                   " does not belong to this output; who put it there?")));
      }
    }
    if (!ManifestIsThere()) {
      return absl::UnavailableError(
          Av(Cat("the manifest in ", Shown(final_), " cannot be read back")));
    }
    return absl::OkStatus();
  }

  FileSystem& fs_;
  const Decision& decision_;
  const std::string output_;
  const std::string staging_;
  const std::string final_;
};

}  // namespace

std::string StagingPath(const std::string& output, const JobId& job) {
  return Cat(WithoutTrailingSeparators(output), kStagingMark, job.ToHex());
}

bool IsStagingName(std::string_view name) {
  constexpr size_t kHexDigits = 2 * JobId::kBytes;
  if (name.size() <= kStagingMark.size() + kHexDigits) return false;
  const std::string_view hex = name.substr(name.size() - kHexDigits);
  name.remove_suffix(kHexDigits);
  return name.substr(name.size() - kStagingMark.size()) == kStagingMark &&
         std::all_of(hex.begin(), hex.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  ('a' <= c && c <= 'f');
         });
}

absl::Status PrepareStaging(FileSystem& fs, const std::string& output_spelled,
                            const JobId& job, const AttemptUid& attempt) {
  const std::string output = WithoutTrailingSeparators(output_spelled);
  if (output.empty() || output.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        "the output path is empty or holds a NUL byte; name a directory that "
        "does not exist yet");
  }
  const absl::StatusOr<FileInfo> there = fs.StatLink(output);
  if (there.ok()) return Exists(output, *there);
  const std::string parent = ParentPath(output);
  const absl::StatusOr<FileInfo> parent_info = fs.Stat(parent);
  if (absl::IsNotFound(parent_info.status()) ||
      (parent_info.ok() && parent_info->kind != FileKind::kDirectory)) {
    return absl::NotFoundError(
        Av(Cat("the output ", Shown(output), " has no parent: ", Shown(parent),
               parent_info.ok() ? " is no directory" : " does not exist",
               "; create it first")));
  }
  if (!parent_info.ok()) return parent_info.status();
  if (!absl::IsNotFound(there.status())) return there.status();

  const std::string staging = StagingPath(output, job);
  const std::string context =
      Cat("the output ", Shown(output), " cannot be written");
  // It may be there: of another attempt of the job, or of this one if its
  // answer was lost.
  const absl::Status made = fs.MakeDirectory(staging);
  if (!made.ok() && !absl::IsAlreadyExists(made)) {
    return Annotate(made, context);
  }
  const std::string probe = JoinPath(staging, Cat("probe-", attempt.ToHex()));
  absl::Status status = Probe(fs, probe);
  if (!status.ok()) fs.RemoveTree(probe).IgnoreError();
  if (status.ok()) {
    status = fs.MakeDirectory(JoinPath(staging, "att"));
    if (absl::IsAlreadyExists(status)) status = absl::OkStatus();
  }
  // A winner that is durable needs a durable way to it.
  if (status.ok()) status = fs.SyncDirectory(staging);
  if (status.ok()) status = fs.SyncDirectory(parent);
  if (status.ok()) return status;
  // Not one about the output: S is there, and only of this job.
  status = Retryable(status);
  if (absl::IsUnimplemented(status)) {
    return absl::UnimplementedError(
        Av(Cat(context, ": ", ToStd(status.message()),
               ", so that two jobs could overwrite each other; choose an "
               "output on another file system")));
  }
  return Annotate(status, context);
}

absl::Status CheckWinners(FileSystem& fs, const Decision& decision, int readers,
                          size_t* lost) {
  return Publisher(fs, decision).Check(readers, lost);
}

absl::Status Publish(FileSystem& fs, const Decision& decision, int readers) {
  return Publisher(fs, decision).Run(readers);
}

absl::Status RemoveStaging(FileSystem& fs, const std::string& output,
                           const JobId& job) {
  return fs.RemoveTree(StagingPath(output, job));
}

}  // namespace millrace::storage
