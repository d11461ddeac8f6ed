// What a leader knows beside the log: streams, workers, attempts, what is
// runnable. Forgotten when leadership is lost, built anew from every Hello.
//
//                      +-- Hello of its worker does not know it --> (runnable)
//   runnable --grant--> live --outcome--> reported --applied--> winner, or
//                        |                                      (runnable)
//                        +-- worker lost, applied -----------> (runnable)
//
// The data stand here with the operations that keep them consistent; the
// decisions stand in membership, outcomes, placement, locations, cleanup and
// clients, which are functions over this.
//
// Internal to master/scheduler; master/why reads it, to explain it. Confined to
// the master loop.
#ifndef MILLRACE_MASTER_SCHEDULER_SOFT_STATE_H_
#define MILLRACE_MASTER_SCHEDULER_SOFT_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/random.h"
#include "master/scheduler/events.h"
#include "master/scheduler/exclusion.h"
#include "master/scheduler/options.h"
#include "master/scheduler/stage_times.h"
#include "master/scheduler/worker_index.h"
#include "master/scheduler/worker_map.h"
#include "master/state/state.h"

namespace millrace::master {

// An attempt that its worker has, or whose outcome is on its way into the log.
struct Attempt {
  AttemptUid uid;
  JobId job;
  TaskId task;
  WorkerNumber worker = 0;
  uint32_t epoch = 0;
  uint32_t number = 0;
  // Was granted beside another one that may still win.
  bool speculative = false;
  uint64_t order = 0;     // Of grants: a worker starts them in this order.
  bool in_live = false;   // It is why its task is not runnable.
  bool reported = false;  // Its outcome is proposed.
  bool blames = false;    // That is a failure of its machine.
  bool killed = false;    // Told to stop; the worker has not answered yet.
  // What it reads: is not all there, is all there; its job has ended.
  enum class Inputs { kComing, kThere, kGone };
  Inputs inputs = Inputs::kComing;
  uint64_t job_index = 0;  // Job::index, unless kGone.
  proto::AttemptPhase phase = proto::PREPARING;
  absl::Duration granted_at;
  // When it got a slot, as far as can be told from here.
  std::optional<absl::Duration> started_at;
  proto::AttemptProgress progress;
  absl::Duration progressed_at;  // When that changed last, as told here.
  std::string winners_hash;  // CHECK_TASK: of the winners that it was given.

  // Occupies a slot of its worker, or stands in the queue for one.
  bool takes_slot() const {
    if (reported) return false;
    switch (task.kind) {
      case proto::REDUCE_TASK:
        return phase == proto::WAITING || phase == proto::EXECUTING;
      case proto::PLAN_TASK:
      case proto::MAP_TASK:
        return true;
      default:
        return false;  // The worker itself checks and publishes.
    }
  }

  // Stands in the queue as a reduce that has all it needs.
  bool waits() const {
    return takes_slot() && phase == proto::WAITING &&
           task.kind == proto::REDUCE_TASK;
  }
};

struct Session {
  // The worker that said Hello on it.
  std::optional<WorkerNumber> worker;
  // Its Hello waits for WorkerJoined or WorkerLost to be applied.
  std::optional<proto::Hello> parked;
  // The parts of a Hello that have come so far.
  std::optional<proto::Hello> gathered;
  size_t gathered_bytes = 0;
  // What came before this master may act.
  std::vector<proto::WorkerMessage> backlog;
};

// A set of workers in which most of them may be: a bit for each.
class WorkerBits {
 public:
  // Whether it was not in it.
  bool Insert(WorkerNumber number) {
    if (number >= bits_.size()) bits_.resize(number + 1);
    if (bits_[number]) return false;
    bits_[number] = true;
    return true;
  }
  void Clear() { bits_.clear(); }

 private:
  std::vector<bool> bits_;
};

// A worker that is alive in the log.
struct SoftWorker {
  std::shared_ptr<const Worker> entry;  // Shared with State.
  std::optional<SessionId> session;
  bool heard = false;         // Has said Hello in this term, or joined in it.
  bool losing = false;        // Its WorkerLost is proposed.
  absl::Duration last_heard;  // Anything, also a part of its Hello.
  absl::Duration last_said;
  absl::Duration closed_at;  // Of the last stream, if there is none.

  std::string spool_dir;
  int64_t pid = 0;
  std::string memory_guard;
  uint64_t free_disk_bytes = 0;
  bool disk_low = false;
  std::string disk_why;
  uint64_t spool_bytes = 0;
  uint64_t spool_bytes_max = 0;
  bool draining = false;
  // Of SoftState::exclusions: gets nothing; gets one attempt at a time.
  bool excluded = false;
  bool on_probation = false;
  // Failures of its machine that are proposed and not applied yet. It is given
  // nothing until then: what fails at once would fail faster than the log can
  // say so.
  uint32_t accused = 0;

  std::map<uint64_t, Attempt*> attempts;  // By order of grant; all it has.
  uint32_t taken = 0;     // Of them: slots and places in the queue.
  uint32_t waiting = 0;   // Reduces among those that wait for a slot.
  uint32_t stopping = 0;  // Have such a place and are told to stop.
  // Reduces that are not reported: of jobs whose maps have not all won; others,
  // and those of them that will want a slot; of these, of jobs that go on.
  uint32_t early_reduces = 0;
  uint32_t ready_reduces = 0;
  uint32_t preparing_reduces = 0;
  uint32_t due_reduces = 0;
  // How many of which live job, by Job::index; where the index has it for them.
  struct Reduces {
    uint32_t count = 0;
    std::optional<JobReduceKey> key;
  };
  std::map<uint64_t, Reduces> reduces;
  // Under which SoftState::index has it; the latter, and Reduces::key, are
  // those of before if it is unsettled.
  WorkerKeys keys;
  LaterKeys later_keys;
  bool unsettled = false;
  // When CheckWorkers() looks at it the next time.
  std::optional<absl::Duration> check_at;

  // Jobs of which it may keep something; SoftState::holders has the same.
  std::set<JobId> present;

  // What was sent on the present stream.
  std::set<JobId> introduced;
  // It has reduces of these jobs, and was told where their maps below these
  // are.
  std::map<JobId, uint32_t> located;
  WorkerBits named;  // Addresses it knows.

  uint32_t slots() const { return entry->slots; }
  // May be granted tasks, but for what has failed there.
  bool sound() const {
    return session.has_value() && heard && !losing && !draining && !disk_low;
  }
  // May be granted tasks.
  bool eligible() const {
    return sound() && !excluded && accused == 0 &&
           !(on_probation && !attempts.empty());
  }
};

// A job that has not ended.
struct SoftJob {
  const Job* job = nullptr;
  bool fresh = false;  // Submitted in this term: nobody can be running it.
  // Of a plan that is proposed, and of one that found no room; 0: none.
  uint64_t tasks_proposed = 0;
  uint64_t tasks_wanted = 0;

  // Attempts that keep their task from being granted: one for each task, or two
  // of which one at least is speculative. Those of one task in the order in
  // which this leader came to know them.
  absl::btree_multimap<TaskId, Attempt*> live;
  uint32_t live_maps = 0;  // Tasks, not attempts; and so is this.
  uint32_t live_reduces = 0;
  uint32_t live_tasks = 0;  // Of all kinds.
  uint32_t running = 0;     // That take a slot.
  // All its attempts, in the order of their grants; workers with so many.
  absl::btree_map<uint64_t, Attempt*> attempts;
  absl::btree_map<WorkerNumber, uint32_t> on;
  bool inputs_there = false;  // All maps have won, as its attempts know it.

  // Invariant: a map without winner and live attempt is in lost_maps,
  // retry_maps or delayed, or is not below next_map. What is in them need not
  // be runnable; it is looked at when it is taken out.
  uint32_t next_map = 0;
  std::set<uint32_t> lost_maps;   // Had a winner: go first.
  std::set<uint32_t> retry_maps;  // Were granted before.
  std::set<uint32_t> reduces;     // Likewise for all reduces.
  // Tasks that wait after a failure, with the moment at which they may run.
  std::map<TaskId, absl::Duration> delayed;
  absl::Duration next_delayed = absl::InfiniteDuration();  // Not later.
  // Since when a task that has failed could run: it waits some time for
  // another worker.
  std::map<TaskId, absl::Duration> runnable_since;
  // Attempts that came to nothing and that the log does not know.
  std::map<TaskId, uint32_t> vanished;

  // Moving average over the finished map attempts; none yet: no value.
  std::optional<absl::Duration> map_time;
  // How long attempts of either stage take here and there.
  StageTimes map_times;
  StageTimes reduce_times;
  // When all maps had won last: reduces are not slow before.
  std::optional<absl::Duration> maps_done_since;

  FetchEvidence fetch_evidence;
  std::map<uint32_t, AttemptUid> losing;  // Maps whose MapLost is proposed.
  // Where tasks that have not won yet have failed by their program's fault.
  std::map<TaskId, std::set<WorkerNumber>> failed_on;
  // Tasks that failed there and went well elsewhere; since when there are
  // enough of them that the job avoids the worker.
  struct Blame {
    std::set<TaskId> tasks;
    std::optional<absl::Duration> excluded_at;
    std::string why;
  };
  std::map<WorkerNumber, Blame> blamed;
  // Since when a lost map has waited although no slot is free.
  std::optional<absl::Duration> lost_waits_since;
  // Lost maps that were granted ahead of waiting reduces and may wait there.
  std::set<uint32_t> queued_lost;
  std::vector<uint32_t> moved_maps;  // Whose location is to be sent.
  absl::Duration moved_since;
  // Workers that may not have been told any location; were told some (they
  // have it in `located`); of these, not yet all.
  std::set<WorkerNumber> new_readers;
  std::map<WorkerNumber, SoftWorker*> readers;
  std::set<WorkerNumber> untold;
  bool telling = false;

  bool failing = false;  // Its Failed is proposed.
  uint32_t publish_failures = 0;
  std::string publish_error;
};

// A job that has ended and of which something may be left somewhere.
struct Cleaning {
  std::set<WorkerNumber> waiting;  // Must say dropped_jobs, or be lost.
  std::set<WorkerNumber> untold;   // Of them: connected, not in `told`.
  // Told to remove the staging directory, which is the last step.
  std::optional<WorkerNumber> remover;
  // Of those: were sent DropJob on their present stream. Never twice, so that
  // no late answer is taken for the remover's.
  std::set<WorkerNumber> told;
  bool proposed = false;  // Its Cleaned.
};

struct SoftState {
  SoftState(const SchedulerOptions& options_in, const State& state_in,
            Random& random_in)
      : options(options_in),
        state(state_in),
        random(random_in),
        index(options),
        exclusions(options_in.exclusion) {}

  // ------------------------------------------------- constant, and the step
  const SchedulerOptions options;
  const State& state;
  Random& random;
  absl::Duration now;
  int64_t wall_ms = 0;
  std::vector<Effect> effects;
  std::set<JobId> changed;

  // -------------------------------------------------------------- leadership
  enum class Role {
    kStandby,
    kElected,  // TermStarted is proposed and not applied.
    kLeading,
  };
  Role role = Role::kStandby;
  uint64_t term = 0;
  std::string leader_address;
  absl::Duration leading_since;
  // All workers alive in the log have been heard or are lost.
  bool all_heard = false;
  // Indexes of jobs whose epoch has risen since the last TellRaised.
  std::vector<uint64_t> raised_jobs;

  absl::btree_map<SessionId, std::unique_ptr<Session>> sessions;  // Not null.
  // Of them, by the incarnation in `parked`.
  std::map<std::string, std::set<SessionId>> parked;
  WorkerMap<SoftWorker> workers;
  WorkerIndex index;  // Of all workers.
  std::set<WorkerNumber> unheard;
  // By SoftWorker::check_at.
  absl::btree_set<std::pair<absl::Duration, WorkerNumber>> checks;
  // Workers that may keep something of the job.
  std::map<JobId, std::set<WorkerNumber>> holders;
  std::map<uint64_t, SoftJob> jobs;  // By Job::index: oldest first.
  // By no order: nobody looks at all of them to decide something.
  absl::node_hash_map<AttemptUid, Attempt> attempts;
  std::map<JobId, Cleaning> cleanings;
  std::set<JobId> evicting;
  uint64_t next_order = 1;
  absl::Duration next_speculation;  // Not before.
  // Of maps that may be looked at to tell of them, until the round is over.
  uint32_t telling_left = 0;
  absl::Duration telling_until;
  Exclusions exclusions;
  // That were not good when they were judged last, and
  // WorkerIndex::sound_changes() of then.
  std::set<WorkerNumber> judged;
  uint64_t judged_sound = 0;

  std::map<JobId, ReplyTag> submits;  // By the id that was proposed.
  std::map<JobId, std::vector<ReplyTag>> kills;
  std::map<std::string, std::vector<ReplyTag>> drains;

  // Moments at which something is due; reached ones are taken out.
  std::set<absl::Duration> wakeups;
  absl::Duration next_check = absl::InfiniteDuration();

  bool leading() const { return role == Role::kLeading; }

  // --------------------------------------------------------------- effects
  void Propose(proto::LogEntry entry);
  // On the worker's stream; nothing happens without one.
  void SendTo(SoftWorker& worker, proto::MasterMessage message);
  void Send(SessionId session, proto::MasterMessage message);
  // One that goes to several workers, with the term in it.
  void SendTo(SoftWorker& worker,
              std::shared_ptr<const proto::MasterMessage> message);
  std::shared_ptr<const proto::MasterMessage> Shared(
      proto::MasterMessage message) const;
  void Ack(WorkerNumber worker, const AttemptUid& uid);
  // Nobody will need what the attempt wrote, unless it is the task's winner:
  // then nothing is done. What a map has passed over is part of the output,
  // also when no reduce will read the map again.
  void Drop(WorkerNumber worker, const JobId& job, const TaskId& task,
            const AttemptUid& uid);
  void WakeAt(absl::Duration when) { wakeups.insert(when); }

  // ---------------------------------------------------------------- lookup
  SoftJob* FindJob(const JobId& id);
  SoftWorker* FindWorker(WorkerNumber number);
  Attempt* FindAttempt(const AttemptUid& uid);

  // ------------------------------------------------------- sessions, holders
  void Park(SessionId id, const proto::Hello& hello);
  void Unpark(Session& session, SessionId id);
  void EraseSession(SessionId id);
  // The worker may keep something of the job, or nothing any more.
  void Hold(SoftWorker& worker, const JobId& job);
  // `job` by value: it may be the one that is taken out of `present`.
  void Unhold(SoftWorker& worker, JobId job);

  // -------------------------------------------------------------- attempts
  // Registers an attempt; it is live unless its task has as many as it may.
  Attempt& AddAttempt(const AttemptUid& uid, const JobId& job,
                      const TaskId& task, WorkerNumber worker, uint32_t epoch,
                      uint32_t number, bool speculative);
  // Whether the task may have an attempt beside those that live.
  static bool MayAdd(const SoftJob& job, const TaskId& task, bool speculative);
  // Forgets it. Its task is not made runnable by this.
  // `uid` by value: it may be the attempt's own, which goes with it.
  void RemoveAttempt(AttemptUid uid);
  void SetReported(Attempt& attempt, bool blames = false);
  void SetPhase(Attempt& attempt, proto::AttemptPhase phase);
  void SetProgress(Attempt& attempt, proto::AttemptProgress progress);
  void SetKilled(Attempt& attempt, bool killed);
  // Whether all maps of the job have won, for its attempts.
  void SetInputs(SoftJob& job, bool there);
  // The job is no more: nor is what its attempts read.
  void ForgetJob(uint64_t index);
  // Tells its worker to stop it, once.
  void Kill(Attempt& attempt, std::string_view reason);

  // The task may be granted, at once or from `when` on, if it has no winner and
  // no live attempt. `job` may be null.
  void MakeRunnable(SoftJob* job, const TaskId& task);
  void MakeRunnableAt(SoftJob* job, const TaskId& task, absl::Duration when);
  // Is a map or reduce without winner.
  static bool Wanted(const SoftJob& job, const TaskId& task);
  // ... and without live attempt.
  static bool Runnable(const SoftJob& job, const TaskId& task);

 private:
  // What an attempt contributes to the sums of its worker and job.
  struct Share {
    bool slot = false;
    bool wait = false;
    bool blame = false;
    bool stopping = false;
    bool early = false;
    bool ready = false;
    bool preparing = false;
    bool due = false;
    bool reads = false;
  };
  static Share ShareOf(const Attempt& attempt);
  // Brings them up to date.
  void Recount(const Attempt& attempt, const Share& before, const Share& after);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_SOFT_STATE_H_
