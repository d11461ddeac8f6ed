// The numbers that steer a scheduler core.
#ifndef MILLRACE_MASTER_SCHEDULER_OPTIONS_H_
#define MILLRACE_MASTER_SCHEDULER_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "master/scheduler/exclusion.h"
#include "master/scheduler/fetch_evidence.h"
#include "master/state/limits.h"
#include "rpc/limits.h"

namespace millrace::master {

// Rules to leave out, as StateMutant.
struct SchedulerMutant {
  // Reports are not looked at before they are proposed. Changes nothing that
  // matters: the check when an entry is applied is the guarantee, and this
  // shows it.
  bool believe_reports = false;
  bool grant_unheard = false;     // Before all workers have reported.
  bool keep_lost_grants = false;  // A Hello that does not know an attempt.
  bool forget_drop_job = false;   // Workers are not told that jobs have ended.
  bool ignore_fetch_failures = false;
  bool regrant_at_once = false;   // A killed attempt is not waited for.
  bool keep_beaten = false;       // Attempts that cannot win go on.
  bool speculate_freely = false;  // Without the limit on speculative attempts.
  bool blame_beaten = false;      // Those told to stop count as failed.
  bool never_exclude = false;     // Workers on which everything fails.
  bool never_preempt = false;     // Reduces for maps that were lost.
};

struct SchedulerOptions {
  SchedulerMutant mutant;

  // ------------------------------------------------------- loss of workers
  // Both ways. A worker leaves a leader that is silent for three of them.
  absl::Duration heartbeat_interval = absl::Seconds(1);
  // A worker that says nothing for so long is declared lost.
  absl::Duration silence_limit = absl::Seconds(10);
  // Likewise one whose stream closed and that does not come back. A process
  // that dies closes its stream at once: so its death is known within 2 s.
  absl::Duration reconnect_limit = absl::Milliseconds(1500);

  // ------------------------------------------------------------- placement
  // Share of a job's maps that must have won before its reduces are placed
  // (earlier if no map is left to grant: placed reduces take no slot).
  double slow_start = 0.05;
  // Map attempts that a worker may queue beside each busy slot, so that it has
  // the next one at hand; only while the job's maps have been shorter than
  // `short_map` and tasks enough for every slot remain.
  double queue_per_slot = 1.0;
  absl::Duration short_map = absl::Seconds(1);
  // A queued attempt is taken back if it still waits after this while a slot
  // elsewhere is free and nothing else is left to run.
  absl::Duration steal_after = absl::Seconds(1);
  // Speculative attempts: their share of all slots at most, and how often slow
  // attempts are looked for (speculation.h).
  double speculative_share = 0.1;
  absl::Duration speculation_interval = absl::Milliseconds(250);
  // Share of a stage that must have finished before its attempts are judged.
  double speculation_sample = 0.05;
  // How long a task that failed on a worker waits for another worker: as long
  // as a map of its job takes, within these limits.
  absl::Duration avoid_for = absl::Seconds(2);
  absl::Duration avoid_for_max = absl::Seconds(10);
  // Before an attempt that failed through infrastructure is repeated: doubled
  // each time, up to the second. The second is also the limit for a store that
  // refuses an output that is decided, which is retried for ever.
  absl::Duration retry_backoff = absl::Milliseconds(100);
  absl::Duration retry_backoff_max = absl::Seconds(5);
  absl::Duration publish_backoff_max = absl::Seconds(30);
  // Workers that are given nothing for a while.
  ExclusionRules exclusion;
  // Likewise of one job alone: where so many of its tasks have failed that went
  // well elsewhere, for so long.
  size_t job_exclusion_failures = 3;
  absl::Duration job_exclusion = absl::Minutes(2);
  // A map that was lost waits so long for a slot before a reduce of its job has
  // to make way.
  absl::Duration preempt_after = absl::Seconds(3);
  // Changes of map locations are gathered so long before they are sent, unless
  // there are many or they are the last.
  absl::Duration locations_batch = absl::Milliseconds(20);
  size_t locations_message_max = 10'000;
  // Those who know nothing of a job yet are told by and by: a job of a million
  // maps has as many locations for each worker with a reduce of it. So many
  // maps are looked at in each `locations_batch`, for all of them together.
  uint32_t locations_round_maps = 20'000;

  // When reports of failed fetches count.
  FetchRules fetch;

  // ---------------------------------------------------------------- limits
  // What this master takes on while it leads (admission.h): jobs that have not
  // ended; tasks of those of them that are planned, at some 190 bytes of memory
  // a task on every master; tasks of one job; its maps times its reduces. The
  // last two lie within what the state allows (state/limits.h).
  uint32_t live_jobs_max = 1000;
  uint64_t live_tasks_max = 4'000'000;
  uint64_t job_tasks_max = uint64_t{kMapsMax} + kPartitionsMax;
  uint64_t job_transfers_max = kMapsTimesPartitionsMax;
  size_t spec_bytes_max = 1 << 20;
  // Finished jobs that are kept; older ones are evicted.
  uint32_t finished_jobs_kept = 1000;
  // Of a worker's Hello, all its parts together. One that says more has to
  // start anew.
  size_t hello_bytes_max = rpc::kHelloBytesMax;
  // Messages of a stream that wait until the leader may act.
  size_t session_backlog_max = 1000;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_OPTIONS_H_
