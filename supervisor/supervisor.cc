#include "supervisor/supervisor.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/supervisor_impl.h"
#include "supervisor/task_frames.h"

namespace millrace::supervisor {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// Of one descriptor in one round: a talkative child must not starve the others.
constexpr size_t kBytesPerRound = 1 << 20;
constexpr int kEventsPerRound = 64;
constexpr absl::Duration kStopPatience = absl::Seconds(1);

int CeilMilliseconds(absl::Duration d) {
  if (d <= absl::ZeroDuration()) return 0;
  if (d >= absl::Milliseconds(std::numeric_limits<int>::max())) return -1;
  return static_cast<int>(
      absl::ToInt64Milliseconds(absl::Ceil(d, absl::Milliseconds(1))));
}

// A child that ended after its last task must not take the next one with it.
bool HasEnded(pid_t pid) {
  siginfo_t info = {};
  const int error =
      waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT);
  return error != 0 || info.si_pid != 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Supervisor>> Supervisor::Create(
    Clock& clock, MemoryCgroups* cgroups) {
  return SupervisorImpl::Create(clock, cgroups);
}

SupervisorImpl::Child::Child(ChildId id_in, const ChildOptions& options_in,
                             SpawnedChild spawned)
    : id(id_in),
      pid(spawned.pid),
      options(options_in),
      status(std::move(spawned.status)),
      statm(std::move(spawned.statm)),
      log(options_in.log_head_bytes, options_in.log_tail_bytes) {}

absl::StatusOr<std::unique_ptr<Supervisor>> SupervisorImpl::Create(
    Clock& clock, MemoryCgroups* cgroups) {
  std::unique_ptr<SupervisorImpl> supervisor(
      new SupervisorImpl(clock, cgroups));
  MR_RETURN_IF_ERROR(supervisor->Init());
  return std::unique_ptr<Supervisor>(std::move(supervisor));
}

absl::Status SupervisorImpl::Init() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return ErrnoStatus(errno, "become", "subreaper");
  }
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return ErrnoStatus(errno, "create", "epoll set");
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.valid()) return ErrnoStatus(errno, "create", "timer");
  MR_ASSIGN_OR_RETURN(timer_, Watch(Source::kTimer, 0, 0, std::move(timer)));
  if (!table_.Scan()) return ErrnoStatus(errno, "read", "/proc");
  for (const ProcessEntry& entry : table_.entries()) {
    if (entry.parent == getpid()) {
      foreign_children_.emplace(entry.pid, entry.start_ticks);
    }
  }
  return absl::OkStatus();
}

SupervisorImpl::~SupervisorImpl() {
  std::vector<ChildId> ids;
  for (const auto& [id, child] : children_) ids.push_back(id);
  for (ChildId id : ids) {
    Child* child = Find(id);
    if (child != nullptr) Kill(id, proto::FAILURE_CAUSE_UNSPECIFIED, "", false);
  }
  while (!children_.empty()) {
    ArmTimer();
    const int n = Turn(10'000);
    if (n == 0 || (n < 0 && n != -EINTR)) {
      LOG(ERROR) << children_.size() << " killed task processes do not end";
      return;
    }
  }
}

SupervisorImpl::Child* SupervisorImpl::Find(ChildId id) {
  const auto at = children_.find(id);
  return at == children_.end() ? nullptr : at->second.get();
}

absl::StatusOr<SupervisorImpl::Token> SupervisorImpl::Watch(Source source,
                                                            ChildId child,
                                                            pid_t pid,
                                                            UniqueFd fd) {
  const Token token = next_token_++;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = token;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) {
    return ErrnoStatus(errno, "watch", "descriptor");
  }
  watched_.emplace(token, Watched{source, child, pid, std::move(fd)});
  return token;
}

void SupervisorImpl::Unwatch(Token& token) {
  if (token == 0) return;
  // A copy of the descriptor elsewhere would keep it in the set, so it is taken
  // out before it is closed.
  const auto at = watched_.find(token);
  CHECK(at != watched_.end());
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, at->second.fd.get(), nullptr);
  watched_.erase(at);
  token = 0;
}

int SupervisorImpl::FdOf(Token token) const {
  const auto at = watched_.find(token);
  return at == watched_.end() ? -1 : at->second.fd.get();
}

absl::StatusOr<ChildId> SupervisorImpl::Start(
    const ChildOptions& options, const proto::Configure& configure) {
  MR_ASSIGN_OR_RETURN(SpawnedChild spawned, SpawnChild(options));
  UniqueFd process = std::move(spawned.process);
  UniqueFd socket = std::move(spawned.socket);
  UniqueFd log = std::move(spawned.log);
  const ChildId id = next_child_++;
  Child& child = *children_
                      .emplace(id, std::make_unique<Child>(id, options,
                                                           std::move(spawned)))
                      .first->second;
  child.start_deadline = clock_.Monotonic() + options.start_timeout;
  Enclose(child);  // It does nothing before it is configured.

  proto::TaskCommand command;
  *command.mutable_configure() = configure;
  command.mutable_configure()->set_protocol_version(
      proto::TASK_PROTOCOL_VERSION);
  const absl::Status status = [&]() -> absl::Status {
    MR_ASSIGN_OR_RETURN(child.process, Watch(Source::kProcess, id, child.pid,
                                             std::move(process)));
    MR_ASSIGN_OR_RETURN(
        child.socket, Watch(Source::kSocket, id, child.pid, std::move(socket)));
    MR_ASSIGN_OR_RETURN(child.log_pipe,
                        Watch(Source::kLog, id, child.pid, std::move(log)));
    MR_ASSIGN_OR_RETURN(const std::string frame, FrameMessage(command));
    Send(child, frame);
    return absl::OkStatus();
  }();
  if (!status.ok()) {
    // Nobody has seen the id yet: the child goes without an event.
    KillTree(child);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT);
    ReapJobChild(child.pid);
    for (Token* token : {&child.process, &child.socket, &child.log_pipe}) {
      Unwatch(*token);
    }
    for (auto& [pid, victim] : child.victims) Unwatch(victim.token);
    children_.erase(id);
    return status;
  }
  ArmTimer();
  return id;
}

absl::Status SupervisorImpl::Run(ChildId id, const proto::RunTask& task) {
  Child* child = Find(id);
  if (child == nullptr || child->state != State::kIdle || child->stopping ||
      child->hung_up || HasEnded(child->pid)) {
    return absl::FailedPreconditionError(
        Cat("task process ", id, " is not waiting for a task"));
  }
  MR_ASSIGN_OR_RETURN(const std::string frames, FrameTask(task));
  DrainLog(*child, kLastLogBytes);
  child->log.Clear();
  // The child waits, so nobody writes here but us.
  StatusPage& status = page(*child);
  status.phase.store(TaskPhase::kIdle, std::memory_order_relaxed);
  status.record_offset.store(~uint64_t{0}, std::memory_order_relaxed);
  status.record_file.store(0, std::memory_order_relaxed);
  status.record_ordinal.store(0, std::memory_order_relaxed);
  status.value_ordinal.store(0, std::memory_order_relaxed);
  status.input_bytes.store(0, std::memory_order_relaxed);
  status.file.Set("");
  status.key.Set("");
  status.crash_signal.store(0, std::memory_order_relaxed);
  status.crash_stack.Set("");
  Send(*child, frames);
  child->attempt_uid = task.attempt_uid();
  child->state = State::kRunning;
  child->task_runs = true;
  StartTaskClocks(*child);
  ArmTimer();
  return absl::OkStatus();
}

void SupervisorImpl::Kill(ChildId id, proto::FailureCause cause,
                          const std::string& message, bool take_stack) {
  Child* child = Find(id);
  if (child == nullptr) return;
  Condemn(*child, cause, message, take_stack);
  ArmTimer();
}

void SupervisorImpl::Stop(ChildId id) {
  Child* child = Find(id);
  if (child == nullptr || child->stopping) return;
  if (child->task_runs || child->held.has_value() || child->hung_up) {
    Kill(id, proto::FAILURE_CAUSE_UNSPECIFIED, "stopped", false);
    return;
  }
  child->stopping = true;
  // Only our half: the child reads the end and comes to its own; were all of it
  // closed, its watch would end it on the spot.
  shutdown(FdOf(child->socket), SHUT_WR);
  child->exit_deadline = clock_.Monotonic() + kStopPatience;
  ArmTimer();
}

ChildProgress SupervisorImpl::Progress(ChildId id) {
  ChildProgress progress;
  Child* child = Find(id);
  if (child == nullptr) return progress;
  const StatusPage& status = page(*child);
  progress.pid = child->pid;
  progress.records = status.record_ordinal.load(std::memory_order_relaxed);
  progress.input_bytes = status.input_bytes.load(std::memory_order_relaxed);
  progress.phase = status.phase.load(std::memory_order_relaxed);
  progress.resident_bytes = ResidentBytes(child->statm.get());
  return progress;
}

std::string SupervisorImpl::Log(ChildId id) {
  if (Child* child = Find(id)) return child->log.Text();
  const auto ended = ended_logs_.find(id);
  return ended == ended_logs_.end() ? "" : ended->second.Text();
}

absl::StatusOr<std::vector<ChildEvent>> SupervisorImpl::Wait(
    absl::Duration timeout) {
  ended_logs_.clear();
  const absl::Duration start = clock_.Monotonic();
  absl::Duration left = timeout;
  while (true) {
    ArmTimer();
    const int n = Turn(CeilMilliseconds(left));
    if (n < 0 && n != -EINTR) return ErrnoStatus(-n, "wait for", "children");
    // None ready: the whole of `left` has passed, whatever the clock says.
    if (!events_.empty() || n <= 0) break;
    left = timeout - (clock_.Monotonic() - start);
    if (left <= absl::ZeroDuration()) break;
  }
  ArmTimer();
  return std::exchange(events_, {});
}

int SupervisorImpl::Turn(int timeout_ms) {
  epoll_event ready[kEventsPerRound];
  const int n = epoll_wait(epoll_.get(), ready, kEventsPerRound, timeout_ms);
  if (n < 0) return -errno;
  for (int i = 0; i < n; ++i) Dispatch(ready[i].data.u64, ready[i].events);
  RunTimers();
  return n;
}

void SupervisorImpl::Dispatch(Token token, uint32_t ready) {
  const auto at = watched_.find(token);
  if (at == watched_.end()) return;
  const Source source = at->second.source;
  const pid_t pid = at->second.pid;
  if (source == Source::kTimer) {
    uint64_t expirations;
    (void)!read(at->second.fd.get(), &expirations, sizeof expirations);
    armed_for_ = absl::InfiniteDuration();
    return;
  }
  Child* child = Find(at->second.child);
  CHECK(child != nullptr);
  switch (source) {
    case Source::kTimer:
      break;
    case Source::kProcess:
      OnProcessEnded(*child);
      break;
    case Source::kSocket:
      if ((ready & EPOLLOUT) != 0) Flush(*child);
      if ((ready & ~static_cast<uint32_t>(EPOLLOUT)) != 0) ReadSocket(*child);
      break;
    case Source::kLog:
      DrainLog(*child, kBytesPerRound);
      CheckLogSize(*child);
      break;
    case Source::kVictim:
      OnVictimDead(*child, pid);
      break;
  }
}

void SupervisorImpl::Send(Child& child, std::string_view frames) {
  child.output += frames;
  Flush(child);
}

void SupervisorImpl::Flush(Child& child) {
  if (child.hung_up) return;
  const int fd = FdOf(child.socket);
  while (child.output_sent < child.output.size()) {
    const ssize_t n =
        send(fd, child.output.data() + child.output_sent,
             child.output.size() - child.output_sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    // The child is gone or going; its end is reported elsewhere.
    if (n < 0 && errno != EAGAIN) child.output_sent = child.output.size();
    if (n < 0) break;
    child.output_sent += static_cast<size_t>(n);
  }
  if (child.output_sent == child.output.size()) {
    child.output = std::string();  // It may have been large.
    child.output_sent = 0;
  }
  epoll_event event = {};
  event.events = EPOLLIN;
  if (!child.output.empty()) event.events |= EPOLLOUT;
  event.data.u64 = child.socket;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void SupervisorImpl::ReadSocket(Child& child) {
  char chunk[kReadBytes];
  for (size_t total = 0; total < kBytesPerRound && !child.hung_up;) {
    const ssize_t n = recv(FdOf(child.socket), chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      OnSocketClosed(child);
      return;
    }
    total += static_cast<size_t>(n);
    const absl::Status status =
        child.parser.Append(std::string_view(chunk, static_cast<size_t>(n)));
    while (const std::optional<std::string_view> payload =
               child.parser.Next()) {
      OnMessage(child, *payload);
    }
    if (!status.ok()) {
      Condemn(child, proto::INTERNAL,
              Cat("task process broke the task protocol: ",
                  ToStd(status.message())),
              false);
      OnSocketClosed(child);
      return;
    }
  }
}

void SupervisorImpl::OnSocketClosed(Child& child) {
  // Our end stays open: were it closed, the child's watch would end it, and its
  // exit status would tell a wrong story.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, FdOf(child.socket), nullptr);
  child.hung_up = true;
  // A process that ends closes its socket first. One that does not end, and can
  // no longer be spoken to, is not left alone for long.
  if (!child.stopping && !child.ended && !child.verdict.has_value()) {
    child.exit_deadline = clock_.Monotonic() + kStopPatience;
  }
}

void SupervisorImpl::OnMessage(Child& child, std::string_view payload) {
  if (child.verdict.has_value()) return;  // Too late.
  proto::TaskEvent message;
  if (!message.ParseFromArray(payload.data(),
                              static_cast<int>(payload.size()))) {
    Condemn(child, proto::INTERNAL,
            Cat("task process broke the task protocol: ", payload.size(),
                " bytes that are no message"),
            false);
    return;
  }
  ChildEvent event;
  event.child = child.id;
  switch (message.event_case()) {
    case proto::TaskEvent::kReady:
      OnReady(child, std::move(*message.mutable_ready()));
      return;
    case proto::TaskEvent::kDone: {
      event.kind = ChildEvent::Kind::kDone;
      event.done = std::move(*message.mutable_done());
      const std::string uid = event.done.attempt_uid();
      const bool left = event.done.left_processes();
      OnAnswer(child, std::move(event), uid, left);
      return;
    }
    case proto::TaskEvent::kFailed: {
      event.kind = ChildEvent::Kind::kFailed;
      event.failed = std::move(*message.mutable_failed());
      const std::string uid = event.failed.attempt_uid();
      const bool left = event.failed.left_processes();
      OnAnswer(child, std::move(event), uid, left);
      return;
    }
    case proto::TaskEvent::EVENT_NOT_SET:
      break;
  }
  Condemn(child, proto::INTERNAL,
          "task process broke the task protocol: an empty message", false);
}

void SupervisorImpl::OnReady(Child& child, proto::Ready ready) {
  if (ready.protocol_version() != proto::TASK_PROTOCOL_VERSION) {
    Condemn(child, proto::PROGRAM_INVALID,
            Cat(Printable(child.options.executable), " speaks version ",
                ready.protocol_version(),
                " of the task protocol, this program version ",
                static_cast<int>(proto::TASK_PROTOCOL_VERSION),
                "; build both from one Millrace"),
            false);
    return;
  }
  if (child.state != State::kStarting) {
    Condemn(child, proto::INTERNAL,
            "task process broke the task protocol: ready a second time", false);
    return;
  }
  child.state = State::kIdle;
  child.was_ready = true;
  child.start_deadline = absl::InfiniteDuration();
  ChildEvent event;
  event.child = child.id;
  event.kind = ChildEvent::Kind::kReady;
  event.ready = std::move(ready);
  events_.push_back(std::move(event));
}

void SupervisorImpl::OnAnswer(Child& child, ChildEvent event,
                              std::string_view attempt_uid,
                              bool left_processes) {
  if (!child.task_runs || attempt_uid != child.attempt_uid) {
    Condemn(child, proto::INTERNAL,
            "task process broke the task protocol: an answer to no task",
            false);
    return;
  }
  if (event.kind == ChildEvent::Kind::kFailed) {
    event.failed.set_message(event.failed.message() +
                             PositionSuffix(page(child)));
    if (event.failed.cause() == proto::USER_EXCEPTION) {
      event.bad_record =
          RecordAtFault(page(child), event.failed.cause(),
                        event.failed.message(), event.failed.stack());
    }
  }
  // Whether a task printed too much must not depend on who was faster.
  DrainLog(child, kLastLogBytes);
  CheckLogSize(child);
  if (child.verdict.has_value()) return;

  child.task_runs = false;
  StopTaskClocks(child);
  child.held = std::move(event);
  child.state = State::kSweeping;
  child.sweeps = 0;
  if (child.ended) return;
  if (left_processes) {
    Sweep(child);
  } else {
    ReleaseAnswer(child);
  }
}

void SupervisorImpl::ReleaseAnswer(Child& child) {
  if (!child.held.has_value()) return;
  DrainLog(child, kLastLogBytes);
  if (child.state == State::kSweeping) {
    child.state = child.held->kind == ChildEvent::Kind::kDone ? State::kIdle
                                                              : State::kSpent;
  }
  events_.push_back(std::move(*child.held));
  child.held.reset();
}

void SupervisorImpl::DrainLog(Child& child, size_t bytes_max) {
  char chunk[kReadBytes];
  for (size_t total = 0; total < bytes_max && child.log_pipe != 0;) {
    const ssize_t n = read(FdOf(child.log_pipe), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      Unwatch(child.log_pipe);  // Nobody is left who could write.
      return;
    }
    total += static_cast<size_t>(n);
    const std::string_view text(chunk, static_cast<size_t>(n));
    child.log.Append(text);
    if (child.options.log_sink) child.options.log_sink(text);
  }
}

}  // namespace millrace::supervisor
