#include "supervisor/process_tree.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "common/logging.h"

namespace millrace::supervisor {
namespace {

// The most the kernel can have (PID_MAX_LIMIT is 2^22, but a machine with a
// quarter of that has other troubles). Reserved, and touched only as far as
// used.
constexpr size_t kEntriesMax = 1 << 20;

// As the kernel writes it; glibc declares it under a name of its own.
struct KernelDirent {
  uint64_t inode;
  int64_t offset;
  uint16_t record_bytes;
  uint8_t type;
  char name[];
};

// Appends "<pid>/" and returns the end.
char* AppendPid(pid_t pid, char* out) {
  char digits[16];
  int n = 0;
  for (auto left = static_cast<unsigned>(pid); left > 0; left /= 10) {
    digits[n++] = static_cast<char>('0' + left % 10);
  }
  while (n > 0) *out++ = digits[--n];
  *out++ = '/';
  return out;
}

// Writes "/proc/<pid>/<file>" without the allocator or stdio.
void ProcPath(pid_t pid, const char* file, char* out) {
  std::memcpy(out, "/proc/", 6);
  std::strcpy(AppendPid(pid, out + 6), file);
}

ssize_t ReadProcFile(pid_t pid, const char* file, char* buffer, size_t size) {
  char path[64];
  ProcPath(pid, file, path);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t n = read(fd, buffer, size - 1);
  close(fd);
  if (n >= 0) buffer[n] = '\0';
  return n;
}

uint64_t ParseNumber(const char*& p) {
  while (*p == ' ' || *p == '\t') ++p;
  uint64_t value = 0;
  while (*p >= '0' && *p <= '9') value = value * 10 + (*p++ - '0');
  return value;
}

// Calls `visit` with each entry of the directory whose name is a number. Names
// are fetched in small portions, each shortly before they are visited: what
// starts meanwhile mostly has larger numbers and is met further on. False: it
// cannot be read.
template <typename Visit>
bool ForEachNumber(const char* directory, Visit visit) {
  const int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return false;
  alignas(KernelDirent) char buffer[1 << 10];
  ssize_t bytes;
  while ((bytes = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
    for (ssize_t at = 0; at < bytes;) {
      const auto* dirent = reinterpret_cast<const KernelDirent*>(buffer + at);
      at += dirent->record_bytes;
      const char* p = dirent->name;
      const auto number = static_cast<pid_t>(ParseNumber(p));
      if (number != 0 && *p == '\0') visit(number);
    }
  }
  close(dir);
  return true;
}

// "pid (command) state parent group ... start ...": the command may hold spaces
// and brackets, and ends at the last ')'.
bool ParseStat(const char* text, ProcessEntry* entry) {
  const char* p = std::strrchr(text, ')');
  if (p == nullptr || p[1] != ' ' || p[2] == '\0') return false;
  p += 2;
  entry->state = *p++;
  entry->parent = static_cast<pid_t>(ParseNumber(p));
  entry->group = static_cast<pid_t>(ParseNumber(p));
  // Fields 6 to 21 lie between; the start time is the 22nd.
  for (int field = 6; field < 22; ++field) {
    while (*p == ' ') ++p;
    while (*p != ' ' && *p != '\0') ++p;
  }
  entry->start_ticks = ParseNumber(p);
  return true;
}

bool ReadEntry(pid_t pid, ProcessEntry* entry) {
  char text[512];
  if (ReadProcFile(pid, "stat", text, sizeof text) <= 0) return false;
  *entry = ProcessEntry();
  entry->pid = pid;
  return ParseStat(text, entry);
}

uint64_t ResidentFromStatm(const char* text) {
  const char* p = text;
  ParseNumber(p);  // Size.
  static const uint64_t page_bytes =
      static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return ParseNumber(p) * page_bytes;
}

}  // namespace

std::optional<ProcessEntry> ReadProcess(pid_t pid) {
  ProcessEntry entry;
  if (!ReadEntry(pid, &entry)) return std::nullopt;
  return entry;
}

uint64_t ResidentBytes(int statm_fd) {
  char text[128];
  const ssize_t n = pread(statm_fd, text, sizeof text - 1, 0);
  if (n <= 0) return 0;
  text[n] = '\0';
  return ResidentFromStatm(text);
}

uint64_t ResidentBytesOf(pid_t pid) {
  char text[128];
  if (ReadProcFile(pid, "statm", text, sizeof text) <= 0) return 0;
  return ResidentFromStatm(text);
}

uint64_t ProportionalBytesOf(pid_t pid) {
  char text[2048];
  if (ReadProcFile(pid, "smaps_rollup", text, sizeof text) <= 0) return 0;
  const char* p = std::strstr(text, "\nPss:");
  if (p == nullptr) return 0;
  p += 5;
  return ParseNumber(p) * 1024;
}

uint64_t TurnsOf(pid_t pid) {
  char tasks[32];
  ProcPath(pid, "task", tasks);
  uint64_t turns = 0;
  ForEachNumber(tasks, [pid, &turns](pid_t thread) {
    char file[48] = "task/";
    std::strcpy(AppendPid(thread, file + 5), "schedstat");
    char text[128];
    if (ReadProcFile(pid, file, text, sizeof text) <= 0) return;
    const char* p = text;
    ParseNumber(p);  // Nanoseconds on a processor,
    ParseNumber(p);  // and waiting for one, as scheduler/sched-stats says.
    turns += ParseNumber(p);
  });
  return turns;
}

ProcessTable::ProcessTable() {
  void* memory =
      mmap(nullptr, kEntriesMax * sizeof(ProcessEntry), PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED) << "no address space for the process table";
  entries_ = static_cast<ProcessEntry*>(memory);
}

ProcessTable::~ProcessTable() {
  munmap(entries_, kEntriesMax * sizeof(ProcessEntry));
}

bool ProcessTable::Scan() {
  size_ = 0;
  torn_ = false;
  const bool listed = ForEachNumber("/proc", [this](pid_t pid) {
    if (size_ == kEntriesMax) return;
    if (ReadEntry(pid, &entries_[size_])) {
      ++size_;
    } else {
      torn_ = true;
    }
  });
  if (!listed) return false;
  // The kernel lists by pid; nothing promises that it always will.
  const auto by_pid = [](const ProcessEntry& a, const ProcessEntry& b) {
    return a.pid < b.pid;
  };
  if (!std::is_sorted(entries_, entries_ + size_, by_pid)) {
    std::sort(entries_, entries_ + size_, by_pid);
  }
  for (size_t i = 0; i < size_ && !torn_; ++i) {
    torn_ = entries_[i].parent != 0 && Find(entries_[i].parent) == nullptr;
  }
  return true;
}

ProcessEntry* ProcessTable::Find(pid_t pid) {
  ProcessEntry* const end = entries_ + size_;
  ProcessEntry* const at = std::lower_bound(
      entries_, end, pid,
      [](const ProcessEntry& e, pid_t p) { return e.pid < p; });
  return at != end && at->pid == pid ? at : nullptr;
}

void ProcessTable::MarkDescendants(pid_t root) {
  for (size_t i = 0; i < size_; ++i) {
    if (entries_[i].parent == root) entries_[i].marked = true;
  }
  SpreadMarks();
}

void ProcessTable::SpreadMarks() {
  // Children mostly have larger pids than their parents, so that one pass and a
  // second that finds nothing are the rule.
  bool changed = true;
  while (changed) {
    changed = false;
    for (size_t i = 0; i < size_; ++i) {
      if (entries_[i].marked) continue;
      const ProcessEntry* parent = Find(entries_[i].parent);
      if (parent != nullptr && parent->marked) {
        entries_[i].marked = changed = true;
      }
    }
  }
}

void ProcessTable::ClearMarks() {
  for (size_t i = 0; i < size_; ++i) entries_[i].marked = false;
}

void ProcessTable::Mark(pid_t pid) {
  if (ProcessEntry* entry = Find(pid)) entry->marked = true;
}

void KillAndReapOwnDescendants(ProcessTable& table) {
  while (true) {
    if (!table.Scan()) return;
    table.MarkDescendants(getpid());
    for (const ProcessEntry& entry : table.entries()) {
      if (entry.marked && !entry.dead()) kill(entry.pid, SIGKILL);
    }
    // Every one of them becomes our child and ends, so this wakes; then those
    // that ended with it are collected before the next look.
    pid_t reaped = waitpid(-1, nullptr, __WALL);
    if (reaped < 0 && errno == ECHILD) return;
    do {
      reaped = waitpid(-1, nullptr, __WALL | WNOHANG);
    } while (reaped > 0);
  }
}

}  // namespace millrace::supervisor
