// A worker that obeys proto/messages/worker.proto and does nothing: attempts
// take random times, fail at random, write numbers. Its machine can stop, die
// and come back; what it has in its spool survives that.
//
//   process  dead <-> running <-> paused      incarnation: of the process, or
//   stream   none <-> open                    minted anew when declared lost
#ifndef MILLRACE_TESTS_SIM_MODEL_WORKER_H_
#define MILLRACE_TESTS_SIM_MODEL_WORKER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/random.h"
#include "master/state/task_id.h"
#include "proto/messages/worker.pb.h"
#include "tests/sim/checked_worker.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/sim_job.h"

namespace millrace::sim {

class ModelWorker;

// What a worker needs of the rest of the world.
class WorkerWorld {
 public:
  virtual ~WorkerWorld() = default;
  virtual EventQueue& queue() = 0;
  virtual Random& random() = 0;
  virtual const SimJob* FindJob(const JobId& job) = 0;
  // Asks for a stream to the leader; OnOpened or OnClosed follows.
  virtual void Connect(ModelWorker& worker) = 0;
  virtual void SendToMaster(ModelWorker& worker,
                            proto::WorkerMessage message) = 0;
  virtual ModelWorker* FindIncarnation(const std::string& incarnation) = 0;
  virtual bool Reachable(const ModelWorker& from, const ModelWorker& to) = 0;
  // The shared store.
  virtual void MakeStaging(const JobId& job) = 0;
  virtual void RemoveStaging(const JobId& job) = 0;
  // The cause, FAILURE_CAUSE_UNSPECIFIED for success. `bad`: which winner.
  // `winners`: in partition order.
  virtual proto::FailureCause Check(const JobId& job,
                                    const std::vector<AttemptUid>& winners,
                                    std::optional<size_t>* bad) = 0;
  virtual proto::FailureCause Publish(
      const JobId& job, const std::vector<AttemptUid>& winners) = 0;
  // For the checker.
  virtual void OnGranted(ModelWorker& worker, const proto::Grant& grant) = 0;
  virtual void OnViolation(const std::string& what) = 0;
  virtual void OnConsumed(const AttemptUid& reduce,
                          const std::map<uint32_t, std::string>& roots) = 0;
  virtual void Note(const std::string& what) = 0;
};

class ModelWorker final : public CheckedWorker {
 public:
  struct Attempt {
    proto::Grant grant;
    JobId job;
    master::TaskId task;
    AttemptUid uid;
    proto::AttemptPhase phase = proto::PREPARING;
    absl::Duration executing_since;
    absl::Duration execution_time;
    std::vector<AttemptUid> winners;  // Of a check or publication.
    // Reduces: map -> root of what was read.
    std::map<uint32_t, std::string> read;
    std::map<uint32_t, int> fetch_tries;
  };
  struct Held {
    JobId job;
    uint32_t map = 0;
    std::string root;
  };

  ModelWorker(std::string name, uint32_t slots, WorkerWorld& world);

  // ----------------------------------------------------------------- faults
  void Start();  // A new process: new incarnation, the spool as it was left.
  void Die();
  void Pause();
  void Resume();
  void LoseSpoolFile();  // Some held output is gone.
  // Tasks that start from now on take so many times as long.
  void SetSlowness(double factor) { slowness_ = factor; }
  // Tasks find the disk full.
  void SetSick(bool sick) { sick_ = sick; }
  bool dead() const override { return !running_; }
  bool paused() const override { return paused_; }
  absl::Duration there_since() const override { return there_since_; }

  // ------------------------------------------------------------ the stream
  void OnOpened();
  void OnClosed();
  void OnMessage(const proto::MasterMessage& message);
  bool connected() const { return connected_; }
  bool welcomed() const override { return welcomed_; }
  uint64_t term_seen() const override { return term_seen_; }

  // ------------------------------------------------------------- the truth
  const std::string& name() const override { return name_; }
  const WorkerIncarnation& incarnation() const override { return incarnation_; }
  uint32_t slots() const override { return slots_; }
  std::vector<CheckedAttempt> Live() const override;
  bool HasUnacked(const JobId& job, const master::TaskId& task) const override;
  uint32_t executing() const override { return executing_; }
  bool takes_work() const override { return true; }
  bool has_queue() const override { return !waiting_.empty(); }
  bool draining() const { return draining_; }
  bool Serves(const AttemptUid& uid) const {
    return running_ && !paused_ && spool_.count(uid) > 0;
  }
  std::set<JobId> Present() const override;

 private:
  // Runs `what` later, unless the process is another by then; held back while
  // the process is stopped.
  void Later(absl::Duration wait, std::function<void()> what);
  absl::Duration Between(double low_ms, double high_ms);
  bool Chance(double p);

  void SayHello();
  void Heartbeat();
  void SendUpdate(proto::Update update);
  void SendPhase(const Attempt& attempt);
  void FillProgress(const Attempt& attempt, proto::AttemptProgress* progress);
  void OnGrant(const proto::Grant& grant);
  void OnLocations(const proto::Locations& locations);
  void OnDropJob(const proto::DropJob& drop);
  void Fetch(const AttemptUid& uid);
  void Ready(const AttemptUid& uid);
  static bool TakesSlot(const Attempt& attempt);
  void StartNext();
  absl::Duration ExecutionTime(const Attempt& attempt);
  void Finish(const AttemptUid& uid);
  void FinishMap(const Attempt& attempt, proto::AttemptOutcome* outcome);
  void FinishReduce(const Attempt& attempt, proto::AttemptOutcome* outcome);
  void Fail(const AttemptUid& uid, proto::FailureCause cause, bool retryable);
  void Report(const AttemptUid& uid, proto::AttemptOutcome outcome);
  void ForgetAttempts(const std::function<bool(const Attempt&)>& which);
  void NewIncarnation();

  const std::string name_;
  const uint32_t slots_;
  WorkerWorld& world_;

  // Survives the process.
  std::map<AttemptUid, Held> spool_;
  std::set<JobId> jobs_;  // Have a directory: introduced, and not dropped.
  // Of these: the staging directory may be there because of this worker.
  std::set<JobId> made_staging_;
  double slowness_ = 1;
  bool sick_ = false;

  // Of the process.
  bool running_ = false;
  bool paused_ = false;
  absl::Duration there_since_;
  uint64_t life_ = 0;  // Counts processes and incarnations.
  std::deque<std::function<void()>> held_back_;
  WorkerIncarnation incarnation_;
  std::map<AttemptUid, Attempt> attempts_;
  std::map<AttemptUid, proto::AttemptOutcome> outcomes_;
  std::map<JobId, std::map<uint32_t, proto::MapLocation>> locations_;
  std::deque<AttemptUid> waiting_;
  uint32_t executing_ = 0;
  uint64_t term_seen_ = 0;
  bool draining_ = false;

  // Of the stream.
  bool connected_ = false;
  bool welcomed_ = false;
  std::set<JobId> introduced_;
  std::map<AttemptUid, std::vector<AttemptUid>> winners_;  // By their attempt.
};

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_MODEL_WORKER_H_
