// A job process for the supervisor's tests: speaks the task protocol as
// api/src/task does, and misbehaves on command.
//
//   supervisor_test_child [--start=MODE]
//     MODE: never-ready, wrong-version, exit, segfault, garbage, silent-exit
//   supervisor_test_child --supervise=STOP_LIMIT_MS WORD...
//     is a supervisor itself, of a child that does WORD...; writes "up\n" to
//     stdout when the child has printed something, and the cause of the child's
//     end when it comes.
//
// A task's words stand in RunTask.plan.inputs.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/strings.h"
#include "supervisor/child_main.h"
#include "supervisor/supervisor.h"
#include "supervisor/task_frames.h"
#include "supervisor/testing/misbehaviour.h"

namespace millrace::supervisor {
namespace {

// Where every task of this program is when it misbehaves.
void SetPosition(StatusPage& page, bool reducing) {
  page.phase.store(reducing ? TaskPhase::kReduce : TaskPhase::kMap);
  page.record_ordinal.store(16);
  page.input_bytes.store(4321);
  if (reducing) {
    page.key.Set("word");
  } else {
    page.record_offset.store(1234);
    page.file.Set("/data/x.txt");
  }
}

// The inputs of a reduce task, up to the first that is out of order.
uint32_t CountInOrder(const proto::ReduceTask& reduce) {
  uint32_t count = 0;
  for (const proto::MapOutputRef& ref : reduce.map_outputs()) {
    if (ref.map_index() != count) break;
    ++count;
  }
  return count;
}

proto::TaskEvent Perform(const proto::RunTask& task, StatusPage& page) {
  std::vector<std::string> words;
  for (const std::string& word : task.plan().inputs()) words.push_back(word);
  if (task.has_reduce()) words = {"ok"};
  SetPosition(page, task.kind() == proto::REDUCE_TASK);
  proto::TaskEvent event;
  try {
    SetThrowRecording(true);
    Misbehave(words, page);
    SetThrowRecording(false);
    event.mutable_done()->set_attempt_uid(task.attempt_uid());
    event.mutable_done()->set_num_maps(CountInOrder(task.reduce()));
    page.phase.store(TaskPhase::kIdle);
  } catch (const std::exception& e) {
    SetThrowRecording(false);
    proto::TaskFailed& failed = *event.mutable_failed();
    failed.set_attempt_uid(task.attempt_uid());
    failed.set_cause(proto::USER_EXCEPTION);
    failed.set_message(e.what());
    failed.set_stack(TakeThrowStack());
  }
  const bool left = HasLeftProcesses();
  if (event.has_done()) {
    event.mutable_done()->set_left_processes(left);
  } else {
    event.mutable_failed()->set_left_processes(left);
  }
  return event;
}

int ServeTasks(const std::string& mode, ChildSide& side) {
  BlockingChannel& channel = *side.channel;
  StatusPage& page = *side.status;
  if (mode == "exit") return 3;
  if (mode == "segfault") Misbehave({"segfault"}, page);
  if (mode == "never-ready") Misbehave({"sleep"}, page);
  if (mode == "garbage") Misbehave({"long-frame"}, page);

  proto::TaskCommand command;
  absl::StatusOr<bool> more = channel.Receive(&command);
  if (!more.ok() || !*more || !command.has_configure()) return 4;
  proto::TaskEvent ready;
  ready.mutable_ready()->set_protocol_version(
      mode == "wrong-version" ? 99 : command.configure().protocol_version());
  ready.mutable_ready()->set_job_name("test");
  if (!channel.Send(ready).ok()) return 5;
  if (mode == "ready-twice") (void)channel.Send(ready);

  while (true) {
    more = ReceiveCommand(channel, &command);
    if (!more.ok()) return 6;
    if (!*more) break;
    proto::TaskEvent event = Perform(command.run(), page);
    if (mode == "wrong-uid") event.mutable_done()->set_attempt_uid("other");
    if (!channel.Send(event).ok()) return 7;
    if (mode == "answer-twice" && !channel.Send(event).ok()) return 7;
    if (mode == "exit-after-answer") return 0;
    if (mode == "segfault-after-answer") Misbehave({"segfault"}, page);
  }
  if (mode == "no-farewell") Misbehave({"sleep"}, page);
  if (mode == "segfault-at-end") Misbehave({"segfault"}, page);
  return 0;
}

// Says "up" when the task runs, and how its process ended if it does.
int Supervise(const std::string& self, absl::Duration stop_limit,
              const std::vector<std::string>& words) {
  auto supervisor = Supervisor::Create(Clock::Real());
  if (!supervisor.ok()) return 2;
  ChildOptions options;
  options.executable = self;
  options.stop_limit = stop_limit;
  const absl::StatusOr<ChildId> child =
      (*supervisor)->Start(options, proto::Configure());
  if (!child.ok()) return 3;
  for (bool up = false; true;) {
    const auto events = (*supervisor)->Wait(absl::Milliseconds(20));
    if (!events.ok()) return 4;
    for (const ChildEvent& event : *events) {
      if (event.kind == ChildEvent::Kind::kExited) {
        const std::string end =
            Cat(proto::FailureCause_Name(event.exit.cause),
                event.bad_record.has_value() ? ", blames a record" : "", "\n");
        const ssize_t n = write(STDOUT_FILENO, end.data(), end.size());
        return n == static_cast<ssize_t>(end.size()) ? 0 : 7;
      }
      if (event.kind != ChildEvent::Kind::kReady) return 5;
      proto::RunTask task;
      task.set_kind(proto::MAP_TASK);
      for (const std::string& word : words)
        task.mutable_plan()->add_inputs(word);
      if (!(*supervisor)->Run(*child, task).ok()) return 6;
    }
    if (up || (*supervisor)->Log(*child).empty()) continue;
    if (write(STDOUT_FILENO, "up\n", 3) != 3) return 7;
    up = true;
  }
}

int Main(int argc, char** argv) {
  constexpr std::string_view kStart = "--start=";
  constexpr std::string_view kSupervise = "--supervise=";  // Milliseconds.
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0].starts_with(kSupervise)) {
    const int stop_limit = std::stoi(arguments[0].substr(kSupervise.size()));
    return Supervise(argv[0], absl::Milliseconds(stop_limit),
                     {arguments.begin() + 1, arguments.end()});
  }
  std::string mode;
  for (const std::string& argument : arguments) {
    if (argument.starts_with(kStart)) mode = argument.substr(kStart.size());
  }
  absl::StatusOr<ChildSide> side = EnterTaskMode();
  if (!side.ok()) {
    std::fprintf(stderr, "%s\n", side.status().ToString().c_str());
    return 2;
  }
  const int exit_code = ServeTasks(mode, *side);
  LeaveTaskMode(*side);
  return exit_code;
}

}  // namespace
}  // namespace millrace::supervisor

int main(int argc, char** argv) {
  return millrace::supervisor::Main(argc, argv);
}
