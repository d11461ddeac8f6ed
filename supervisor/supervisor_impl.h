// The supervisor behind supervisor.h. Three sources: supervisor.cc talks to
// children and waits, supervisor_limits.cc has all that a clock decides,
// supervisor_cleanup.cc kills and buries.
//
// States of a child:
//
//   kStarting -> kIdle <-> kRunning -> kSweeping -> kIdle | kSpent
//
//   kRunning -> kAsking          hung: was asked for its stack, will be killed
//   any -> kKilled               SIGKILL sent to it and everything below it
//   any -> kReaped -> gone       it has ended; its orphans are being killed
//
// kSweeping: the answer has come, and what the task left behind is being
// killed; the event is held back until that is done. kSpent: has reported a
// failure.
#ifndef MILLRACE_SUPERVISOR_SUPERVISOR_IMPL_H_
#define MILLRACE_SUPERVISOR_SUPERVISOR_IMPL_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/bounded_log.h"
#include "supervisor/exit_message.h"
#include "supervisor/message_channel.h"
#include "supervisor/process_tree.h"
#include "supervisor/spawn.h"
#include "supervisor/supervisor.h"
#include "supervisor/unique_fd.h"

namespace millrace::supervisor {

class SupervisorImpl final : public Supervisor {
 public:
  static absl::StatusOr<std::unique_ptr<Supervisor>> Create(
      Clock& clock, MemoryCgroups* cgroups);
  ~SupervisorImpl() override;

  absl::StatusOr<ChildId> Start(const ChildOptions& options,
                                const proto::Configure& configure) override;
  absl::Status Run(ChildId child, const proto::RunTask& task) override;
  void Kill(ChildId child, proto::FailureCause cause,
            const std::string& message, bool take_stack) override;
  void Stop(ChildId child) override;
  absl::StatusOr<std::vector<ChildEvent>> Wait(absl::Duration timeout) override;
  ChildProgress Progress(ChildId child) override;
  std::string Log(ChildId child) override;
  int wake_fd() const override { return epoll_.get(); }

 private:
  enum class State {
    kStarting,
    kIdle,
    kRunning,
    kSweeping,
    kSpent,
    kAsking,
    kKilled,
    kReaped,
  };

  // After an answer or an end, what was printed before it is in the pipe
  // already; a process that goes on printing is not waited for.
  static constexpr size_t kLastLogBytes = 4 << 20;

  // Names one watched descriptor in epoll and never comes again, so that an
  // event that was already fetched when its descriptor was closed finds
  // nothing.
  using Token = uint64_t;

  // A process that was sent SIGKILL and is not yet known to be dead.
  struct Victim {
    uint64_t start_ticks = 0;
    Token token = 0;        // Of its pidfd; 0: looked at by the clock instead.
    bool immortal = false;  // Not ours to kill; not waited for.
  };

  struct Child {
    Child(ChildId id_in, const ChildOptions& options_in, SpawnedChild spawned);

    const ChildId id;
    const pid_t pid;
    const ChildOptions options;
    const std::unique_ptr<StatusPageMapping> status;
    const UniqueFd statm;
    std::unique_ptr<MemoryCgroup> cgroup;  // Null: memory is watched.

    State state = State::kStarting;
    bool was_ready = false;
    bool task_runs = false;  // Between Run and the answer.
    bool hung_up = false;    // Has closed its end of the socket.
    bool ended = false;      // Is being buried; answers go out with its end.
    bool stopping = false;   // Was told to go.
    std::string attempt_uid;

    Token process = 0;  // 0 in these three: closed.
    Token socket = 0;
    Token log_pipe = 0;

    FrameParser parser;
    std::string output;      // For the socket,
    size_t output_sent = 0;  // which has taken so much of it.
    BoundedLog log;

    std::optional<ExitVerdict> verdict;  // Why we kill it.
    std::string stack;
    int wait_status = 0;
    uint64_t descendants_killed = 0;
    std::map<pid_t, Victim> victims;
    std::optional<ChildEvent> held;
    int sweeps = 0;  // Since the answer.

    // Points of clock_.Monotonic().
    absl::Duration start_deadline = absl::InfiniteDuration();
    absl::Duration exit_deadline =
        absl::InfiniteDuration();  // Told or hung up.
    absl::Duration memory_check = absl::InfiniteDuration();
    absl::Duration progress_check = absl::InfiniteDuration();
    absl::Duration stack_check = absl::InfiniteDuration();
    absl::Duration stack_deadline = absl::InfiniteDuration();
    absl::Duration victim_check = absl::InfiniteDuration();
    absl::Duration victim_deadline = absl::InfiniteDuration();

    uint64_t progress_seen = 0;
    absl::Duration progress_seen_at;
    absl::Duration silence;       // Of the task's time,
    absl::Duration task_time;     // which is what was watched of it.
    absl::Duration tree_checked;  // The table_time_ of the last look.
    int tree_over_limit = 0;      // Looks in a row.
  };

  enum class Source { kTimer, kProcess, kSocket, kLog, kVictim };
  struct Watched {
    Source source;
    ChildId child;
    pid_t pid;
    UniqueFd fd;
  };

  SupervisorImpl(Clock& clock, MemoryCgroups* cgroups)
      : clock_(clock), cgroups_(cgroups) {}
  absl::Status Init();

  StatusPage& page(Child& child) { return child.status->page(); }
  Child* Find(ChildId id);

  // supervisor.cc
  absl::StatusOr<Token> Watch(Source source, ChildId child, pid_t pid,
                              UniqueFd fd);
  void Unwatch(Token& token);
  int FdOf(Token token) const;
  void Send(Child& child, std::string_view frames);
  void Flush(Child& child);
  void Dispatch(Token token, uint32_t ready);
  void ReadSocket(Child& child);
  void OnSocketClosed(Child& child);
  void OnMessage(Child& child, std::string_view payload);
  void OnReady(Child& child, proto::Ready ready);
  void OnAnswer(Child& child, ChildEvent event, std::string_view attempt_uid,
                bool left_processes);
  void ReleaseAnswer(Child& child);
  void DrainLog(Child& child, size_t bytes_max);
  // One round: I/O that is ready, waiting at most `timeout_ms`, then what the
  // clock says. The number of descriptors that were ready, or -errno.
  int Turn(int timeout_ms);

  // supervisor_limits.cc
  void StartTaskClocks(Child& child);
  void StopTaskClocks(Child& child);
  void RunTimers();
  void RunTimersOf(Child& child, absl::Duration now);
  void CheckProgress(Child& child, absl::Duration now);
  void CheckMemory(Child& child, absl::Duration now);
  void CheckTreeMemory(Child& child, absl::Duration now);
  // True: there were more than it may be, and it is condemned.
  bool CheckProcesses(Child& child, size_t processes);
  // Into a cgroup of its own; if that fails its memory is watched.
  void Enclose(Child& child);
  // The kernel has killed something of the child for its limit. The message
  // names limit and peak; without the position.
  static std::optional<std::string> KernelsVerdict(const Child& child);
  void AskForStack(Child& child);
  void CheckStack(Child& child, absl::Duration now);
  void CheckLogSize(Child& child);
  // Condemns with the position of the task, if one runs.
  void CondemnTask(Child& child, proto::FailureCause cause,
                   const std::string& message, bool take_stack);
  void ArmTimer();
  static absl::Duration NextDeadline(const Child& child);

  // supervisor_cleanup.cc
  // Ends the child for a reason of ours; the first one counts. `take_stack`:
  // asks it where it is before it is killed.
  void Condemn(Child& child, proto::FailureCause cause,
               const std::string& message, bool take_stack);
  void TakeStack(Child& child);
  void KillTree(Child& child);
  void Sweep(Child& child);
  // Rounds of scan and kill until a scan shows nothing new below the child.
  // False: there was no end to it.
  bool KillDescendants(Child& child);
  // One round: kills what is marked in table_. True: something was met for the
  // first time, alive or dead, so that another round must follow. `met` is what
  // the rounds have met so far.
  using Met = std::set<std::pair<pid_t, uint64_t>>;  // pid and start time.
  bool KillMarked(Child& child, Met& met);
  // Kills the process groups all of whose members are marked in table_.
  void KillMarkedGroups();
  void KillOne(Child& child, const ProcessEntry& entry);
  // The same for what dead children left to this process.
  bool KillOrphans(Child& child);
  // The same for what is in the dead child's cgroup and nowhere else.
  bool KillEscaped(Child& child);
  void OnVictimDead(Child& child, pid_t pid);
  void CheckVictims(Child& child, absl::Duration now);
  static bool AwaitsVictims(const Child& child);
  void Proceed(Child& child);
  void OnProcessEnded(Child& child);
  ChildExit MakeExit(Child& child);
  void BuryWhenAlone(Child& child);
  void Bury(Child& child);

  Clock& clock_;
  MemoryCgroups* const cgroups_;  // Null: none.
  UniqueFd epoll_;
  Token timer_ = 0;
  absl::Duration armed_for_ = absl::InfiniteDuration();

  Token next_token_ = 1;
  ChildId next_child_ = 1;
  std::map<Token, Watched> watched_;
  std::map<ChildId, std::unique_ptr<Child>> children_;
  std::map<ChildId, BoundedLog> ended_logs_;  // Since the last Wait.
  std::vector<ChildEvent> events_;

  ProcessTable table_;
  // When table_ was last read for the sake of memory limits, and how long it
  // took.
  absl::Duration table_time_ = -absl::InfiniteDuration();
  absl::Duration table_cost_ = absl::ZeroDuration();
  // Children that this process had before.
  Met foreign_children_;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_SUPERVISOR_IMPL_H_
