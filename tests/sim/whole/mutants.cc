#include "tests/sim/whole/mutants.h"

#include <cstdio>

namespace millrace::wholesim {

const std::vector<NamedMutant>& AllMutants() {
  static const std::vector<NamedMutant> mutants = {
      {"reuse_uids", "M4", "uids are predictable: each leader draws the same",
       500, [](Mutant* m) { m->edge.reuse_uids = true; }},
      {"write_into_output", "M5", "a reduce writes into the visible output",
       500, [](Mutant* m) { m->edge.write_into_output = true; }},
      {"rename_replaces", "M6", "the rename of the output replaces", 2000,
       [](Mutant* m) { m->edge.rename_replaces = true; }},
      {"revoke_after_decided", "M7", "a decided job can lose a winner", 5000,
       [](Mutant* m) { m->state.lose_after_decided = true; }},
      {"tell_before_committed", "M8", "clients hear of success at the decision",
       500, [](Mutant* m) { m->edge.tell_before_committed = true; }},
      {"skip_epoch_check", "M9", "a reduce wins whatever epoch it has consumed",
       5000,
       [](Mutant* m) {
         m->state.skip_epoch_check = true;
         m->scheduler.believe_reports = true;
       }},
      {"ignore_roots", "M10",
       "a re-run map's records are not compared with those before", 2000,
       [](Mutant* m) { m->state.ignore_roots = true; }},
      {"skip_checksums", "M11",
       "what comes over the wire is stored without its checksums", 500,
       [](Mutant* m) { m->edge.skip_checksums = true; }},
      {"skip_partition_id", "M12", "frames do not say of which partition", 2000,
       [](Mutant* m) { m->edge.skip_partition_id = true; }},
      {"forget_map_of_lost", "M13", "a lost worker keeps one map", 2000,
       [](Mutant* m) { m->state.forget_map_of_lost = true; }},
      {"charge_fetch_failures", "M14",
       "failed fetches count against the reduce", 2000,
       [](Mutant* m) { m->edge.charge_fetch_failures = true; }},
      {"hide_input_changes", "M21", "inputs are not pinned", 2000,
       [](Mutant* m) { m->edge.hide_input_changes = true; }},
      {"new_request_each_time", "M22", "a repeated submit is a new job", 500,
       [](Mutant* m) { m->edge.new_request_each_time = true; }},
      {"kill_deletes_staging", "M23",
       "a kill deletes the staging of a decided job", 5000,
       [](Mutant* m) { m->edge.kill_deletes_staging = true; }},
      {"collect_live_staging", "M24",
       "with a failed attempt all attempts' outputs go", 2000,
       [](Mutant* m) { m->edge.collect_live_staging = true; }},
      {"adopt_unchecked", "M25",
       "a worker that starts offers its spool files unread", 2000,
       [](Mutant* m) { m->edge.adopt_unchecked = true; }},
      {"second_winner", "", "a second winner replaces the first", 5000,
       [](Mutant* m) {
         m->state.skip_has_winner_check = true;
         m->scheduler.believe_reports = true;
       }},
      {"keep_reduces_on_raise", "", "an epoch keeps its reduces", 5000,
       [](Mutant* m) { m->state.keep_reduces_on_raise = true; }},
      {"grant_unheard", "", "grants before all workers have reported", 2000,
       [](Mutant* m) { m->scheduler.grant_unheard = true; }},
      {"keep_lost_grants", "", "lost grants are believed to run", 2000,
       [](Mutant* m) { m->scheduler.keep_lost_grants = true; }},
      {"forget_drop_job", "", "workers are not told that a job has ended", 500,
       [](Mutant* m) { m->scheduler.forget_drop_job = true; }},
      {"ignore_fetch_failures", "", "failed fetches are ignored", 2000,
       [](Mutant* m) { m->scheduler.ignore_fetch_failures = true; }},
      {"regrant_at_once", "",
       "tasks of a silent worker are granted anew before it is lost", 2000,
       [](Mutant* m) { m->scheduler.regrant_at_once = true; }},
      {"keep_beaten", "", "attempts that cannot win go on", 2000,
       [](Mutant* m) { m->scheduler.keep_beaten = true; }},
      {"blame_beaten", "", "attempts that are told to stop have failed", 5000,
       [](Mutant* m) { m->scheduler.blame_beaten = true; }},
      {"speculate_freely", "", "second attempts are not limited in number",
       5000, [](Mutant* m) { m->scheduler.speculate_freely = true; }},
      {"forget_to_delete", "", "a dropped job's files stay", 500,
       [](Mutant* m) { m->edge.forget_to_delete = true; }},
  };
  return mutants;
}

const NamedMutant* FindMutant(std::string_view name) {
  for (const NamedMutant& mutant : AllMutants()) {
    if (mutant.name == name) return &mutant;
  }
  return nullptr;
}

std::optional<Caught> Catch(const NamedMutant& mutant, uint64_t seeds_max) {
  for (uint64_t seed = 1; seed <= seeds_max; ++seed) {
    SimOptions options;
    options.seed = seed;
    mutant.apply(&options.mutant);
    const SimResult result = Simulate(options);
    if (!result.violation.empty()) return Caught{seed, result.violation};
  }
  return std::nullopt;
}

int RunMutants(std::string_view only, uint64_t seeds_max) {
  int missed = 0;
  std::printf("| | Mutant | Seeds | Noticed as |\n|---|---|---|---|\n");
  for (const NamedMutant& mutant : AllMutants()) {
    if (!only.empty() && only != mutant.name) continue;
    const uint64_t limit = seeds_max > 0 ? seeds_max : mutant.seeds_max;
    const std::optional<Caught> caught = Catch(mutant, limit);
    missed += !caught.has_value();
    const std::string seeds = caught.has_value() ? std::to_string(caught->seed)
                                                 : "> " + std::to_string(limit);
    std::printf("| %s | `%s`: %s | %s | %s |\n", mutant.number.c_str(),
                mutant.name.c_str(), mutant.what.c_str(), seeds.c_str(),
                caught.has_value() ? caught->violation.c_str() : "**nothing**");
    std::fflush(stdout);
  }
  return missed > 0 ? 1 : 0;
}

}  // namespace millrace::wholesim
