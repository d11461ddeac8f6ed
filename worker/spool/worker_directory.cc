#include "worker/spool/worker_directory.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "worker/spool/spool_scan.h"

namespace millrace::worker {
namespace {

constexpr uint64_t kSmallFileBytesMax = 4096;
constexpr int kEndPatienceMs = 1000;
constexpr std::string_view kClusterKey = "cluster ";
constexpr std::string_view kNameKey = "name ";

absl::Status MakeIfMissing(FileSystem& fs, const std::string& path) {
  const absl::Status made = fs.MakeDirectory(path);
  return absl::IsAlreadyExists(made) ? absl::OkStatus() : made;
}

// Through a temporary name: what stands at `path` is always whole.
absl::Status Replace(FileSystem& fs, const std::string& path,
                     std::string_view text) {
  const std::string temporary = path + ".new";
  const absl::Status removed = fs.RemoveFile(temporary);
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, temporary, text));
  MR_RETURN_IF_ERROR(fs.Rename(temporary, path));
  return fs.SyncDirectory(ParentPath(path));
}

// Who has written its pid to the lock file; 0: nobody yet.
pid_t HolderOf(int fd) {
  char text[32] = {};
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  int pid = 0;
  if (n <= 0 || !absl::SimpleAtoi(text, &pid) || pid <= 0) return 0;
  return pid;
}

// Whether the process ends soon, or has ended.
bool AwaitEnd(pid_t pid) {
  if (pid == 0 || pid == getpid()) return false;
  const supervisor::UniqueFd process(supervisor::PidfdOpen(pid));
  if (!process.valid()) return errno == ESRCH;
  pollfd end = {process.get(), POLLIN, 0};
  return poll(&end, 1, kEndPatienceMs) > 0;
}

// A name is shown to people and compared; it makes no paths.
bool IsGoodName(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
        c != '_' && c != '.') {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> BootId(FileSystem& fs) {
  // The kernel's files say that they are empty; they are read all the same.
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file,
                      fs.OpenRead("/proc/sys/kernel/random/boot_id"));
  char text[64];
  MR_ASSIGN_OR_RETURN(const size_t size, file->ReadAt(0, text, sizeof text));
  std::string_view id(text, size);
  while (!id.empty() && id.back() == '\n') id.remove_suffix(1);
  if (id.empty()) return absl::DataLossError("the host has no boot id");
  return std::string(id);
}

absl::StatusOr<std::unique_ptr<WorkerDirectory>> WorkerDirectory::Open(
    FileSystem& fs, const WorkerDirectoryOptions& options, Random& random) {
  std::unique_ptr<WorkerDirectory> directory(
      new WorkerDirectory(fs, WorkerLayout{options.path}));
  const WorkerLayout& layout = directory->layout_;
  const absl::Status made = fs.MakeDirectory(layout.root);
  if (made.ok()) {
    // Programs and other people's data lie here.
    chmod(layout.root.c_str(), 0700);
  } else if (!absl::IsAlreadyExists(made)) {
    return Annotate(made, "the worker's directory cannot be made");
  }
  MR_RETURN_IF_ERROR(directory->TakeLock());
  for (const std::string& path : {layout.Blobs(), layout.Logs()}) {
    MR_RETURN_IF_ERROR(MakeIfMissing(fs, path));
  }
  struct statvfs info;
  if (statvfs(layout.Blobs().c_str(), &info) == 0 &&
      (info.f_flag & ST_NOEXEC) != 0) {
    return absl::FailedPreconditionError(
        Av(Cat("programs cannot be executed in ", layout.Blobs(),
               ": its file system is mounted noexec; choose another "
               "directory")));
  }
  MR_RETURN_IF_ERROR(directory->ReadId());
  std::string name = options.name;
  if (name.empty()) name = directory->name_;
  if (name.empty()) {
    const std::string digits = AttemptUid::Generate(random).ToHex();
    name = Cat(options.host_name.empty() ? "worker" : options.host_name, "-",
               digits.substr(0, 4));
  }
  if (!IsGoodName(name)) {
    return absl::InvalidArgumentError(
        Av(Cat("no name for a worker: \"", Printable(name),
               "\"; it takes up to 64 letters, digits, '-', '_' and '.'")));
  }
  if (name != directory->name_) {
    directory->name_ = name;
    MR_RETURN_IF_ERROR(directory->WriteId());
  }
  MR_RETURN_IF_ERROR(directory->PrepareSpool(options.boot_id));
  return directory;
}

absl::Status WorkerDirectory::TakeLock() {
  const std::string path = layout_.Lock();
  lock_ = supervisor::UniqueFd(
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock_.valid()) return ErrnoStatus(errno, "open", path);
  pid_t holder = 0;
  while (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "lock", path);
    // One that was killed a moment ago lets go when it is gone; waited for
    // once.
    if (holder == 0 && AwaitEnd(holder = HolderOf(lock_.get()))) continue;
    return absl::FailedPreconditionError(
        Av(Cat("another worker ", holder == 0 ? "" : Cat("(pid ", holder, ") "),
               "uses ", layout_.root, "; each needs a directory of its own")));
  }
  const std::string pid = Cat(getpid());
  if (ftruncate(lock_.get(), 0) != 0 ||
      pwrite(lock_.get(), pid.data(), pid.size(), 0) < 0) {
    return ErrnoStatus(errno, "write", path);
  }
  return absl::OkStatus();
}

absl::Status WorkerDirectory::ReadId() {
  const absl::StatusOr<std::string> text =
      ReadWholeFile(fs_, layout_.Id(), kSmallFileBytesMax);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  std::string_view rest = *text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // Caught below.
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.starts_with(kClusterKey)) {
      const auto id = ClusterId::FromHex(line.substr(kClusterKey.size()));
      if (id.has_value()) cluster_ = *id;
    } else if (line.starts_with(kNameKey)) {
      name_ = line.substr(kNameKey.size());
    }
  }
  if (!rest.empty() || !IsGoodName(name_)) {
    return absl::DataLossError(
        Av(Cat(layout_.Id(), " does not say which worker this is; is ",
               layout_.root, " the directory of a worker?")));
  }
  return absl::OkStatus();
}

absl::Status WorkerDirectory::WriteId() {
  std::string text = Cat(kNameKey, name_, "\n");
  if (!cluster_.is_zero()) text += Cat(kClusterKey, cluster_.ToHex(), "\n");
  return Replace(fs_, layout_.Id(), text);
}

absl::Status WorkerDirectory::JoinCluster(const ClusterId& cluster) {
  cluster_ = cluster;
  return WriteId();
}

absl::Status WorkerDirectory::PrepareSpool(const std::string& boot_id) {
  const absl::StatusOr<std::string> before =
      ReadWholeFile(fs_, layout_.Boot(), kSmallFileBytesMax);
  if (!before.ok() && !absl::IsNotFound(before.status()) &&
      !absl::IsOutOfRange(before.status())) {
    return before.status();
  }
  if (!before.ok() || *before != boot_id) {
    // In this order: were the boot id written first, a crash in between would
    // keep what must go.
    // The directory itself stays: a disk of its own may be mounted there.
    MR_RETURN_IF_ERROR(EmptySpool(fs_, layout_));
    MR_RETURN_IF_ERROR(Replace(fs_, layout_.Boot(), boot_id));
  }
  return MakeIfMissing(fs_, layout_.Spool());
}

}  // namespace millrace::worker
