#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "api/src/local/task_host.h"

namespace millrace::local {
namespace {

using supervisor::ChildEvent;
using supervisor::ChildId;

// Says what it is told to say, and writes down what it is asked.
class FakeSupervisor final : public supervisor::Supervisor {
 public:
  struct Script {
    std::vector<ChildEvent> events;  // Of the next Wait.
    absl::Status run_status;
    std::vector<std::string> calls;
  };

  explicit FakeSupervisor(Script* script) : script_(script) {}

  absl::StatusOr<ChildId> Start(const supervisor::ChildOptions&,
                                const proto::Configure&) override {
    return ++last_child_;
  }
  absl::Status Run(ChildId child, const proto::RunTask&) override {
    Note("run", child);
    return script_->run_status;
  }
  void Kill(ChildId child, proto::FailureCause, const std::string&,
            bool) override {
    Note("kill", child);
  }
  void Stop(ChildId child) override { Note("stop", child); }
  absl::StatusOr<std::vector<ChildEvent>> Wait(absl::Duration) override {
    return std::exchange(script_->events, {});
  }
  supervisor::ChildProgress Progress(ChildId) override { return {}; }
  std::string Log(ChildId) override { return ""; }
  int wake_fd() const override { return -1; }

 private:
  void Note(const char* what, ChildId child) {
    script_->calls.push_back(std::string(what) + " " + std::to_string(child));
  }

  Script* const script_;
  ChildId last_child_ = 0;
};

ChildEvent Answer(ChildId child, ChildEvent::Kind kind) {
  ChildEvent event;
  event.child = child;
  event.kind = kind;
  return event;
}

ChildEvent Exited(ChildId child, bool was_running_task) {
  ChildEvent event = Answer(child, ChildEvent::Kind::kExited);
  event.exit.cause = proto::CRASHED;
  event.exit.was_running_task = was_running_task;
  return event;
}

class ProcessHostTest : public ::testing::Test {
 protected:
  ProcessHostTest()
      : host_(MakeProcessHost(std::make_unique<FakeSupervisor>(&script_),
                              flags_, configure_)) {
    EXPECT_TRUE(host_->Start(0).ok());
  }

  // What SlotGone, the last event, says; the others are `before` of them.
  Failure WaitForSlotGone(size_t before) {
    absl::StatusOr<std::vector<Event>> events =
        host_->Wait(absl::ZeroDuration());
    if (!events.ok() || events->size() != before + 1 ||
        !std::holds_alternative<SlotGone>(events->back())) {
      ADD_FAILURE() << "no SlotGone after " << before << " events";
      return Failure();
    }
    return std::get<SlotGone>(events->back()).failure.value_or(Failure());
  }

  FakeSupervisor::Script script_;
  JobFlags flags_;
  proto::Configure configure_;
  std::unique_ptr<TaskHost> host_;
};

// The end of a process may arrive together with its last answer, and the answer
// is acted upon first.
TEST_F(ProcessHostTest, SlotIsToldToRunWhileItsEndIsBeingHandedOut) {
  for (const auto kind : {ChildEvent::Kind::kReady, ChildEvent::Kind::kDone}) {
    const ChildId child = kind == ChildEvent::Kind::kReady ? 1 : 2;
    script_.events = {Answer(child, kind), Exited(child, false)};
    EXPECT_EQ(WaitForSlotGone(1).cause, proto::SPAWN_FAILED);
    host_->Run(0, proto::RunTask());
    ASSERT_TRUE(host_->Start(0).ok());
  }
  EXPECT_THAT(script_.calls, ::testing::IsEmpty());
}

TEST_F(ProcessHostTest, SlotIsRetiredWhileItsEndIsBeingHandedOut) {
  script_.events = {Answer(1, ChildEvent::Kind::kFailed), Exited(1, false)};
  WaitForSlotGone(1);
  host_->Retire(0);
  EXPECT_THAT(script_.calls, ::testing::IsEmpty());
}

// One SlotGone, from the process's own end, and none made up before it: the
// slot would be started twice.
TEST_F(ProcessHostTest, ProcessThatEndedUnseenIsGoneOnce) {
  script_.run_status = absl::FailedPreconditionError("not waiting for a task");
  host_->Run(0, proto::RunTask());
  EXPECT_THAT(script_.calls, ::testing::ElementsAre("run 1"));
  script_.events = {Exited(1, false)};
  EXPECT_EQ(WaitForSlotGone(0).cause, proto::SPAWN_FAILED);
}

TEST_F(ProcessHostTest, ProcessThatCannotBeGivenATaskIsKilled) {
  script_.run_status = absl::ResourceExhaustedError("a task of 80 MiB");
  host_->Run(0, proto::RunTask());
  EXPECT_THAT(script_.calls, ::testing::ElementsAre("run 1", "kill 1"));
}

TEST_F(ProcessHostTest, EndWithinATaskKeepsItsCause) {
  script_.events = {Exited(1, true)};
  EXPECT_EQ(WaitForSlotGone(0).cause, proto::CRASHED);
}

}  // namespace
}  // namespace millrace::local
