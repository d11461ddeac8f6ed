#include "common/usable_cores.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/strings.h"

namespace millrace {
namespace {

constexpr char kCgroups[] = "/sys/fs/cgroup";

// The kernel's files say that they are empty; they are read all the same. ""
// where there is none.
std::string ReadKernelFile(FileSystem& fs, const std::string& path) {
  const absl::StatusOr<std::unique_ptr<ReadFile>> file = fs.OpenRead(path);
  if (!file.ok()) return "";
  std::string text(64 << 10, '\0');
  const absl::StatusOr<size_t> size =
      (*file)->ReadAt(0, text.data(), text.size());
  text.resize(size.ok() ? *size : 0);
  return text;
}

// Time in a period of time, in the same unit; INT_MAX where there is no limit.
int CoresOf(std::string_view quota, std::string_view period) {
  int64_t time = 0, of = 0;
  if (!absl::SimpleAtoi(Av(quota), &time) || time <= 0 ||
      !absl::SimpleAtoi(Av(period), &of) || of <= 0) {
    return std::numeric_limits<int>::max();  // "max", "-1".
  }
  const int64_t cores = time / of + (time % of != 0 ? 1 : 0);
  return static_cast<int>(
      std::min<int64_t>(cores, std::numeric_limits<int>::max()));
}

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
}

// Of a cgroup and all around it. Inside a container the names are those of the
// host, and what is mounted is the container's own: so the top counts, too.
template <typename CoresAt>
int LeastUpwards(const std::string& top, std::string below, CoresAt cores_at) {
  int least = cores_at(top);
  for (; below.size() > 1; below.resize(below.rfind('/'))) {
    least = std::min(least, cores_at(top + below));
  }
  return least;
}

int CgroupCores(FileSystem& fs) {
  int least = std::numeric_limits<int>::max();
  // "number:controllers:/path" a line; of version 2 without controllers.
  const std::string mine = ReadKernelFile(fs, "/proc/self/cgroup");
  const std::vector<std::string> lines =
      absl::StrSplit(mine, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || parts[2].empty() || parts[2][0] != '/') continue;
    const std::vector<std::string> controllers =
        absl::StrSplit(parts[1], ',', absl::SkipEmpty());
    if (controllers.empty()) {
      least = std::min(least, LeastUpwards(kCgroups, parts[2], [&](auto path) {
                         const std::vector<std::string> limit =
                             Words(ReadKernelFile(fs, path + "/cpu.max"));
                         return limit.size() == 2 ? CoresOf(limit[0], limit[1])
                                                  : CoresOf("max", "");
                       }));
    } else if (std::find(controllers.begin(), controllers.end(), "cpu") !=
               controllers.end()) {
      const std::string top = Cat(kCgroups, "/", parts[1]);
      least = std::min(least, LeastUpwards(top, parts[2], [&](auto path) {
                         return CoresOf(
                             ReadKernelFile(fs, path + "/cpu.cfs_quota_us"),
                             ReadKernelFile(fs, path + "/cpu.cfs_period_us"));
                       }));
    }
  }
  return least;
}

}  // namespace

int UsableCores() {
  cpu_set_t set;
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  // Not known of a machine with more processors than a cpu_set_t has bits.
  const int affinity =
      known ? CPU_COUNT(&set)
            : static_cast<int>(std::thread::hardware_concurrency());
  return UsableCores(affinity, FileSystem::Posix());
}

int UsableCores(int affinity, FileSystem& fs) {
  return std::max(1, std::min(affinity, CgroupCores(fs)));
}

}  // namespace millrace
