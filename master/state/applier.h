// One log entry being applied: the second half of State::Apply. Lives as long
// as that call.
//
// Each entry first checks all that can be refused, then changes the state; so a
// refused one has changed nothing. What ends a job gives up its tasks, so no
// reference to a task is used after a call that may end its job. Nor is one
// that did not come from MutableTask() used after a task was changed: a
// snapshot may have kept the old ones (task_table.h).
#ifndef MILLRACE_MASTER_STATE_APPLIER_H_
#define MILLRACE_MASTER_STATE_APPLIER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "master/state/state.h"

namespace millrace::master {

class Applier {
 public:
  Applier(State& state, const proto::LogEntry& entry)
      : state_(state), mutant_(state.mutant_), at_ms_(entry.proposed_at_ms()) {}

  ApplyResult Run(const proto::LogEntry& entry);

 private:
  // apply_jobs.cc
  void Apply(const proto::TermStarted& entry);
  void Apply(const proto::JobSubmitted& entry);
  void Apply(const proto::Planned& entry);
  void Apply(const proto::Decided& entry);
  void Apply(const proto::Committed& entry);
  void Apply(const proto::Cancelled& entry);
  void Apply(const proto::Failed& entry);
  void Apply(const proto::Cleaned& entry);
  void Apply(const proto::Evicted& entry);
  // apply_tasks.cc
  void Apply(const proto::MapWon& entry);
  void Apply(const proto::MapReoffered& entry);
  void Apply(const proto::ReduceWon& entry);
  void Apply(const proto::AttemptFailed& entry);
  void Apply(const proto::RecordPassedOver& entry);
  void Apply(const proto::MapLost& entry);
  void Apply(const proto::OutputLost& entry);
  // apply_workers.cc
  void Apply(const proto::WorkerJoined& entry);
  void Apply(const proto::WorkerLost& entry);
  void Apply(const proto::WorkerDrained& entry);

  void Refuse(Refusal refusal, std::string message = "");
  bool refused() const { return result_.refusal != Refusal::kNone; }

  // Null, and refused, unless the job is there; ... and open.
  Job* FindJob(std::string_view id);
  Job* FindOpenJob(std::string_view id);
  // The attempt of a task that may still win, or refused.
  struct Candidate {
    Job* job = nullptr;
    TaskId id;
    const Task* task = nullptr;  // Null for the plan.
    AttemptUid uid;
    WorkerNumber worker = 0;
    uint32_t number = 0;
  };
  Candidate FindCandidate(const proto::AttemptRef& attempt,
                          std::string_view worker, proto::TaskKind kind);
  static Stage& StageOf(Job* job, const TaskId& id);
  // REQUIRES: it is there. See TaskTable::Mutable().
  static Task& MutableTask(Job* job, const TaskId& id) {
    return StageOf(job, id).tasks.Mutable(id.index);
  }
  const Worker* FindWorker(std::string_view incarnation);

  void SeeAttempt(Job* job, const TaskId& id, uint32_t number);
  void Win(const Candidate& candidate, const proto::TaskDone& done);
  // Counts a winner and the attempts that ran beside it.
  using BeatenAttempts = google::protobuf::RepeatedPtrField<proto::AttemptRef>;
  void SeeAttempts(const Candidate& winner, const proto::AttemptRef& ref,
                   const BeatenAttempts& beaten, uint64_t took_ms);
  // The sums of the job gain or lose what the task's winner reported; the
  // second one looks it up.
  static void CountReport(Job* job, const TaskId& id,
                          const proto::TaskDone& done,
                          const NumberedCounters& counters, bool gained);
  static void CountWinner(Job* job, const TaskId& id, bool gained);
  // Ends the job if its part files are longer together than they may be.
  void CheckOutputLimit(const Candidate& candidate);
  // The winner is no winner any more; nothing else.
  void DropWinner(Job* job, const TaskId& id);
  // ... because its output is gone: counts as a loss, which may end the job.
  void LoseWinner(Job* job, const TaskId& id, std::string_view why);
  // Reduces need their maps again: those of lost workers are lost.
  void LoseMapsOfLostWorkers(Job* job);
  void RaiseEpoch(Job* job, uint32_t map, const AttemptUid& before,
                  const AttemptUid& after);
  // One more failure of the task that was nobody's fault; may end the job.
  void CountInfrastructure(Job* job, const TaskId& id, std::string_view why);
  void EndJob(Job* job, proto::JobState state);
  void FailJob(Job* job, proto::JobFailure failure);

  State& state_;
  const StateMutant& mutant_;
  const int64_t at_ms_;
  ApplyResult result_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_APPLIER_H_
