// Test fixture: a supervisor, children that misbehave, and questions about what
// is left of them.
#ifndef MILLRACE_SUPERVISOR_TESTING_CHILD_HARNESS_H_
#define MILLRACE_SUPERVISOR_TESTING_CHILD_HARNESS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "supervisor/supervisor.h"

namespace millrace::supervisor {

// True under the sanitizer that delivers asynchronous signals late.
extern const bool kUnderThreadSanitizer;
// How much memory a touched byte takes: more than one with shadow memory.
extern const uint64_t kMemoryScale;

// Waits until the process has ended; false after half a minute. Collects it if
// it has become ours.
bool AwaitEnd(pid_t pid);

// Open descriptors of this process.
int CountDescriptors();
// Children of this process, ended ones included.
int CountChildren();

class SupervisorTest : public testing::Test {
 protected:
  void SetUp() override;
  // Every test: after the supervisor is gone, so are all its processes and
  // descriptors.
  void TearDown() override;

  // Options for the test child in start mode `mode`, "" for a good one.
  ChildOptions Options(const std::string& mode = "");

  ChildId Start(const ChildOptions& options);
  // Starts and waits for kReady.
  ChildId StartReady(const ChildOptions& options);
  ChildId StartReady() { return StartReady(Options()); }

  // Gives the child a task that does `words`.
  void Run(ChildId child, const std::vector<std::string>& words,
           proto::TaskKind kind = proto::MAP_TASK);
  // The next event of anybody; the test fails if none comes for a minute.
  ChildEvent NextEvent();
  // Run and NextEvent; the event is of this child.
  ChildEvent Perform(ChildId child, const std::vector<std::string>& words,
                     proto::TaskKind kind = proto::MAP_TASK);

  // A file below the test's directory, which is removed at the end.
  std::string File(const std::string& name) { return directory_ + "/" + name; }
  // What processes have written to it with AppendPid.
  std::vector<pid_t> PidsIn(const std::string& file);
  // Of each pid in it: has it ended? At least `count_min` are there.
  void ExpectAllEnded(const std::string& file, size_t count_min = 1);

  // Replaces the supervisor by one whose time passes only with AdvanceToEvent.
  void UseManualClock();
  // The next event, with a tenth of a second passing now and then until it
  // comes; the test fails if `max` is not enough.
  ChildEvent AdvanceToEvent(absl::Duration max);

  ManualClock clock_;
  std::unique_ptr<Supervisor> supervisor_;

 private:
  std::string directory_;
  std::vector<ChildEvent> waiting_;
  int descriptors_before_ = 0;
  int children_before_ = 0;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_TESTING_CHILD_HARNESS_H_
