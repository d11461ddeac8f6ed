#include "tests/sim/raft/mutants.h"

#include "tests/sim/raft/simulation.h"

namespace millrace::raftsim {

const std::vector<NamedMutant>& AllMutants() {
  static const auto& mutants = *new std::vector<NamedMutant>{
      // ---------------------------------------------------------------- core
      {"commit_old_term_by_counting",
       "entries of earlier terms are committed "
       "by counting replicas (Raft paper, figure 8)",
       [](Mutant* m) { m->core.commit_old_term_by_counting = true; }, 3000},
      {"no_first_entry", "a new leader proposes no entry of its own",
       [](Mutant* m) { m->core.no_first_entry = true; }, 100},
      {"vote_before_durable", "a vote leaves before it is durable",
       [](Mutant* m) { m->core.vote_before_durable = true; }, 100},
      {"campaign_on_unsynced_log",
       "a candidate boasts of a log that is not "
       "durable",
       [](Mutant* m) { m->core.campaign_on_unsynced_log = true; }, 100},
      {"acknowledge_before_durable",
       "an acknowledgement leaves before the "
       "entries are durable",
       [](Mutant* m) { m->core.acknowledge_before_durable = true; }, 100},
      {"count_own_unsynced", "the leader counts entries that it has not synced",
       [](Mutant* m) { m->core.count_own_unsynced = true; }, 100},
      {"truncate_on_late_append",
       "an append that comes late cuts off entries "
       "that match",
       [](Mutant* m) { m->core.truncate_on_late_append = true; }, 100},
      {"acknowledge_in_new_term", "acknowledgements of an earlier term count",
       [](Mutant* m) { m->core.acknowledge_in_new_term = true; }, 10000},
      {"accept_aba_ack",
       "a write of an earlier leader's entries, become "
       "durable, stands for those that replaced them",
       [](Mutant* m) { m->core.accept_aba_ack = true; }, 2000},
      {"commit_not_capped_in_heartbeat",
       "heartbeats tell a commit index that "
       "the follower's log may not reach or match",
       [](Mutant* m) { m->core.commit_not_capped_in_heartbeat = true; }, 100},
      {"pre_vote_raises_term", "a pre-vote raises the term",
       [](Mutant* m) { m->core.pre_vote_raises_term = true; }, 3000},
      {"read_before_own_commit",
       "reads are served before an entry of the "
       "leader's term is committed",
       [](Mutant* m) { m->core.read_before_own_commit = true; }, 100},
      {"change_before_own_commit",
       "a membership change before an entry of the "
       "leader's term is committed",
       [](Mutant* m) { m->core.change_before_own_commit = true; }, 3000},
      {"two_pending_changes", "two membership changes at a time",
       [](Mutant* m) { m->core.two_pending_changes = true; }, 1000},
      {"core_snapshot_over_newer_log", "an older snapshot replaces a newer log",
       [](Mutant* m) { m->core.snapshot_over_newer_log = true; }, 3000},
      {"lead_after_removal", "a leader that was removed goes on leading",
       [](Mutant* m) { m->habits.lead_after_removal = true; }, 100},
      // -------------------------------------------------- log and snapshots
      {"drop_bad_middle",
       "recovery ends the log at a damaged record, wherever "
       "it stands",
       [](Mutant* m) { m->log.drop_bad_middle = true; }, 100},
      {"keep_torn_tail", "a torn tail is not zeroed",
       [](Mutant* m) { m->log.keep_torn_tail = true; }, 1000},
      {"sync_only", "what a failed sync left in the cache is not written again",
       [](Mutant* m) { m->log.sync_only = true; }, 100},
      {"retry_failed_sync", "a failed sync is tried again",
       [](Mutant* m) { m->log.retry_failed_sync = true; }, 100},
      {"skip_directory_sync",
       "a segment gets its name without a sync of the "
       "directory",
       [](Mutant* m) { m->log.skip_directory_sync = true; }, 100},
      {"drop_past_snapshot", "the log drops all that is committed",
       [](Mutant* m) { m->log.drop_past_snapshot = true; }, 1000},
      {"snapshot_over_newer_log",
       "at a start, an installed snapshot always "
       "replaces the log",
       [](Mutant* m) { m->log.snapshot_over_newer_log = true; }, 100},
      {"forget_to_reset", "at a start, an installed snapshot never does",
       [](Mutant* m) { m->log.forget_to_reset = true; }, 1000},
      {"forget_configuration", "the configuration is not in the snapshot",
       [](Mutant* m) { m->log.forget_configuration = true; }, 100},
      {"rename_before_sync", "a snapshot gets its name before it is durable",
       [](Mutant* m) { m->log.rename_before_sync = true; }, 100},
      {"skip_snapshot_directory_sync",
       "a snapshot counts before its name is "
       "durable",
       [](Mutant* m) { m->log.skip_snapshot_directory_sync = true; }, 100},
      {"installed_as_local",
       "an installed snapshot forgets that it came from a "
       "leader",
       [](Mutant* m) { m->log.installed_as_local = true; }, 1000},
      // --------------------------------------------------------- the state
      {"end_twice", "a kill ends a job that has ended",
       [](Mutant* m) { m->state.end_twice = true; }, 100},
      // ------------------------------------------------------- around them
      {"acknowledge_unsynced", "the log says durable before the sync",
       [](Mutant* m) { m->driver.acknowledge_unsynced = true; }, 100},
      {"keep_going_after_error", "a member goes on after an error of its disk",
       [](Mutant* m) { m->driver.keep_going_after_error = true; }, 100},
      {"reuse_id", "a member that lost its disk comes back under its old id",
       [](Mutant* m) { m->driver.reuse_id = true; }, 100},
  };
  return mutants;
}

std::optional<Mutant> MutantOf(std::string_view name) {
  for (const NamedMutant& named : AllMutants()) {
    if (named.name != name) continue;
    Mutant mutant;
    named.change(&mutant);
    return mutant;
  }
  return std::nullopt;
}

std::optional<Caught> Catch(const NamedMutant& mutant, bool durability_rule,
                            uint64_t seeds_max) {
  for (uint64_t seed = 1; seed <= seeds_max; ++seed) {
    SimOptions options;
    options.seed = seed;
    options.durability_rule = durability_rule;
    mutant.change(&options.mutant);
    SimResult result = Simulate(options);
    if (!result.violation.empty()) {
      return Caught{seed, std::move(result.violation)};
    }
  }
  return std::nullopt;
}

}  // namespace millrace::raftsim
