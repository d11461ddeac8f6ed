// Thousands of small clusters, each from a seed.
//
//   cluster_sim_test --seed=N     that one alone, with what happened last
//   cluster_sim_test --seeds=N    so many, from 1
#include "tests/sim/cluster_sim.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <string_view>

#include "common/strings.h"

namespace millrace::sim {
namespace {

// What a seed means, but for mutants.
SimOptions OptionsOf(uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  options.focus = seed % 8 == 1   ? Focus::kEpochs
                  : seed % 8 == 2 ? Focus::kLosses
                                  : Focus::kAny;
  // The check of a report before it is proposed is economy, nothing more.
  options.scheduler_mutant.believe_reports = seed % 4 == 1 || seed % 4 == 2;
  return options;
}

uint64_t only_seed = 0;
uint64_t seeds = 2000;

std::string Story(const SimOptions& options, const SimResult& result) {
  std::string story = Cat("seed ", options.seed, ": ", result.violation,
                          "\nreplay: cluster_sim_test --seed=", options.seed,
                          "\nthe last events:\n");
  for (const std::string& event : result.events) {
    story.append(Cat("  ", event, "\n"));
  }
  return story;
}

TEST(ClusterSimTest, InvariantsHoldUnderRandomFaults) {
  SimResult sum;
  const uint64_t first = only_seed != 0 ? only_seed : 1;
  const uint64_t last = only_seed != 0 ? only_seed : seeds;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const SimOptions options = OptionsOf(seed);
    const SimResult result = ClusterSim(options).Run();
    ASSERT_EQ(result.violation, "") << Story(options, result);
    if (only_seed != 0) std::cout << Story(options, result);
    sum.entries += result.entries;
    sum.steps += result.steps;
    sum.terms += result.terms;
    sum.workers_lost += result.workers_lost;
    sum.maps_lost += result.maps_lost;
    sum.reoffered += result.reoffered;
    sum.epochs += result.epochs;
    sum.refused += result.refused;
    sum.speculative += result.speculative;
    sum.speculative_won += result.speculative_won;
    sum.snapshots += result.snapshots;
    sum.restored += result.restored;
    sum.installed += result.installed;
    for (const auto& [state, count] : result.jobs) sum.jobs[state] += count;
  }
  std::cout << "entries " << sum.entries << ", refused " << sum.refused
            << ", steps " << sum.steps << ", terms " << sum.terms
            << ", workers lost " << sum.workers_lost << ", maps lost "
            << sum.maps_lost << ", re-offered " << sum.reoffered
            << ", epochs raised " << sum.epochs << ", speculative attempts "
            << sum.speculative << ", of which won " << sum.speculative_won
            << ", snapshots " << sum.snapshots << ", starts from one "
            << sum.restored << ", sent to a standby " << sum.installed
            << ", succeeded " << sum.jobs[proto::SUCCEEDED] << ", failed "
            << sum.jobs[proto::FAILED] << ", killed " << sum.jobs[proto::KILLED]
            << "\n";
  if (only_seed != 0 || seeds < 500) return;
  // Faults without effect would prove nothing.
  EXPECT_GT(sum.workers_lost, seeds);
  EXPECT_GT(sum.terms, 2 * seeds);
  EXPECT_GT(sum.maps_lost, seeds / 2);
  EXPECT_GT(sum.reoffered, seeds / 20);
  EXPECT_GT(sum.epochs, seeds / 50);
  EXPECT_GT(sum.refused, seeds / 10);
  EXPECT_GT(sum.speculative, seeds / 5);
  EXPECT_GT(sum.speculative_won, seeds / 20);
  EXPECT_GT(sum.snapshots, seeds);
  EXPECT_GT(sum.restored, seeds / 4);
  EXPECT_GT(sum.installed, seeds / 5);
  EXPECT_GT(sum.jobs[proto::SUCCEEDED], seeds);
  EXPECT_GT(sum.jobs[proto::FAILED], seeds / 10);
  EXPECT_GT(sum.jobs[proto::KILLED], seeds / 20);
}

TEST(ClusterSimTest, OneSeedIsOneHistory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const SimOptions options = OptionsOf(seed);
    const SimResult first = ClusterSim(options).Run();
    const SimResult second = ClusterSim(options).Run();
    EXPECT_EQ(first.events, second.events) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps) << "seed " << seed;
  }
}

// The checker must see what it is there for.
void ExpectCaught(const std::string& what,
                  const std::function<void(SimOptions*)>& change) {
  for (uint64_t seed = 1; seed <= 6000; ++seed) {
    SimOptions options = OptionsOf(seed);
    // What a mutant has done to a state must be seen by the checker, not by
    // who reads it from a snapshot.
    options.snapshots = false;
    change(&options);
    const SimResult result = ClusterSim(options).Run();
    if (result.violation.empty()) continue;
    std::cout << what << ": seed " << seed << ", " << result.violation << "\n";
    return;
  }
  ADD_FAILURE() << "nobody noticed: " << what;
}

TEST(ClusterSimTest, MutantsAreCaught) {
  if (only_seed != 0) GTEST_SKIP();
  ExpectCaught("reduces of an old epoch win", [](SimOptions* options) {
    options->state_mutant.skip_epoch_check = true;
  });
  ExpectCaught("a lost worker keeps a map", [](SimOptions* options) {
    options->state_mutant.forget_map_of_lost = true;
  });
  ExpectCaught("lost workers are fenced at receipt alone",
               [](SimOptions* options) {
                 options->state_mutant.skip_alive_check = true;
               });
  ExpectCaught("a second winner replaces the first", [](SimOptions* options) {
    options->state_mutant.skip_has_winner_check = true;
  });
  ExpectCaught("two jobs for one output", [](SimOptions* options) {
    options->state_mutant.skip_reserved_check = true;
  });
  ExpectCaught("what has ended ends again", [](SimOptions* options) {
    options->state_mutant.end_twice = true;
  });
  ExpectCaught("an epoch keeps its reduces", [](SimOptions* options) {
    options->state_mutant.keep_reduces_on_raise = true;
  });
  ExpectCaught("grants before all workers have reported",
               [](SimOptions* options) {
                 options->scheduler_mutant.grant_unheard = true;
               });
  ExpectCaught("lost grants are believed to run", [](SimOptions* options) {
    options->scheduler_mutant.keep_lost_grants = true;
  });
  ExpectCaught("workers are not told to drop jobs", [](SimOptions* options) {
    options->scheduler_mutant.forget_drop_job = true;
  });
  ExpectCaught("failed fetches are ignored", [](SimOptions* options) {
    options->scheduler_mutant.ignore_fetch_failures = true;
  });
  ExpectCaught("tasks of a worker are granted anew before it is lost",
               [](SimOptions* options) {
                 options->scheduler_mutant.regrant_at_once = true;
               });
  ExpectCaught("beaten attempts go on", [](SimOptions* options) {
    options->scheduler_mutant.keep_beaten = true;
  });
  ExpectCaught("being stopped counts as a failure", [](SimOptions* options) {
    options->scheduler_mutant.blame_beaten = true;
  });
  ExpectCaught("as many tasks run twice as there are slots",
               [](SimOptions* options) {
                 options->scheduler_mutant.speculate_freely = true;
               });
  ExpectCaught("reduces keep their slots while a lost map waits for one",
               [](SimOptions* options) {
                 options->scheduler_mutant.never_preempt = true;
               });
  ExpectCaught("no worker is ever excluded", [](SimOptions* options) {
    options->scheduler_mutant.never_exclude = true;
  });
  ExpectCaught("an entry behind a snapshot is left out",
               [](SimOptions* options) {
                 options->snapshots = true;
                 options->skip_behind_snapshot = true;
               });
}

}  // namespace
}  // namespace millrace::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, 7) == "--seed=") {
      millrace::sim::only_seed = std::strtoull(argv[i] + 7, nullptr, 10);
    } else if (argument.substr(0, 8) == "--seeds=") {
      millrace::sim::seeds = std::strtoull(argv[i] + 8, nullptr, 10);
    }
  }
  return RUN_ALL_TESTS();
}
