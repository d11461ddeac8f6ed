// All decisions of a leader: which task runs on which worker and when, which
// worker is lost, what becomes an entry of the log, when a job's output may
// appear, who deletes what. No clock, threads, sockets or files.
//
//   events ──► Step() ──► effects         entries: proposed here, decided in
//                │                        State when they are applied
//                ▼ reads
//              State (replicated)         beside it: soft state of this term
//
// What is not in the log is soft: streams, slots, running attempts, progress. A
// new leader builds it from the Hello of each worker, so running attempts go
// on.
//
// The rules that safety rests on (docs/protocol.md,
// proto/messages/worker.proto):
//   * nothing is done before the TermStarted of the own term is applied;
//   * no command goes to a worker before its Hello;
//   * no task of a job that an earlier term knew is granted before every worker
//     that is alive in the log has said Hello in this term or is lost;
//   * a task has one live attempt: the next one is granted when the outcome of
//     the last stands in the log, or its worker is lost, or the worker's own
//     Hello does not know it;
//   * outcomes are acknowledged when they stand in the log, or nobody will ever
//     need them;
//   * whether an outcome counts is decided when its entry is applied.
//
// Time decides only when work is started elsewhere: `now` is monotonic and of
// this machine alone, `wall_ms` is written into entries for people.
//
// Confined to the master loop.
#ifndef MILLRACE_MASTER_SCHEDULER_SCHEDULER_CORE_H_
#define MILLRACE_MASTER_SCHEDULER_SCHEDULER_CORE_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/random.h"
#include "master/scheduler/events.h"
#include "master/scheduler/options.h"
#include "master/state/state.h"
#include "proto/messages/client.pb.h"

namespace millrace::master {

struct SoftState;

class SchedulerCore {
 public:
  // `state` is applied to by the same loop, before EntryApplied, or becomes
  // another one, before StateRestored. `random` gives ids. Both outlive the
  // core.
  SchedulerCore(const SchedulerOptions& options, const State& state,
                Random& random);
  ~SchedulerCore();
  SchedulerCore(const SchedulerCore&) = delete;
  SchedulerCore& operator=(const SchedulerCore&) = delete;

  // `now` never goes back. What a worker reports goes from the event into the
  // entry that proposes it, uncopied if the caller moves the event here.
  std::vector<Effect> Step(Event event, absl::Duration now, int64_t wall_ms);

  // When a Tick is due at the latest; InfiniteDuration(): not before something
  // else happens. Changes with every Step.
  absl::Duration NextDeadline() const;

  // The own TermStarted is applied: this master answers for the cluster.
  bool leading() const;
  uint64_t term() const;  // 0: never led.

  // ---------------------------------------------------------------- queries
  //
  // State and soft state as people see them. On a standby: what the log says,
  // without running attempts. Each costs time in what it prints, not in what
  // the cluster has: a thousand jobs take less than ten milliseconds.

  void FillJobStatus(const Job& job, proto::JobStatus* status) const;

  // Lists come in pages of some rpc::kPartBytes; each says where the next one
  // begins (proto/messages/client.proto).

  // Newest first, from the one before `before` on (0: from the newest), at most
  // `limit` (0: all retained).
  void FillJobs(uint32_t limit, uint64_t before,
                proto::ListJobsReply* reply) const;
  // Counters of the winners, sorted by group and name.
  void FillCounters(const Job& job, proto::GetJobReply* reply) const;
  // Workers that the job avoids because its tasks fail there alone.
  void FillAvoided(const Job& job, proto::GetJobReply* reply) const;
  // Maps, then reduces, behind `after` (null: from the first). Of a job that
  // has ended only tasks that failed.
  void FillTasks(const Job& job, const TaskId* after,
                 proto::GetJobReply* reply) const;
  void FillWorkers(uint32_t from, proto::ListWorkersReply* reply) const;
  // kNotFound: no worker of that name is or was in the cluster.
  absl::Status FillWorker(std::string_view name,
                          proto::WorkerStatus* status) const;
  // `task` null: all tasks. Running and winning attempts on workers that are
  // there, and what the log keeps of failed ones.
  void FillLogs(const Job& job, const TaskId* task,
                const proto::LogCursor& cursor,
                proto::LocateLogsReply* reply) const;
  // For master/why, which explains what it reads there.
  const SoftState& soft_state() const { return *soft_; }

 private:
  std::unique_ptr<SoftState> soft_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_SCHEDULER_CORE_H_
