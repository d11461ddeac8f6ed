// A worker: production AgentCore, FetchCore, spool, blob cache, commit tasks
// and task code, driven one event after the other. Does what worker/loop and
// worker/shuffle/shuffle_fetcher.cc do with threads; its job processes are
// actors that run the production task code when their time has come.
#ifndef MILLRACE_TESTS_SIM_WHOLE_WORKER_H_
#define MILLRACE_TESTS_SIM_WHOLE_WORKER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/sim/checked_worker.h"
#include "tests/sim/whole/faults.h"
#include "tests/sim/whole/master_blobs.h"
#include "tests/sim/whole/world.h"
#include "tests/testing/faulty_file_system.h"
#include "worker/agent/agent_core.h"
#include "worker/shuffle/open_outputs.h"
#include "worker/shuffle/served_transfer.h"
#include "worker/spool/blob_cache.h"
#include "worker/spool/live_attempts.h"

namespace millrace::wholesim {

class Shuffle;

class Worker final : public sim::CheckedWorker {
 public:
  Worker(World& world, std::string name, std::string host, uint32_t slots);
  ~Worker() override;

  // ----------------------------------------------------------------- faults
  // A new process. `keep_spool`: as after a restart of the host, or not.
  void Start(bool keep_spool);
  void Die();
  void Pause(bool with_processes);
  void Resume();
  void SetSlow(bool slow) { slow_ = slow; }
  // The spool's disk has no room.
  void SetDiskFull(bool full) { disk_full_ = full; }
  void SetStoreAway(bool away) { store_away_ = away; }
  void JumpClock(absl::Duration by) { clock_.offset += by; }
  void SetClockRate(double rate);
  // A map output in its spool; "": there is none.
  std::string AnyOutput() const;
  // A job that it is at this step of.
  std::optional<JobId> JobAt(StepSet step) const;
  // What it does now; of one job alone, if given.
  StepSet Steps(const JobId* job = nullptr) const;
  // Of the reduces that wait for their input.
  StepSet FetchSteps() const;

  // ------------------------------------------------------------ the stream
  void OnOpened(worker::StreamId stream);
  void OnClosed(worker::StreamId stream);
  void OnMessage(worker::StreamId stream, proto::MasterMessage message);

  // --------------------------------------------------- its own other parts
  // Later, unless the process is another by then; held back while it stands
  // still.
  void Later(absl::Duration wait, std::function<void()> what);
  // Into the mailbox of its loop.
  void Post(worker::Event event);
  // What takes `wait` on a good day.
  absl::Duration Slowed(absl::Duration wait) const;
  absl::Duration Now() const;
  absl::Duration UntilLocal(absl::Duration local) const;
  FileSystem& disk() { return disk_; }
  worker::OpenOutputs& outputs();
  // The transfer's next message, from this worker's disk.
  bool NextServed(worker::ServedTransfer& served,
                  worker::ServedMessage* message);
  const std::string& address() const { return address_; }
  const std::string& host() const { return host_; }
  const worker::WorkerLayout& layout() const { return layout_; }
  uint64_t life() const { return life_number_; }
  bool disk_full() const { return disk_full_; }

  // ------------------------------------------------------------- the truth
  const std::string& name() const override { return name_; }
  const WorkerIncarnation& incarnation() const override { return incarnation_; }
  bool dead() const override { return life_ == nullptr; }
  bool paused() const override { return paused_; }
  absl::Duration there_since() const override { return there_since_; }
  bool welcomed() const override { return welcomed_; }
  uint64_t term_seen() const override { return term_seen_; }
  uint32_t slots() const override { return slots_; }
  uint32_t executing() const override {
    return static_cast<uint32_t>(processes_.size());
  }
  bool takes_work() const override { return !disk_full_ && !disk_low_told_; }
  bool has_queue() const override;
  std::vector<sim::CheckedAttempt> Live() const override;
  bool HasUnacked(const JobId& job, const master::TaskId& task) const override;
  std::set<JobId> Present() const override;

 private:
  enum class Phase { kPreparing, kRunning, kStoring, kTold };
  struct Seen {
    JobId job;
    master::TaskId task;
    Phase phase = Phase::kPreparing;
    bool speculative = false;
  };
  // A job process.
  struct Process {
    worker::StartChild start;
    ClientJob* job = nullptr;
    bool ready = false;
    bool leaving = false;
    std::optional<proto::RunTask> task;
    uint64_t tasks = 0;  // Begun so far.
    uint64_t records = 0;
  };
  // All that ends with the process. Shared with calls that are under way.
  struct Life;
  // Which work is under way: for faults of the operations that it makes.
  struct Work {
    uint64_t life = 0;
    StepSet steps;
    std::optional<uint64_t> operations_left;
    worker::ChildNumber process = 0;  // 0: of the worker itself.
  };

  // Runs what may block, and posts what comes of it, if there is anybody still.
  void Do(StepSet steps, absl::Duration wait,
          std::function<worker::Event(Life& life)> what);
  absl::Status BeforeOperation(FileOp operation, const std::string& path);
  // Whether the read that comes next is to fail, which it then does.
  bool ReadFails(const StepSet& steps);
  bool IsThere(worker::ChildNumber process) const {
    return process == 0 || processes_.contains(process);
  }
  StepSet StepOf(const AttemptUid& uid) const;
  void SetPhase(const AttemptUid& uid, Phase phase);
  static StepSet StepOf(const Seen& seen);
  static StepSet StepOfTask(const Seen& seen);

  void Connect(absl::Duration wait);
  void ReadMail();
  void Step(const worker::Event& event);
  void Tick();
  // What an event or message means for what is seen from outside.
  void Watch(const worker::Event& event);
  void WatchCommand(const proto::MasterMessage& message);
  void WatchOutcome(const proto::AttemptOutcome& outcome);
  void CheckOffers();

  void Do(const worker::Send& effect);
  void Do(const worker::CloseStream& effect);
  void Do(const worker::FetchBlob& effect);
  void Do(const worker::TrimBlobs& effect);
  void Do(const worker::StartChild& effect);
  void Do(const worker::RunTask& effect);
  void Do(const worker::KillChild& effect);
  void Do(const worker::StopChild& effect);
  void Do(const worker::PrepareAttempt& effect);
  void Do(const worker::PutPlan& effect);
  void Do(const worker::RunCheck& effect);
  void Do(const worker::RunPublish& effect);
  void Do(const worker::DeleteAttempt& effect);
  void Do(const worker::DeleteJob& effect);
  void Do(const worker::StartFetch& effect);
  void Do(const worker::CancelFetch& effect);
  void Do(const worker::UpdateLocations& effect);
  void Do(const worker::ForgetFetches& effect);
  void Do(const worker::ForgetLocations& effect);
  void Do(const worker::BecomeIncarnation& effect);
  void Do(const worker::JoinCluster&) {}
  void Do(const worker::MeasureDisk& effect);
  void Do(const worker::Note& effect);
  void Do(const worker::GiveUp& effect);

  // processes.cc
  void ProcessLater(worker::ChildNumber number, absl::Duration wait,
                    std::function<void(Process& process)> what);
  StepSet RunningStep(const proto::RunTask& task) const;
  // The task's code on the disk as it is; ends early after so many operations.
  void Execute(worker::ChildNumber number, std::optional<uint64_t> operations);
  void Report(worker::ChildNumber number, const proto::RunTask& task,
              const proto::TaskDone& done);
  void EndProcess(worker::ChildNumber number, proto::FailureCause cause,
                  const std::string& message);
  void KeepOutput(const JobId& job, const proto::RunTask& task,
                  const std::string& root);

  World& world_;
  const std::string name_;
  const std::string host_;
  const uint32_t slots_;
  const worker::WorkerLayout layout_;
  FaultyFileSystem disk_;

  // Survives the process.
  NodeClock clock_;
  ClusterId cluster_;
  std::map<JobId, std::map<uint32_t, std::string>> roots_given_;  // Of maps.
  bool slow_ = false;
  bool disk_full_ = false;
  bool store_away_ = false;

  std::shared_ptr<Life> life_;
  uint64_t life_number_ = 0;
  std::string address_;
  WorkerIncarnation incarnation_;
  bool paused_ = false;
  absl::Duration there_since_;
  bool processes_paused_ = false;
  std::deque<std::function<void()>> held_back_;
  std::deque<std::function<void()>> processes_held_back_;
  std::deque<worker::Event> mail_;
  bool mail_scheduled_ = false;
  std::vector<worker::Event> own_;
  std::map<worker::ChildNumber, Process> processes_;
  std::optional<Work> work_;
  bool serves_ = false;  // What is read goes to another worker.

  worker::StreamId stream_ = 0;
  bool connecting_ = false;
  worker::StreamId opening_ = 0;  // 0: none.
  bool disk_low_told_ = false;
  bool welcomed_ = false;
  uint64_t term_seen_ = 0;
  std::map<AttemptUid, Seen> seen_;
  std::map<AttemptUid, JobId> held_;
  std::set<JobId> dropping_;
  std::map<AttemptUid, std::string> offered_;  // Found at the start: root.
};

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_WORKER_H_
