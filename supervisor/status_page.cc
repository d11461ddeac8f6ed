#include "supervisor/status_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <type_traits>

namespace millrace::supervisor {

// The page is shared between two processes of one build and lives in memory
// that no constructor ran on.
static_assert(std::is_standard_layout_v<StatusPage>);
static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(std::atomic<TaskPhase>::is_always_lock_free);

namespace {

constexpr int kNoFile = -1;

StatusPage* MapPage(int fd) {
  const int kind = fd == kNoFile ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory =
      mmap(nullptr, sizeof(StatusPage), PROT_READ | PROT_WRITE, kind, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<StatusPage*>(memory);
}

}  // namespace

const char* TaskPhaseName(TaskPhase phase) {
  switch (phase) {
    case TaskPhase::kIdle:
      return "idle";
    case TaskPhase::kPlan:
      return "plan";
    case TaskPhase::kSetup:
      return "setup";
    case TaskPhase::kMap:
      return "map";
    case TaskPhase::kCombine:
      return "combine";
    case TaskPhase::kPartition:
      return "partition";
    case TaskPhase::kSpill:
      return "spill";
    case TaskPhase::kMerge:
      return "merge";
    case TaskPhase::kReduce:
      return "reduce";
    case TaskPhase::kCleanup:
      return "cleanup";
    case TaskPhase::kCommit:
      return "commit";
  }
  return "unknown phase";  // A crashing process may leave any number here.
}

StatusPageMapping* StatusPageMapping::CreateOrNull() {
  const int fd =
      memfd_create("millrace-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  // Sealed, so that no job process can shrink the page and make its supervisor
  // die of SIGBUS.
  StatusPage* page = nullptr;
  if (ftruncate(fd, sizeof(StatusPage)) == 0 &&
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
    page = MapPage(fd);
  }
  if (page == nullptr) {
    close(fd);
    return nullptr;
  }
  return new StatusPageMapping(fd, page);
}

StatusPageMapping* StatusPageMapping::MapOrNull(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return nullptr;
  const bool whole = info.st_size >= static_cast<off_t>(sizeof(StatusPage));
  StatusPage* page = MapPage(whole ? fd : kNoFile);
  return page == nullptr ? nullptr : new StatusPageMapping(fd, page);
}

StatusPageMapping::~StatusPageMapping() {
  munmap(page_, sizeof(StatusPage));
  close(fd_);
}

}  // namespace millrace::supervisor
