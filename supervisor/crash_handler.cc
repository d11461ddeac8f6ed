#include "supervisor/crash_handler.h"

#include <execinfo.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include "supervisor/child_main.h"
#include "supervisor/stack_trace.h"

namespace millrace::supervisor {
namespace {

// Symbol lookup and, in sanitizer builds, fat frames; touched only when used.
constexpr size_t kAlternateStackBytes = 256 << 10;

// A process that dies with the dynamic loader's lock held would wait for it in
// the handler for ever; the alarm ends it, and the signal is on the page by
// then.
constexpr unsigned kHandlerSecondsMax = 5;

// A fault so near the stack pointer, or in the part of the frame above it that
// should have been stack, means that the stack has come to its end.
constexpr uintptr_t kOverflowBelowBytes = 64 << 10;
constexpr uintptr_t kOverflowAboveBytes = 8 << 20;

std::atomic<StatusPage*> g_page{nullptr};
std::atomic<pid_t> g_crashing_thread{0};
// Processes that user code forks inherit the handlers and the page, but their
// deaths are not this process's.
std::atomic<pid_t> g_owner{0};

std::atomic<CrashNote> g_note{nullptr};
std::atomic<void*> g_note_argument{nullptr};

struct Registers {
  uintptr_t pc = 0;
  uintptr_t sp = 0;
  uintptr_t fp = 0;
};

Registers RegistersOf(const void* context) {
  Registers r;
#if defined(__x86_64__)
  const auto& regs = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  r.pc = static_cast<uintptr_t>(regs[REG_RIP]);
  r.sp = static_cast<uintptr_t>(regs[REG_RSP]);
  r.fp = static_cast<uintptr_t>(regs[REG_RBP]);
#elif defined(__aarch64__)
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
  r.pc = machine.pc;
  r.sp = machine.sp;
  r.fp = machine.regs[29];
#else
  (void)context;
#endif
  return r;
}

// Reads memory that may not be there.
bool ReadWords(uintptr_t from, uintptr_t* words, size_t count) {
  iovec local = {words, count * sizeof *words};
  iovec remote = {reinterpret_cast<void*>(from), count * sizeof *words};
  const auto size = static_cast<ssize_t>(count * sizeof *words);
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == size;
}

// After a jump into nothing (a null function pointer, a return to garbage):
// backtrace() would look for unwind information at the program counter and read
// through it. The return address is on top of the stack and the frame pointers
// lead on from there.
int WalkFramePointers(const Registers& r, void** pcs, int max) {
  int n = 0;
  pcs[n++] = reinterpret_cast<void*>(r.pc);
#if defined(__x86_64__)
  uintptr_t words[2];
  if (!ReadWords(r.sp, words, 1)) return n;
  pcs[n++] = reinterpret_cast<void*>(words[0]);
  uintptr_t fp = r.fp;
  while (n < max && fp > r.sp && ReadWords(fp, words, 2)) {
    if (words[1] == 0) break;
    pcs[n++] = reinterpret_cast<void*>(words[1]);
    if (words[0] <= fp) break;
    fp = words[0];
  }
#endif
  return n;
}

// The frames of the interrupted code: the handler's own and the trampoline
// below it are not part of the story.
int CollectFrames(const Registers& r, bool jumped_to_nothing, void** pcs) {
  if (jumped_to_nothing) return WalkFramePointers(r, pcs, kStackFramesMax);
  void* raw[kStackFramesMax + 8];
  const int n = backtrace(raw, kStackFramesMax + 8);
  int first = 0;
  while (first < n && reinterpret_cast<uintptr_t>(raw[first]) != r.pc) ++first;
  if (first == n) first = std::min(n, 3);
  const int kept = std::min(n - first, kStackFramesMax);
  std::copy(raw + first, raw + first + kept, pcs);
  return kept;
}

void WriteStack(StatusPage& page, const Registers& r, bool jumped_to_nothing) {
  void* pcs[kStackFramesMax];
  const int n = CollectFrames(r, jumped_to_nothing, pcs);
  char text[sizeof page.crash_stack.bytes];
  const size_t size =
      FormatStack(pcs, n, /*first_is_exact=*/true, text, sizeof text);
  page.crash_stack.Set(std::string_view(text, size));
}

void DieOf(int signal_number) {
  signal(signal_number, SIG_DFL);
  raise(signal_number);  // Not blocked here: ends the process.
}

void OnCrash(int signal_number, siginfo_t* info, void* context) {
  if (getpid() != g_owner.load(std::memory_order_relaxed)) {
    DieOf(signal_number);
    return;
  }
  const auto thread = static_cast<pid_t>(syscall(SYS_gettid));
  pid_t none = 0;
  if (!g_crashing_thread.compare_exchange_strong(none, thread)) {
    // The handler itself failed: what is on the page must do. Another thread's
    // crash: the first one ends the process in a moment.
    if (none != thread) {
      while (true) pause();
    }
    DieOf(signal_number);
    return;
  }
  StatusPage& page = *g_page.load(std::memory_order_acquire);
  const Registers r = RegistersOf(context);
  const bool has_address =
      (signal_number == SIGSEGV || signal_number == SIGBUS) &&
      info->si_code > 0 && info->si_code != SI_KERNEL;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  const bool overflow = has_address && signal_number == SIGSEGV &&
                        address + kOverflowBelowBytes >= r.sp &&
                        address < r.sp + kOverflowAboveBytes;
  page.crash_address.store(has_address ? address : kNoCrashAddress,
                           std::memory_order_relaxed);
  page.crash_overflow.store(overflow, std::memory_order_relaxed);
  page.crash_stack.Set("");
  page.crash_signal.store(signal_number, std::memory_order_release);
  RunCrashNote();  // If it crashes itself, what is on the page must do.

  signal(SIGALRM, SIG_DFL);
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  alarm(kHandlerSecondsMax);
  WriteStack(page, r, has_address && address == r.pc);
  alarm(0);
  DieOf(signal_number);
}

void OnStackWanted(int signal_number, siginfo_t*, void* context) {
  const int saved_errno = errno;
  if (g_crashing_thread.load() == 0 && getpid() == g_owner.load()) {
    StatusPage& page = *g_page.load(std::memory_order_acquire);
    WriteStack(page, RegistersOf(context), /*jumped_to_nothing=*/false);
    page.crash_signal.store(signal_number, std::memory_order_release);
  }
  errno = saved_errno;
}

}  // namespace

void SetCrashNote(CrashNote note, void* argument) {
  g_note.store(nullptr, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g_note_argument.store(argument, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g_note.store(note, std::memory_order_relaxed);
}

void RunCrashNote() {
  const CrashNote note = g_note.load(std::memory_order_relaxed);
  if (note != nullptr) note(g_note_argument.load(std::memory_order_relaxed));
}

void InstallCrashHandlers(StatusPage* page) {
  g_owner.store(getpid(), std::memory_order_relaxed);
  g_page.store(page, std::memory_order_release);
  PrepareStackTraces();

  void* memory = mmap(nullptr, kAlternateStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory != MAP_FAILED) {
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = kAlternateStackBytes;
    sigaltstack(&stack, nullptr);
  }

  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  // A crash within the handler must reach it again, as must a second thread's.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  action.sa_sigaction = OnCrash;
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) {
    sigaction(s, &action, nullptr);
  }
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  action.sa_sigaction = OnStackWanted;
  sigaction(SIGUSR2, &action, nullptr);
}

}  // namespace millrace::supervisor
