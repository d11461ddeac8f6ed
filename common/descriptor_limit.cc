#include "common/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>

namespace millrace {
namespace {

// Of a job process: its socket, log and status page, input or output, spill
// files that are written, and some for user code and libraries.
constexpr uint64_t kOtherDescriptors = 24;

}  // namespace

uint64_t DescriptorLimit() {
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

uint64_t RaiseDescriptorLimit(uint64_t enough) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < enough) {
    limit.rlim_cur = std::min<rlim_t>(enough, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  return DescriptorLimit();
}

uint32_t MergeFanIn(uint64_t descriptor_limit) {
  const uint64_t left =
      descriptor_limit - std::min(descriptor_limit, kOtherDescriptors);
  return static_cast<uint32_t>(std::clamp<uint64_t>(left, 2, 512));
}

}  // namespace millrace
