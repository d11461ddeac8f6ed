#include "supervisor/testing/child_harness.h"

#include <dirent.h>
#include <poll.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/process_tree.h"

namespace millrace::supervisor {

#if defined(__SANITIZE_THREAD__)
const bool kUnderThreadSanitizer = true;
const uint64_t kMemoryScale = 5;
#else
const bool kUnderThreadSanitizer = false;
const uint64_t kMemoryScale = 1;
#endif

bool AwaitEnd(pid_t pid) {
  const int fd = PidfdOpen(pid);
  if (fd < 0) return errno == ESRCH;
  pollfd wait = {fd, POLLIN, 0};
  const int n = poll(&wait, 1, 30'000);
  close(fd);
  waitpid(pid, nullptr, WNOHANG | __WALL);
  return n == 1;
}

int CountDescriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

int CountChildren() {
  ProcessTable table;
  table.Scan();
  int count = 0;
  for (const ProcessEntry& entry : table.entries()) {
    if (entry.parent == getpid()) ++count;
  }
  return count;
}

void SupervisorTest::SetUp() {
  std::string pattern = testing::TempDir() + "/supervisor_test.XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  Clock::Real();  // Made on first use, and kept.
  descriptors_before_ = CountDescriptors();
  children_before_ = CountChildren();
  auto supervisor = Supervisor::Create(Clock::Real());
  ASSERT_TRUE(supervisor.ok()) << supervisor.status();
  supervisor_ = *std::move(supervisor);
}

void SupervisorTest::TearDown() {
  supervisor_.reset();
  EXPECT_EQ(CountDescriptors(), descriptors_before_);
  EXPECT_EQ(CountChildren(), children_before_);
  std::filesystem::remove_all(directory_);
}

ChildOptions SupervisorTest::Options(const std::string& mode) {
  ChildOptions options;
  options.executable = MR_TEST_CHILD;
  // That sanitizer makes a program with threads sleep for a second at its exit.
  if (kUnderThreadSanitizer) {
    options.environment = {"TSAN_OPTIONS=atexit_sleep_ms=0"};
  }
  if (!mode.empty()) options.arguments.push_back("--start=" + mode);
  return options;
}

ChildId SupervisorTest::Start(const ChildOptions& options) {
  const absl::StatusOr<ChildId> child =
      supervisor_->Start(options, proto::Configure());
  EXPECT_TRUE(child.ok()) << child.status();
  return child.value_or(0);
}

ChildId SupervisorTest::StartReady(const ChildOptions& options) {
  const ChildId child = Start(options);
  const ChildEvent event = NextEvent();
  EXPECT_EQ(event.child, child);
  EXPECT_EQ(event.kind, ChildEvent::Kind::kReady) << event.exit.message;
  return child;
}

void SupervisorTest::Run(ChildId child, const std::vector<std::string>& words,
                         proto::TaskKind kind) {
  proto::RunTask task;
  task.set_kind(kind);
  task.set_attempt_uid("0123456789abcdef");
  for (const std::string& word : words) task.mutable_plan()->add_inputs(word);
  const absl::Status status = supervisor_->Run(child, task);
  EXPECT_TRUE(status.ok()) << status;
}

ChildEvent SupervisorTest::NextEvent() {
  if (waiting_.empty()) {
    auto events = supervisor_->Wait(absl::Minutes(1));
    EXPECT_TRUE(events.ok()) << events.status();
    if (events.ok()) waiting_ = *std::move(events);
  }
  if (waiting_.empty()) {
    ADD_FAILURE() << "no event";
    return ChildEvent();
  }
  ChildEvent event = std::move(waiting_.front());
  waiting_.erase(waiting_.begin());
  return event;
}

ChildEvent SupervisorTest::Perform(ChildId child,
                                   const std::vector<std::string>& words,
                                   proto::TaskKind kind) {
  Run(child, words, kind);
  ChildEvent event = NextEvent();
  EXPECT_EQ(event.child, child);
  return event;
}

void SupervisorTest::UseManualClock() {
  supervisor_.reset();
  auto supervisor = Supervisor::Create(clock_);
  ASSERT_TRUE(supervisor.ok()) << supervisor.status();
  supervisor_ = *std::move(supervisor);
}

ChildEvent SupervisorTest::AdvanceToEvent(absl::Duration max) {
  for (absl::Duration passed; passed <= max && waiting_.empty();
       passed += absl::Milliseconds(100)) {
    clock_.Advance(absl::Milliseconds(100));
    auto events = supervisor_->Wait(absl::Milliseconds(1));
    EXPECT_TRUE(events.ok()) << events.status();
    if (events.ok()) waiting_ = *std::move(events);
  }
  return NextEvent();  // Killing may take a moment of real time.
}

std::vector<pid_t> SupervisorTest::PidsIn(const std::string& file) {
  std::vector<pid_t> pids;
  std::ifstream in(file);
  for (pid_t pid; in >> pid;) pids.push_back(pid);
  return pids;
}

void SupervisorTest::ExpectAllEnded(const std::string& file, size_t count_min) {
  const std::vector<pid_t> pids = PidsIn(file);
  EXPECT_GE(pids.size(), count_min);
  for (pid_t pid : pids) {
    // No wait: the event that the caller has promised this. What is left of it
    // may be a zombie of a living parent.
    const std::optional<ProcessEntry> entry = ReadProcess(pid);
    EXPECT_TRUE(!entry.has_value() || entry->dead())
        << pid << " is still " << entry->state;
  }
}

}  // namespace millrace::supervisor
