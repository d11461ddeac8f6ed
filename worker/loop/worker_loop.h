// The thread that owns AgentCore and the supervisor. Everything else (link,
// fetcher, file work) posts events to it and returns.
//
//   link, fetcher ── Post() ──┐            ┌── link, fetcher: calls that queue
//   file work ────── Post() ──┼─► mailbox ─┤
//   supervisor ── wake_fd ────┘    loop    └── file work: handed to threads
//                                  Step()
#ifndef MILLRACE_WORKER_LOOP_WORKER_LOOP_H_
#define MILLRACE_WORKER_LOOP_WORKER_LOOP_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/random.h"
#include "supervisor/supervisor.h"
#include "supervisor/unique_fd.h"
#include "worker/agent/agent_core.h"
#include "worker/loop/job_threads.h"
#include "worker/master_link.h"
#include "worker/shuffle/fetcher.h"
#include "worker/spool/attempt_log.h"
#include "worker/spool/blob_cache.h"
#include "worker/spool/live_attempts.h"
#include "worker/spool/worker_directory.h"

namespace millrace::worker {

struct WorkerLoopOptions {
  // Of an attempt's log; see AttemptLog.
  size_t log_head_bytes = 4 << 20;
  size_t log_tail_bytes = 256 << 10;
  // Of the logs of jobs that are over, and apart from them, of jobs that run.
  size_t old_log_jobs_max = 200;
  uint64_t log_bytes_max = uint64_t{512} << 20;
  // A job process that is not ready by then is given up.
  absl::Duration start_timeout = absl::Seconds(60);
  // Called when the files of a job have been deleted, or as many as could be;
  // on any thread, not after Stop has returned. May be empty.
  std::function<void(const JobId&)> on_job_deleted;
  absl::Duration busy_tick = absl::Milliseconds(250);
  absl::Duration idle_tick = absl::Seconds(1);
};

// What the loop works with. All outlive it.
struct WorkerParts {
  FileSystem& fs;
  Clock& clock;
  MasterLink& link;
  Fetcher& fetcher;
  BlobCache& blobs;
  LiveAttempts& live;
  WorkerDirectory& directory;
  supervisor::MemoryCgroups* cgroups = nullptr;  // Null: none.
};

// Start and Stop are called by one thread; Post by any.
class WorkerLoop final : public MasterLink::Observer, public Fetcher::Observer {
 public:
  // `on_give_up` is called on the loop's thread, at most once, with the reason
  // why the worker cannot go on.
  WorkerLoop(const WorkerLoopOptions& options, const WorkerParts& parts,
             std::unique_ptr<AgentCore> core,
             std::function<void(const std::string&)> on_give_up);
  // Stops, if Stop was not called.
  ~WorkerLoop() override;

  // Starts the thread, then link and fetcher. An error: no job process could be
  // run; nothing was started.
  absl::Status Start();
  // Ends the thread; kills every job process before it returns. Link and
  // fetcher may still call; they are not heard.
  void Stop();

  void Post(Event event) ABSL_LOCKS_EXCLUDED(mu_);

  void OnOpened(StreamId stream) override { Post(StreamOpened{stream}); }
  void OnMessage(StreamId stream, proto::MasterMessage message) override {
    Post(MasterSays{stream, std::move(message)});
  }
  void OnClosed(StreamId stream, const absl::Status& status) override;
  void OnFetchProgress(const FetchProgress& progress) override {
    Post(FetchProgressed{progress});
  }
  void OnInputReady(InputReady input) override {
    Post(InputArrived{std::move(input)});
  }
  void OnFetchFailed(const FetchFailed& failed) override {
    Post(FetchBroken{failed});
  }
  void OnFetchAborted(const AttemptUid& attempt,
                      const absl::Status& status) override {
    Post(FetchAborted{attempt, status});
  }

 private:
  // A job process, as the supervisor and the core know it.
  struct Process {
    ChildNumber number = 0;
    JobId job;
    supervisor::ChildId id = 0;
    bool busy = false;
    AttemptUid attempt;  // Whose log is open.
    // Where its log goes. Shared with the supervisor's sink, which may outlive
    // this entry by a moment.
    std::shared_ptr<std::unique_ptr<AttemptLog>> log;
    absl::Status run_error;  // It had ended when it got its task.
  };

  void Loop();
  std::vector<Event> TakeMail() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Duration UntilTick() const;
  void Step(const Event& event);
  void RunTick();

  // supervisor -> core
  void PumpSupervisor();
  void OnChildEvent(supervisor::ChildEvent& event);
  // Why and where the task was when its process ended, at the end of its log.
  static void NoteEnd(Process& process, ChildExited& exited);
  // Trims the logs of running jobs once much has been written.
  void TrimLogsIfDue();
  ChildExited MakeExited(const Process& process,
                         const supervisor::ChildExit& exit);
  void OpenLog(Process& process, const JobId& job, const AttemptUid& attempt);
  void CloseLog(Process& process);

  // core -> world
  void Do(const Send& effect);
  void Do(const CloseStream& effect);
  void Do(const FetchBlob& effect);
  void Do(const TrimBlobs& effect);
  void Do(const StartChild& effect);
  void Do(const RunTask& effect);
  void Do(const KillChild& effect);
  void Do(const StopChild& effect);
  void Do(const PrepareAttempt& effect);
  void Do(const PutPlan& effect);
  void Do(const RunCheck& effect);
  void Do(const RunPublish& effect);
  void Do(const DeleteAttempt& effect);
  void Do(const DeleteJob& effect);
  void Do(const StartFetch& effect);
  void Do(const CancelFetch& effect);
  void Do(const UpdateLocations& effect);
  void Do(const ForgetFetches& effect);
  void Do(const ForgetLocations& effect);
  void Do(const BecomeIncarnation& effect);
  void Do(const JoinCluster& effect);
  void Do(const MeasureDisk& effect);
  void Do(const Note& effect);
  void Do(const GiveUp& effect);

  const WorkerLoopOptions options_;
  const WorkerParts parts_;
  const WorkerLayout layout_;
  const std::function<void(const std::string&)> on_give_up_;
  supervisor::UniqueFd wake_;  // Counts posts; readable when there is mail.
  std::thread thread_;

  // Confined to the thread once it runs.
  std::unique_ptr<AgentCore> core_;
  std::unique_ptr<supervisor::Supervisor> supervisor_;
  std::map<ChildNumber, Process> processes_;
  std::map<supervisor::ChildId, ChildNumber> numbers_;
  std::vector<Event> own_;  // Of effects that failed at once.
  absl::Duration last_tick_ = -absl::InfiniteDuration();
  // When memory is to be given back; infinite: there is no reason to.
  absl::Duration trim_at_ = absl::InfiniteDuration();
  bool gave_up_ = false;
  // To logs, since they were trimmed last. Shared with the supervisor's sinks.
  std::shared_ptr<uint64_t> log_bytes_ = std::make_shared<uint64_t>(0);

  absl::Mutex mu_;
  std::vector<Event> mail_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  // Last: their work posts to this object.
  JobThreads local_work_;  // The worker's own disk.
  JobThreads store_work_;  // The jobs' outputs; may hang.
  JobThreads blob_work_;   // Transfers from and to the masters.
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_LOOP_WORKER_LOOP_H_
