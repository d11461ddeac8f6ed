// Shared memory between a supervisor and one job process: what the process is
// doing, kept where a crash cannot destroy it.
//
// The job process writes, the supervisor reads, no locks; what is for the
// process to know stands there before it is started. Every field is
// written by one thread with relaxed stores of its own; readers may see the
// fields of two different moments and use them for progress and messages only,
// never for safety. Text fields are written before their size is stored with
// release.
#ifndef MILLRACE_SUPERVISOR_STATUS_PAGE_H_
#define MILLRACE_SUPERVISOR_STATUS_PAGE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::supervisor {

// What the process is in. User code runs in the phases marked *.
enum class TaskPhase : uint32_t {
  kIdle = 0,
  kPlan,
  kSetup,      // *
  kMap,        // *
  kCombine,    // *
  kPartition,  // *
  kSpill,
  kMerge,
  kReduce,   // *
  kCleanup,  // *
  kCommit
};

// "map", "reduce", ...
const char* TaskPhaseName(TaskPhase phase);

template <size_t kCapacity>
struct SharedText {
  std::atomic<uint32_t> size{0};
  char bytes[kCapacity];

  void Set(std::string_view text) {
    const size_t n = text.size() < kCapacity ? text.size() : kCapacity;
    size.store(0, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    __builtin_memcpy(bytes, text.data(), n);
    size.store(static_cast<uint32_t>(n), std::memory_order_release);
  }
  std::string Get() const {
    const uint32_t n = size.load(std::memory_order_acquire);
    return std::string(bytes, n < kCapacity ? n : kCapacity);
  }
};

// Zero-filled memory is a valid page. The layout is a part of the task
// protocol: who changes it raises TASK_PROTOCOL_VERSION.
struct StatusPage {
  // Written before the process starts. A supervisor that has been stopped for
  // so long is as good as dead; 0: it is waited for.
  std::atomic<uint64_t> supervisor_stop_limit_ms;

  // Changes whenever the task gets on: records in user code, blocks elsewhere.
  std::atomic<uint64_t> progress;
  std::atomic<TaskPhase> phase;
  // Position of the record that user code has, or had when it died.
  std::atomic<uint32_t> record_file;     // Index of `file` in the plan.
  std::atomic<uint64_t> record_offset;   // In `file`; -1: none.
  std::atomic<uint64_t> record_ordinal;  // Records before it in this task.
  // Values of the key before the one that reducer or combiner has;
  // value_is_emitted: records emitted before the one that the combiner has.
  std::atomic<uint64_t> value_ordinal;
  std::atomic<uint32_t> value_is_emitted;
  std::atomic<uint64_t> input_bytes;  // Read so far by this task.
  SharedText<4096> file;              // Path of the input file.
  // Encoded, of the group or of what is combined.
  SharedText<128> key;

  // Written by the signal handler.
  std::atomic<int32_t> crash_signal;
  std::atomic<uint64_t> crash_address;   // kNoCrashAddress: none is known.
  std::atomic<uint32_t> crash_overflow;  // 1: the stack was used up.
  SharedText<16384> crash_stack;         // Demangled, one frame a line.

  // 1: the process ends because its supervisor has been stopped for too long.
  std::atomic<uint32_t> supervisor_stopped;
};

inline constexpr uint64_t kNoCrashAddress = ~uint64_t{0};

// Owns a mapping of the page in a memfd. Thread-safe to read. Immutable.
class StatusPageMapping {
 public:
  // A new zero page. Null when the system has no memory for it.
  static StatusPageMapping* CreateOrNull();
  // Maps the page behind an inherited descriptor, which stays open. Behind one
  // that is too small there is that of another version, which is for the
  // protocol to tell: until then it is a page that nobody else sees.
  static StatusPageMapping* MapOrNull(int fd);
  ~StatusPageMapping();

  StatusPage& page() { return *page_; }
  int fd() const { return fd_; }

 private:
  StatusPageMapping(int fd, StatusPage* page) : fd_(fd), page_(page) {}
  StatusPageMapping(const StatusPageMapping&) = delete;
  StatusPageMapping& operator=(const StatusPageMapping&) = delete;

  const int fd_;
  StatusPage* const page_;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_STATUS_PAGE_H_
