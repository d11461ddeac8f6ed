#include "supervisor/process_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <set>

#include "common/strings.h"

namespace millrace::supervisor {
namespace {

// A process that sleeps until it is killed. Named so that a careless reader of
// /proc/<pid>/stat stumbles.
pid_t StartSleeper() {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // Should the test itself be killed.
    prctl(PR_SET_NAME, ") R 1 1 (x");
    close(ends[0]);
    close(ends[1]);
    while (true) pause();
  }
  close(ends[1]);
  char byte;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);  // Its copies are closed: it is named.
  close(ends[0]);
  return pid;
}

void End(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(ReadProcessTest, ParsesHostileNames) {
  const pid_t pid = StartSleeper();
  const auto entry = ReadProcess(pid);
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->pid, pid);
  EXPECT_EQ(entry->parent, getpid());
  EXPECT_EQ(entry->group, getpgrp());
  EXPECT_FALSE(entry->dead());
  EXPECT_GT(entry->start_ticks, 0u);
  EXPECT_GE(entry->start_ticks, ReadProcess(getpid())->start_ticks);

  kill(pid, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(ReadProcess(pid)->dead());
  waitpid(pid, nullptr, 0);
  EXPECT_FALSE(ReadProcess(pid).has_value());
}

TEST(ProcessTableTest, MarksDescendantsAndNothingElse) {
  ProcessTable table;
  const pid_t one = StartSleeper();
  const pid_t other = StartSleeper();
  ASSERT_TRUE(table.Scan());
  table.MarkDescendants(getpid());
  std::set<pid_t> marked;
  for (const ProcessEntry& entry : table.entries()) {
    if (entry.marked) marked.insert(entry.pid);
  }
  EXPECT_TRUE(marked.contains(one) && marked.contains(other));
  EXPECT_FALSE(marked.contains(getpid()) || marked.contains(getppid()));

  table.ClearMarks();
  table.MarkDescendants(one);
  for (const ProcessEntry& entry : table.entries()) {
    EXPECT_FALSE(entry.marked) << entry.pid;
  }
  table.Mark(getppid());
  table.SpreadMarks();
  for (const ProcessEntry& entry : table.entries()) {
    if (entry.pid == one || entry.pid == getpid()) {
      EXPECT_TRUE(entry.marked) << entry.pid;
    }
  }
  End(one);
  End(other);
}

TEST(ResidentBytesTest, SeesMemoryThatWasTouched) {
  const int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const uint64_t before = ResidentBytes(statm);
  EXPECT_GT(before, 0u);
  constexpr size_t kBytes = 64 << 20;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  // The kernel counts in batches.
  EXPECT_GT(ResidentBytes(statm), before + kBytes / 10 * 9);
  EXPECT_GT(ResidentBytesOf(getpid()), before + kBytes / 10 * 9);
  const uint64_t alone = ProportionalBytesOf(getpid());
  EXPECT_GT(alone, kBytes / 10 * 9);
  // A forked process shares them all, and pays for half.
  const pid_t pid = StartSleeper();
  EXPECT_GT(ResidentBytesOf(pid), kBytes / 10 * 9);
  EXPECT_LT(ProportionalBytesOf(pid), ResidentBytesOf(pid) / 4 * 3);
  End(pid);
  munmap(memory, kBytes);
  close(statm);
  EXPECT_EQ(ResidentBytesOf(pid), 0u);
}

TEST(KillAndReapOwnDescendantsTest, LeavesNone) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  // In a process of its own: it kills and reaps whatever is below it.
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = 0; i < 20; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        setsid();
        const pid_t grandchild = fork();
        if (write(ends[1], &grandchild, sizeof grandchild) < 0) _exit(2);
        while (true) pause();
      }
    }
    ProcessTable table;
    KillAndReapOwnDescendants(table);
    _exit(waitpid(-1, nullptr, __WALL | WNOHANG) == -1 ? 0 : 1);
  }
  close(ends[1]);
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  // The write end is closed in all of them: nobody is left.
  pid_t grandchild;
  ssize_t n;
  while ((n = read(ends[0], &grandchild, sizeof grandchild)) > 0) {
    if (grandchild == 0) continue;  // From the grandchild itself.
    EXPECT_FALSE(ReadProcess(grandchild).has_value());
  }
  EXPECT_EQ(n, 0);
  close(ends[0]);
}

}  // namespace
}  // namespace millrace::supervisor
