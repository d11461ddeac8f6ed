// Job processes in cgroups of the machine that runs the test, if it has any
// that this process may use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "common/strings.h"
#include "supervisor/testing/child_harness.h"

namespace millrace::supervisor {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using Kind = ChildEvent::Kind;

class CgroupTest : public SupervisorTest {
 protected:
  void SetUp() override {
    SupervisorTest::SetUp();
    found_ = MemoryCgroups::Probe(CgroupFiles::Real(), getpid());
    if (found_.groups == nullptr) GTEST_SKIP() << found_.said;
    auto supervisor = Supervisor::Create(Clock::Real(), found_.groups.get());
    ASSERT_TRUE(supervisor.ok()) << supervisor.status();
    supervisor_ = *std::move(supervisor);
  }
  ChildOptions Limited(uint64_t megabytes) {
    ChildOptions options = Options();
    options.memory_limit_bytes = kMemoryScale * megabytes << 20;
    return options;
  }
  // Of this process, as the kernel shows them.
  std::vector<std::string> Groups() {
    std::vector<std::string> ours;
    for (const std::string& name :
         CgroupFiles::Real().Directories(found_.groups->path())) {
      if (name.starts_with(Cat("millrace-", getpid(), "-")) &&
          !name.ends_with("-worker")) {
        ours.push_back(name);
      }
    }
    return ours;
  }

  MemoryCgroups::Found found_;  // Goes after the supervisor.
};

TEST_F(CgroupTest, MemoryWithoutEndIsEndedByTheKernel) {
  const ChildOptions options = Limited(256);
  const ChildId child = StartReady(options);
  EXPECT_EQ(Groups().size(), 1u);
  const ChildEvent event = Perform(child, {"allocate", "0"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::MEMORY_LIMIT) << event.exit.message;
  EXPECT_THAT(
      event.exit.message,
      MatchesRegex(Cat("used [0-9.]+ [MG]iB of memory with all that it had "
                       "started, limit ",
                       HumanBytes(options.memory_limit_bytes),
                       " \\(cgroup-v[12]\\), in map, /data/x.txt offset 1234 "
                       ".*")));
  EXPECT_FALSE(event.bad_record.has_value());
  EXPECT_TRUE(event.exit.was_running_task);
  EXPECT_TRUE(Groups().empty());
}

TEST_F(CgroupTest, MemoryBelowTheLimitIsFine) {
  const ChildId child = StartReady(Limited(512));
  EXPECT_EQ(Perform(child, {"allocate", "134217728"}).kind, Kind::kDone);
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
}

TEST_F(CgroupTest, ProcessesWithoutEndAreEnded) {
  ChildOptions options = Limited(4096);
  options.processes_max = 20;
  const ChildId child = StartReady(options);
  const ChildEvent event =
      Perform(child, {"allocate-in-children", File("pids"), "30", "4096"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::PROCESS_LIMIT) << event.exit.message;
  EXPECT_THAT(event.exit.message, HasSubstr("20 are allowed"));
  ExpectAllEnded(File("pids"), 19);
}

TEST_F(CgroupTest, MemoryOfDescendantsCounts) {
  const ChildId child = StartReady(Limited(300));
  const ChildEvent event = Perform(child, {"allocate-in-children", File("pids"),
                                           "3", Cat(kMemoryScale * 128 << 20)});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::MEMORY_LIMIT) << event.exit.message;
  EXPECT_THAT(event.exit.message, HasSubstr("cgroup-v"));
  ExpectAllEnded(File("pids"), 1);
  EXPECT_TRUE(Groups().empty());
}

TEST_F(CgroupTest, AnotherKillIsNotTakenForTheLimit) {
  const ChildId child = StartReady(Limited(256));
  Run(child, {"sleep"});
  ASSERT_EQ(kill(supervisor_->Progress(child).pid, SIGKILL), 0);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_NE(event.exit.cause, proto::MEMORY_LIMIT);
  EXPECT_THAT(event.exit.message, Not(HasSubstr("limit")));
}

TEST_F(CgroupTest, WithoutALimitThereIsNoGroup) {
  StartReady();
  EXPECT_TRUE(Groups().empty());
}

}  // namespace
}  // namespace millrace::supervisor
