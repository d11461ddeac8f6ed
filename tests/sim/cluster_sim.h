// A cluster in one thread, from one seed: the real replicated state and
// scheduler core, a log with delays, model workers, faults.
#ifndef MILLRACE_TESTS_SIM_CLUSTER_SIM_H_
#define MILLRACE_TESTS_SIM_CLUSTER_SIM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/scheduler/scheduler_core.h"
#include "tests/sim/checker.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/model_worker.h"
#include "tests/sim/sim_job.h"

namespace millrace::sim {

// What a seed has more of.
enum class Focus {
  kAny,
  kEpochs,  // Maps with other records each time, whose outputs get lost.
  kLosses,  // Workers that wake up just when they are declared lost.
};

struct SimOptions {
  uint64_t seed = 0;
  Focus focus = Focus::kAny;
  master::StateMutant state_mutant;
  master::SchedulerMutant scheduler_mutant;
  // Half of the seeds take snapshots: a master begins with the last one and the
  // entries behind it, and a standby may be sent another's.
  bool snapshots = true;
  // A mistake to be noticed: the first of those entries is left out.
  bool skip_behind_snapshot = false;
};

struct SimResult {
  std::string violation;            // "": none.
  std::vector<std::string> events;  // The last ones.
  uint64_t entries = 0;
  uint64_t steps = 0;
  // That the faults had an effect.
  uint64_t workers_lost = 0;
  uint64_t terms = 0;
  uint64_t maps_lost = 0;
  uint64_t reoffered = 0;
  uint64_t epochs = 0;
  uint64_t refused = 0;          // Entries.
  uint64_t speculative = 0;      // Attempts,
  uint64_t speculative_won = 0;  // and those of them that won.
  uint64_t snapshots = 0;
  uint64_t restored = 0;   // Starts from one.
  uint64_t installed = 0;  // In the place of a standby's state.
  std::map<proto::JobState, uint64_t> jobs;
};

class ClusterSim final : private WorkerWorld {
 public:
  explicit ClusterSim(const SimOptions& options);
  ~ClusterSim() override;

  SimResult Run();

 private:
  struct Stream {
    ModelWorker* worker = nullptr;
    bool master_open = true;
    bool worker_open = true;
    absl::Duration to_master;  // Arrival of the last message sent.
    absl::Duration to_worker;
  };
  struct ClientJob {
    SimJob job;
    RequestId request;
    std::optional<JobId> id;  // Acknowledged.
    bool refused = false;
    bool settled() const { return id.has_value() || refused; }
  };
  struct Proposal {
    uint64_t term = 0;
    proto::LogEntry entry;
  };

  // ------------------------------------------------------------- the master
  void StartMaster();
  void StopMaster();  // As by kill -9: streams break, proposals may be lost.
  void LoseTerm();    // Goes on as a standby, and leads again later.
  void Stall(absl::Duration how_long);  // The loop stands still.
  void Feed(const master::Event& event);
  void CommitNext();
  void ApplyEntry(const Proposal& proposal);
  // The checker has each entry once.
  void OnApplied(uint64_t index, const Proposal& proposal,
                 const master::ApplyResult& result, const master::State& state);
  void Carry(const master::Effect& effect);
  // The scheduler's indexes say what a look at all workers would.
  void CheckIndex();
  void ScheduleTick();

  // ---------------------------------------------------- sim_snapshots.cc
  void RecoverState();
  // The entries of the log behind `index`.
  void ApplyFrom(uint64_t index, master::State& state);
  std::unique_ptr<master::State> Restored(const std::string& bytes);
  std::string Written(const master::StateSnapshot& snapshot);
  void TakeSnapshotIfDue();
  // In place of `entries`, which stand in the log behind what is applied.
  void InstallSnapshot(const std::vector<Proposal>& entries);

  // ------------------------------------------------------------ the network
  void SendToWorker(master::SessionId session, proto::MasterMessage message);
  void CloseFromMaster(master::SessionId session);
  // Both ends learn of it, the master after `master_after`.
  void BreakStream(master::SessionId session, absl::Duration master_after);
  std::optional<master::SessionId> StreamOf(const ModelWorker& worker) const;

  // ------------------------------------------------------------ the clients
  void MakeJobs();
  void Submit(size_t job);
  void Kill(size_t job);

  // -------------------------------------------------------------- the faults
  void Heal();
  void Fault();
  void KillWorker(ModelWorker& worker, absl::Duration down);
  void EverySecond();
  bool Finished() const;
  // Jobs fail for what is in them, or too many losses.
  void CheckCauses();

  bool Chance(double p);
  absl::Duration Between(double low_ms, double high_ms);
  ModelWorker& AnyWorker();

  // ------------------------------------------------------------- WorkerWorld
  EventQueue& queue() override { return queue_; }
  Random& random() override { return *random_; }
  const SimJob* FindJob(const JobId& job) override;
  void Connect(ModelWorker& worker) override;
  void SendToMaster(ModelWorker& worker, proto::WorkerMessage message) override;
  ModelWorker* FindIncarnation(const std::string& incarnation) override;
  bool Reachable(const ModelWorker& from, const ModelWorker& to) override;
  void MakeStaging(const JobId& job) override { staging_.insert(job); }
  void RemoveStaging(const JobId& job) override { staging_.erase(job); }
  proto::FailureCause Check(const JobId& job,
                            const std::vector<AttemptUid>& winners,
                            std::optional<size_t>* bad) override;
  proto::FailureCause Publish(const JobId& job,
                              const std::vector<AttemptUid>& winners) override;
  void OnGranted(ModelWorker& worker, const proto::Grant& grant) override;
  void OnViolation(const std::string& what) override { checker_.Violate(what); }
  void OnConsumed(const AttemptUid& reduce,
                  const std::map<uint32_t, std::string>& roots) override {
    checker_.OnConsumed(reduce, roots);
  }
  void Note(const std::string& what) override;

  const SimOptions options_;
  std::unique_ptr<Random> random_;
  EventQueue queue_;
  std::vector<std::unique_ptr<ModelWorker>> workers_;
  std::vector<CheckedWorker*> checked_workers_;  // The same.
  Checker checker_;
  SimResult result_;
  std::deque<std::string> events_;

  std::vector<ClientJob> jobs_;
  std::map<std::string, const SimJob*> jobs_by_name_;
  std::map<master::ReplyTag, size_t> submits_;
  master::ReplyTag next_tag_ = 1;

  // The log, and what is on its way into it.
  std::vector<Proposal> log_;
  std::deque<Proposal> proposals_;
  bool commit_scheduled_ = false;
  uint64_t term_ = 0;
  size_t checked_ = 0;  // Entries that the checker has seen.
  // Of the state when the master died: replay must come to the same.
  uint64_t hash_index_ = 0;
  uint64_t hash_ = 0;

  struct Snapshot {
    uint64_t index = 0;
    std::string bytes;
  };
  uint64_t snapshot_every_ = 0;       // So many entries; 0: never.
  std::optional<Snapshot> snapshot_;  // The last complete one.
  uint64_t last_snapshot_ = 0;        // Where one was begun last.
  bool writing_snapshot_ = false;

  std::unique_ptr<master::State> state_;
  std::unique_ptr<master::SchedulerCore> core_;
  uint64_t life_ = 0;  // Of the master process.
  bool leading_ = false;
  absl::Duration leader_since_;
  absl::Duration stalled_until_;
  std::deque<std::function<void()>> inbox_;  // While the loop stands still.
  absl::Duration tick_at_ = absl::InfiniteDuration();

  std::map<master::SessionId, Stream> streams_;
  master::SessionId next_session_ = 1;
  std::set<std::pair<std::string, std::string>> cut_;  // Pairs of workers.

  bool faults_ = true;
  bool store_ails_ = false;
  double severity_ = 1;
  double log_ms_ = 8;  // An entry takes at most so long.
  std::set<JobId> staging_;
  std::map<std::string, JobId> outputs_;
  std::map<JobId, const SimJob*> sim_jobs_;
};

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_CLUSTER_SIM_H_
