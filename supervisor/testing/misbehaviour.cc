#include "supervisor/testing/misbehaviour.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <thread>

#include "supervisor/child_main.h"

namespace millrace::supervisor {
namespace {

using Words = std::vector<std::string>;

// Functions with a name in stacks, whose crimes no sanitizer prevents.
#define MR_OUTLINE __attribute__((noinline, no_sanitize("undefined")))

volatile int g_sink = 0;
int* volatile g_null = nullptr;
void (*volatile g_null_function)() = nullptr;
volatile int g_zero = 0;

MR_OUTLINE void DereferenceNull() { g_sink = *g_null; }
MR_OUTLINE void CallNull() {
  g_null_function();
  g_sink = 1;  // Keeps the call from being a jump.
}
MR_OUTLINE void DivideByZero() { g_sink = g_sink / g_zero; }
MR_OUTLINE int Recurse(int depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(depth);
  if (g_zero != 0) return 0;  // Never; so that compilers let it pass.
  const int below = Recurse(depth + 1);
  return below + frame[0];
}
MR_OUTLINE void ThrowRangeError() { throw std::range_error("no such word"); }
MR_OUTLINE void ThrowInNoexcept() noexcept { ThrowRangeError(); }
MR_OUTLINE void SpinForEver() {
  while (true) g_sink = g_sink + 1;
}
MR_OUTLINE void SleepForEver() {
  while (true) pause();
}

void AppendPid(const std::string& path) {
  char line[32];
  const int n = std::snprintf(line, sizeof line, "%d\n", getpid());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0 || write(fd, line, static_cast<size_t>(n)) != n) _exit(98);
  close(fd);
}

// Forks a process that writes its pid to `path`, does `setup`, and then `body`;
// returns its pid when the set-up is over.
pid_t ForkInto(const std::string& path, const std::function<void()>& setup,
               const std::function<void()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) _exit(98);
  const pid_t pid = fork();
  if (pid < 0) _exit(98);
  if (pid == 0) {
    AppendPid(path);
    setup();
    if (write(ends[1], "", 1) != 1) _exit(98);
    close(ends[0]);
    close(ends[1]);
    body();
    _exit(0);
  }
  close(ends[1]);
  char byte;
  if (read(ends[0], &byte, 1) != 1) _exit(98);
  close(ends[0]);
  return pid;
}

void Nothing() {}

// Ends at once, and is followed by a copy of itself: gone whenever one looks.
// Rests after so many steps, because each of them leaves a process to be
// collected, and the machine has only so many numbers for them.
void Flee(const std::string& file) {
  for (int i = 0; i < 2000; ++i) {
    if (fork() > 0) _exit(0);
  }
  AppendPid(file + ".rested");
  SleepForEver();
}

// leave KIND FILE: starts processes whose pids go to FILE, and leaves them.
void Leave(const Words& words) {
  const std::string& kind = words.at(1);
  const std::string& file = words.at(2);
  if (kind == "child") {
    ForkInto(file, Nothing, SleepForEver);
  } else if (kind == "stubborn") {
    const auto ignore_all = [] {
      for (int s = 1; s < SIGRTMAX; ++s) signal(s, SIG_IGN);
    };
    ForkInto(file, ignore_all, SleepForEver);
  } else if (kind == "many") {
    for (int i = 0; i < 200; ++i) ForkInto(file, Nothing, SleepForEver);
  } else if (kind == "deep") {
    const auto third = [&] { ForkInto(file, Nothing, SleepForEver); };
    const auto second = [&] { ForkInto(file, third, SleepForEver); };
    ForkInto(file, second, SleepForEver);
  } else if (kind == "daemon") {
    // As daemons do: twice forked, in a session of their own.
    const auto detach = [] {
      const int null = open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
    };
    const auto lead = [&] {
      setsid();
      ForkInto(file, detach, SleepForEver);
    };
    ForkInto(file, lead, Nothing);
  } else if (kind == "exec") {
    ForkInto(file, Nothing,
             [] { execlp("sleep", "sleep", "100000", nullptr); });
  } else if (kind == "fleeing") {
    ForkInto(file, Nothing, [&] { Flee(file); });
  } else if (kind == "ended") {
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(ForkInto(file, Nothing, Nothing)), &info,
           WEXITED | WNOWAIT);
  } else {
    throw std::invalid_argument(kind);
  }
}

// Touches `bytes`, or without end for 0.
MR_OUTLINE void Allocate(size_t bytes) {
  constexpr size_t kStep = 4 << 20;
  for (size_t total = 0; bytes == 0 || total < bytes; total += kStep) {
    void* memory = mmap(nullptr, kStep, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    std::memset(memory, 1, kStep);
  }
}

void WriteAll(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n > 0) at += static_cast<size_t>(n);
  }
}

// One line per open descriptor, but for the directory that is read for it.
void PrintDescriptors() {
  DIR* dir = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(dir)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(dir)) std::printf("%d\n", fd);
  }
  closedir(dir);
}

// A program found on the PATH, with nothing said about its descriptors.
void ExecuteAndWait(Words words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  int status = 0;
  if (posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) !=
          0 ||
      waitpid(pid, &status, 0) != pid || status != 0) {
    std::abort();
  }
}

// As a task that works: progress every millisecond or so, `count` times.
void Work(StatusPage& page, int count) {
  for (int i = 0; i < count; ++i) {
    page.progress.fetch_add(1, std::memory_order_relaxed);
    poll(nullptr, 0, 1);
  }
}

}  // namespace

void Misbehave(const Words& words, StatusPage& page) {
  const std::map<std::string, std::function<void()>> behaviours = {
      {"ok", [] {}},
      // Text.
      {"print", [&] { std::printf("%s\n", words.at(1).c_str()); }},
      {"print-both",
       [&] {
         WriteAll(1, "one ");
         WriteAll(2, "two ");
         WriteAll(1, "three\n");
       }},
      {"print-and-crash",
       [&] {
         std::printf("last words\n");
         DereferenceNull();
       }},
      {"flood",
       [&] {
         const std::string line(1023, 'x');
         const long long bytes = std::atoll(words.at(1).c_str());
         for (long long i = 0; i < bytes / 1024; ++i) WriteAll(1, line + "\n");
       }},
      {"descriptors", PrintDescriptors},
      {"descriptors-of-program",
       [] {
         ExecuteAndWait({"ls", "/proc/self/fd"});
       }},
      {"environment",
       [&] {
         const char* value = std::getenv(words.at(1).c_str());
         std::printf("%s\n", value == nullptr ? "(unset)" : value);
       }},
      {"stdin", [] { std::printf("%d\n", std::getchar() == EOF ? 0 : 1); }},
      // Deaths.
      {"throw", ThrowRangeError},
      {"terminate", ThrowInNoexcept},
      {"segfault", DereferenceNull},
      {"call-null", CallNull},
      {"overflow", [] { g_sink = Recurse(0); }},
      {"divide", DivideByZero},
      {"abort", [] { std::abort(); }},
      {"kill-self", [] { raise(SIGKILL); }},
      {"segfault-in-fork",
       [] {
         const pid_t pid = fork();
         if (pid == 0) DereferenceNull();
         int status = 0;
         waitpid(pid, &status, 0);
         std::printf("%d\n", WTERMSIG(status));
         raise(SIGKILL);
       }},
      {"thread-segfault", [] { std::thread(DereferenceNull).join(); }},
      {"exit", [&] { std::exit(std::atoi(words.at(1).c_str())); }},
      // Hangs.
      {"loop", SpinForEver},
      {"sleep", SleepForEver},
      {"deaf",
       [] {
         sigset_t all;
         sigfillset(&all);
         sigprocmask(SIG_BLOCK, &all, nullptr);
         SleepForEver();
       }},
      {"work", [&] { Work(page, std::atoi(words.at(1).c_str())); }},
      {"ignore-signals",
       [] {
         for (int s = 1; s < SIGRTMAX; ++s) signal(s, SIG_IGN);
       }},
      // Memory.
      {"allocate",
       [&] { Allocate(std::strtoull(words.at(1).c_str(), nullptr, 10)); }},
      {"allocate-in-children",
       [&] {
         // words: pid file, processes, bytes in each.
         const size_t bytes = std::strtoull(words.at(3).c_str(), nullptr, 10);
         for (int i = 0; i < std::atoi(words.at(2).c_str()); ++i) {
           ForkInto(
               words.at(1), [&] { Allocate(bytes); }, SleepForEver);
         }
         SleepForEver();
       }},
      {"share-with-children",
       [&] {
         // words: pid file, processes, bytes that all of them share.
         Allocate(std::strtoull(words.at(3).c_str(), nullptr, 10));
         for (int i = 0; i < std::atoi(words.at(2).c_str()); ++i) {
           ForkInto(words.at(1), Nothing, SleepForEver);
         }
         std::printf("shared\n");
         SleepForEver();
       }},
      // Processes.
      {"leave", [&] { Leave(words); }},
      {"leave-and-segfault",
       [&] {
         Leave(words);
         DereferenceNull();
       }},
      {"leave-and-exit",
       [&] {
         Leave(words);
         std::exit(0);
       }},
      {"leave-and-sleep",
       [&] {
         Leave(words);
         std::printf("left\n");
         SleepForEver();
       }},
      // Ends as soon as nobody hears it any more.
      {"leave-until-unheard",
       [&] {
         Leave(words);
         std::printf("left\n");
         while (send(kTaskSocketFd, "", 0, MSG_NOSIGNAL) == 0) sched_yield();
       }},
      // What a mapper does that has lost the process it works with.
      {"lean-and-throw",
       [&] {
         int ends[2];
         if (pipe(ends) != 0) throw std::runtime_error("pipe");
         Leave(words);  // Has the writing end.
         close(ends[1]);
         std::printf("leans\n");
         char byte;
         if (read(ends[0], &byte, 1) == 0) ThrowRangeError();
       }},
      {"leave-and-throw",
       [&] {
         Leave(words);
         ThrowRangeError();
       }},
      // Descriptors and protocol.
      {"close-descriptors", [] { closefrom(3); }},
      {"hang-up",
       [] {
         shutdown(kTaskSocketFd, SHUT_WR);
         SleepForEver();
       }},
      {"long-frame", [] { WriteAll(kTaskSocketFd, "\xff\xff\xff\xff"); }},
      {"no-message",
       [] {
         WriteAll(kTaskSocketFd, std::string("\x04\0\0\0\xff\xff\xff\xff", 8));
       }},
      {"empty-message",
       [] { WriteAll(kTaskSocketFd, std::string("\0\0\0\0", 4)); }},
      {"half-message",
       [] {
         WriteAll(kTaskSocketFd, std::string("\x10\0\0\0half", 8));
         std::exit(0);
       }},
  };
  behaviours.at(words.at(0))();
}

}  // namespace millrace::supervisor
