// Who descends from whom, read from /proc.
//
// A table is never quite true: processes come and go while it is read. What is
// built on it (killing every descendant) scans again until nothing new is seen.
#ifndef MILLRACE_SUPERVISOR_PROCESS_TREE_H_
#define MILLRACE_SUPERVISOR_PROCESS_TREE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace millrace::supervisor {

struct ProcessEntry {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  char state = 0;            // As in /proc/<pid>/stat: 'R', 'S', 'Z', ...
  bool marked = false;       // See ProcessTable.
  uint64_t start_ticks = 0;  // With pid: tells a process from its successor.

  bool dead() const { return state == 'Z' || state == 'X'; }
};

// The present state of one process; nullopt if there is none.
std::optional<ProcessEntry> ReadProcess(pid_t pid);

// Resident bytes of a process, all mappings, from an open /proc/<pid>/statm; 0
// once it is gone. About 2 us.
uint64_t ResidentBytes(int statm_fd);
uint64_t ResidentBytesOf(pid_t pid);
// The same with each shared page divided by the number of its users, so that a
// sum over a tree counts no page twice. Walks page tables: milliseconds. 0 when
// it cannot be told.
uint64_t ProportionalBytesOf(pid_t pid);

// How often the threads of a process have been given a processor, all together;
// 0 when it cannot be told. Calls no allocator.
uint64_t TurnsOf(pid_t pid);

// Thread-compatible. Takes its memory when it is made and calls no allocator
// afterwards, so that it works beside a thread that died holding malloc's lock.
class ProcessTable {
 public:
  ProcessTable();
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  // Reads the table anew, a few microseconds per process of the system. False:
  // /proc cannot be read, and the table is empty.
  bool Scan();

  std::span<const ProcessEntry> entries() const { return {entries_, size_}; }
  // A process was gone before it was read, or its parent is not in the table:
  // the scan may have missed what it started. (Where /proc hides the processes
  // of others, always so.)
  bool torn() const { return torn_; }

  // Marks are cleared by Scan, too.
  void ClearMarks();
  void Mark(pid_t pid);
  // Marks what is below marked processes.
  void SpreadMarks();
  // Marks everything below `root`, without `root`.
  void MarkDescendants(pid_t root);

 private:
  ProcessEntry* Find(pid_t pid);

  ProcessEntry* entries_ = nullptr;  // By pid.
  size_t size_ = 0;
  bool torn_ = false;
};

// For a job process that ends because its supervisor did: kills and reaps every
// descendant of the calling process, which is a subreaper. Returns when it has
// none left; blocks as long as one of them cannot be killed.
void KillAndReapOwnDescendants(ProcessTable& table);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_PROCESS_TREE_H_
