#include "supervisor/memory_cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/unique_fd.h"

namespace millrace::supervisor {
namespace {

constexpr std::string_view kPrefix = "millrace-";
constexpr size_t kFileBytesMax = 1 << 20;
// Limits are kept in pages, so they are read back a little smaller.
constexpr uint64_t kPageBytesMax = 64 << 10;
// The kernel refuses what would exceed the limit, in charges of some pages for
// each processor; so a group that it kills in may be a little below.
constexpr uint64_t kChargeBytesMax = 4 << 20;
constexpr uint64_t kTrialLimit = uint64_t{64} << 20;

class RealFiles final : public CgroupFiles {
 public:
  absl::StatusOr<std::string> Read(const std::string& path) override {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return ErrnoStatus(errno, "open", path);
    std::string text;
    char buffer[4096];
    while (text.size() < kFileBytesMax) {
      const ssize_t n = read(fd.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "read", path);
      if (n == 0) break;
      text.append(buffer, static_cast<size_t>(n));
    }
    return text;
  }
  absl::Status Write(const std::string& path, std::string_view text) override {
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return ErrnoStatus(errno, "open", path);
    ssize_t n;
    do {
      n = write(fd.get(), text.data(), text.size());
    } while (n < 0 && errno == EINTR);
    if (n < 0) return ErrnoStatus(errno, "write", path);
    return absl::OkStatus();
  }
  absl::Status MakeDirectory(const std::string& path) override {
    if (mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "make", path);
  }
  absl::Status RemoveDirectory(const std::string& path) override {
    if (rmdir(path.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "remove", path);
  }
  std::vector<std::string> Directories(const std::string& path) override {
    std::vector<std::string> names;
    DIR* directory = opendir(path.c_str());
    if (directory == nullptr) return names;
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
        names.emplace_back(entry->d_name);
      }
    }
    closedir(directory);
    return names;
  }
};

std::vector<std::string> Words(std::string_view text) {
  return absl::StrSplit(Av(text), absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
}

bool Has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The number behind `key` in lines of "key number"; 0: it is not there.
uint64_t ValueOf(const std::string& text, std::string_view key) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> words = Words(line);
    uint64_t value = 0;
    if (words.size() == 2 && words[0] == key &&
        absl::SimpleAtoi(words[1], &value)) {
      return value;
    }
  }
  return 0;
}

// The kernel writes a space as \040 there, and a few others likewise.
std::string Unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 +
                                        (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

struct Mount {
  std::string root;   // What of the hierarchy is mounted,
  std::string point;  // and where.
};

// Of the hierarchy of version 2, or of that of version 1 with the memory
// controller. A line of mountinfo: "36 35 98:0 /root /point options ... -
// cgroup2 source options".
std::vector<Mount> FindMounts(const std::string& mountinfo, bool v2) {
  std::vector<Mount> mounts;
  const std::vector<std::string> lines = absl::StrSplit(mountinfo, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> words = Words(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 5 || words.end() - dash < 4) continue;
    const std::string& type = dash[1];
    const std::vector<std::string> options = absl::StrSplit(dash[3], ',');
    if (v2 ? type == "cgroup2" : type == "cgroup" && Has(options, "memory")) {
      mounts.push_back({Unescape(words[3]), Unescape(words[4])});
    }
  }
  return mounts;
}

// The path of this process in the hierarchy; "" if it has none.
std::string OwnPath(const std::string& cgroups, bool v2) {
  const std::vector<std::string> lines = absl::StrSplit(cgroups, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> controllers =
        absl::StrSplit(parts[1], ',', absl::SkipEmpty());
    if (v2 ? parts[0] == "0" && controllers.empty()
           : Has(controllers, "memory")) {
      return parts[2];
    }
  }
  return "";
}

bool Below(const std::string& path, const std::string& root) {
  return root == "/" || path == root || path.starts_with(root + "/");
}

std::string Plain(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The directory of this process's group: where it is really a member, whatever
// names and mounts say. Inside a container both may be of the host.
absl::StatusOr<std::string> OwnDirectory(CgroupFiles& files, bool v2,
                                         pid_t self) {
  MR_ASSIGN_OR_RETURN(const std::string cgroups,
                      files.Read("/proc/self/cgroup"));
  MR_ASSIGN_OR_RETURN(const std::string mountinfo,
                      files.Read("/proc/self/mountinfo"));
  const std::string own = OwnPath(cgroups, v2);
  const std::vector<Mount> mounts = FindMounts(mountinfo, v2);
  if (own.empty() || mounts.empty()) {
    return absl::NotFoundError("not mounted here");
  }
  for (const Mount& mount : mounts) {
    std::vector<std::string> candidates = {mount.point};
    if (own.size() > 1) {
      candidates.insert(candidates.begin(), Cat(mount.point, own));
      if (mount.root.size() > 1 && Below(own, mount.root)) {
        candidates.insert(candidates.begin(),
                          Cat(mount.point, own.substr(mount.root.size())));
      }
    }
    for (const std::string& path : candidates) {
      const auto members = files.Read(Cat(path, "/cgroup.procs"));
      if (members.ok() && Has(Words(*members), Cat(self))) return Plain(path);
    }
  }
  return absl::NotFoundError(
      "the cgroup of this process is not among those that are mounted here");
}

std::string Join(const std::string& path, std::string_view file) {
  return Cat(path, "/", file);
}

}  // namespace

CgroupFiles& CgroupFiles::Real() {
  static RealFiles& files = *new RealFiles;
  return files;
}

std::string_view MemoryGuardName(MemoryGuard guard) {
  switch (guard) {
    case MemoryGuard::kCgroupV2:
      return "cgroup-v2";
    case MemoryGuard::kCgroupV1:
      return "cgroup-v1";
    case MemoryGuard::kResident:
      break;
  }
  return "rss";
}

// ------------------------------------------------------------------- probing

MemoryCgroups::Found MemoryCgroups::Probe(CgroupFiles& files, pid_t self) {
  std::string said;
  for (const bool v2 : {true, false}) {
    const absl::StatusOr<std::string> path = OwnDirectory(files, v2, self);
    absl::Status status = path.status();
    if (path.ok()) {
      absl::StatusOr<std::unique_ptr<MemoryCgroups>> groups =
          v2 ? TryV2(files, *path, self) : TryV1(files, *path, self);
      if (groups.ok()) {
        return {*std::move(groups),
                Cat("cgroup v", v2 ? 2 : 1, ", below ", *path)};
      }
      status = groups.status();
    }
    said += Cat(v2 ? "" : "; ", "cgroup v", v2 ? 2 : 1, ": ",
                ToStd(status.message()));
  }
  return {nullptr, said};
}

absl::StatusOr<std::unique_ptr<MemoryCgroups>> MemoryCgroups::TryV2(
    CgroupFiles& files, const std::string& path, pid_t self) {
  MR_ASSIGN_OR_RETURN(const std::string controllers,
                      files.Read(Join(path, "cgroup.controllers")));
  if (!Has(Words(controllers), "memory")) {
    return absl::UnimplementedError(Av(Cat(path, " has no memory controller")));
  }
  MR_ASSIGN_OR_RETURN(const std::string members,
                      files.Read(Join(path, "cgroup.procs")));
  if (Words(members).size() != 1) {
    return absl::FailedPreconditionError(
        Av(Cat(path, " is not this process's alone")));
  }
  const std::string leaf = Join(path, Cat(kPrefix, self, "-worker"));
  MR_RETURN_IF_ERROR(files.MakeDirectory(leaf));
  std::unique_ptr<MemoryCgroups> groups(
      new MemoryCgroups(files, MemoryGuard::kCgroupV2, path, self));
  const absl::Status status = [&]() -> absl::Status {
    MR_RETURN_IF_ERROR(files.Write(Join(leaf, "cgroup.procs"), Cat(self)));
    MR_RETURN_IF_ERROR(
        files.Write(Join(path, "cgroup.subtree_control"), "+memory"));
    return groups->TryOut();
  }();
  if (status.ok()) return groups;
  // As it was before.
  files.Write(Join(path, "cgroup.subtree_control"), "-memory").IgnoreError();
  files.Write(Join(path, "cgroup.procs"), Cat(self)).IgnoreError();
  files.RemoveDirectory(leaf).IgnoreError();
  return status;
}

absl::StatusOr<std::unique_ptr<MemoryCgroups>> MemoryCgroups::TryV1(
    CgroupFiles& files, const std::string& path, pid_t self) {
  std::unique_ptr<MemoryCgroups> groups(
      new MemoryCgroups(files, MemoryGuard::kCgroupV1, path, self));
  MR_RETURN_IF_ERROR(groups->TryOut());
  return groups;
}

absl::Status MemoryCgroups::TryOut() {
  for (const std::string& name : files_.Directories(path_)) {
    int owner = 0;
    const std::vector<std::string> parts = absl::StrSplit(name, '-');
    if (parts.size() != 3 || !name.starts_with(kPrefix) ||
        !absl::SimpleAtoi(parts[1], &owner) || owner == self_ || owner <= 0 ||
        kill(owner, 0) == 0 || errno != ESRCH) {
      continue;
    }
    // Not if somebody is in it, who may be of another pid namespace.
    files_.RemoveDirectory(Join(path_, name)).IgnoreError();
  }
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<MemoryCgroup> trial,
                      Make(kTrialLimit));
  const std::string file =
      guard_ == MemoryGuard::kCgroupV2 ? "memory.max" : "memory.limit_in_bytes";
  MR_ASSIGN_OR_RETURN(const std::string text,
                      files_.Read(Join(trial->path_, file)));
  const std::vector<std::string> words = Words(text);
  uint64_t limit = 0;
  if (words.size() != 1 || !absl::SimpleAtoi(words[0], &limit) ||
      limit > kTrialLimit || limit + kPageBytesMax < kTrialLimit) {
    return absl::UnknownError(
        Av(Cat(path_, " does not keep a limit: it says ", Printable(text))));
  }
  return absl::OkStatus();
}

// -------------------------------------------------------------------- groups

absl::StatusOr<std::unique_ptr<MemoryCgroup>> MemoryCgroups::Make(
    uint64_t limit_bytes) {
  RemoveLeftovers();
  const std::string path = Join(path_, Cat(kPrefix, self_, "-", next_++));
  MR_RETURN_IF_ERROR(files_.MakeDirectory(path));
  std::unique_ptr<MemoryCgroup> group(
      new MemoryCgroup(*this, path, limit_bytes));
  const std::string limit = Cat(limit_bytes);
  if (guard_ == MemoryGuard::kCgroupV2) {
    MR_RETURN_IF_ERROR(files_.Write(Join(path, "memory.max"), limit));
    // What older kernels, or those without swap, do not have.
    files_.Write(Join(path, "memory.swap.max"), "0").IgnoreError();
    files_.Write(Join(path, "memory.oom.group"), "1").IgnoreError();
  } else {
    MR_RETURN_IF_ERROR(
        files_.Write(Join(path, "memory.limit_in_bytes"), limit));
    files_.Write(Join(path, "memory.memsw.limit_in_bytes"), limit)
        .IgnoreError();
  }
  return group;
}

void MemoryCgroups::Remove(const std::string& path) {
  const absl::Status removed = files_.RemoveDirectory(path);
  if (!removed.ok() && !absl::IsNotFound(removed)) leftovers_.push_back(path);
}

void MemoryCgroups::RemoveLeftovers() {
  for (const std::string& path : std::exchange(leftovers_, {})) Remove(path);
}

MemoryCgroups::~MemoryCgroups() {
  RemoveLeftovers();
  for (const std::string& path : leftovers_) {
    LOG(WARNING) << "cgroup " << path << " is left, since it is not empty";
  }
}

MemoryCgroup::~MemoryCgroup() { groups_.Remove(path_); }

MemoryGuard MemoryCgroup::guard() const { return groups_.guard(); }

absl::Status MemoryCgroup::Add(pid_t pid) {
  return groups_.files_.Write(Join(path_, "cgroup.procs"), Cat(pid));
}

uint64_t MemoryCgroup::Kills() const {
  const bool v2 = groups_.guard_ == MemoryGuard::kCgroupV2;
  const auto text = groups_.files_.Read(
      Join(path_, v2 ? "memory.events" : "memory.oom_control"));
  if (!text.ok()) return 0;
  const uint64_t kills = ValueOf(*text, "oom_kill");
  if (kills == 0) return 0;
  if (v2) return ValueOf(*text, "oom") > 0 ? kills : 0;
  // Of memory alone, or of memory and swap. (failcnt is not counted by every
  // kernel.)
  for (const char* file :
       {"memory.max_usage_in_bytes", "memory.memsw.max_usage_in_bytes"}) {
    const auto most = groups_.files_.Read(Join(path_, file));
    const std::vector<std::string> words =
        most.ok() ? Words(*most) : std::vector<std::string>();
    uint64_t bytes = 0;
    if (words.size() == 1 && absl::SimpleAtoi(words[0], &bytes) &&
        bytes + kChargeBytesMax >= limit_bytes_) {
      return kills;
    }
  }
  return 0;
}

std::optional<uint64_t> MemoryCgroup::PeakBytes() const {
  const auto text =
      groups_.files_.Read(Join(path_, groups_.guard_ == MemoryGuard::kCgroupV2
                                          ? "memory.peak"
                                          : "memory.max_usage_in_bytes"));
  uint64_t bytes = 0;
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> words = Words(*text);
  if (words.size() != 1 || !absl::SimpleAtoi(words[0], &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

std::vector<pid_t> MemoryCgroup::Members() const {
  std::vector<pid_t> members;
  const auto text = groups_.files_.Read(Join(path_, "cgroup.procs"));
  if (!text.ok()) return members;
  for (const std::string& word : Words(*text)) {
    int pid = 0;
    // 0: of another pid namespace.
    if (absl::SimpleAtoi(word, &pid) && pid > 0) members.push_back(pid);
  }
  return members;
}

}  // namespace millrace::supervisor
