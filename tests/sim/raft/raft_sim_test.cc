// Many small groups, each from a seed.
//
//   raft_sim_test --seed=N     that one alone
//   raft_sim_test --seeds=N    so many, from 1
//
// raft_sim replays one with its story; tests/sim/README.md.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "common/logging.h"
#include "tests/sim/raft/mutants.h"
#include "tests/sim/raft/simulation.h"

namespace millrace::raftsim {
namespace {

uint64_t only_seed = 0;
uint64_t seeds = 1000;

TEST(RaftSimTest, InvariantsHoldUnderRandomFaults) {
  SimResult sum;
  uint64_t thin = 0;
  const uint64_t first = only_seed != 0 ? only_seed : 1;
  const uint64_t last = only_seed != 0 ? only_seed : seeds;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SimOptions options;
    options.seed = seed;
    const SimResult result = Simulate(options);
    ASSERT_EQ(result.violation, "") << Story(options, result);
    sum.Add(result);
    if (result.virtual_time < absl::Minutes(2) || result.faults.total() < 5) {
      ++thin;
    }
  }
  std::cout << last - first + 1 << " seeds, " << thin << " of them thin\n"
            << Statistics(sum);
  if (only_seed != 0 || seeds < 300) return;
  // Faults without effect would prove nothing, and neither would a protocol
  // that never gets to its corners.
  EXPECT_LT(thin, seeds / 20);
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    EXPECT_GT(sum.faults.of(fault), seeds / 20) << FaultName(fault);
  }
  EXPECT_GT(sum.reach.leaders, 5 * seeds);
  EXPECT_GT(sum.reach.cut_off, seeds / 2);
  EXPECT_GT(sum.reach.begun_anew, seeds / 10);
  EXPECT_GT(sum.reach.snapshots, seeds);
  EXPECT_GT(sum.reach.changes, 2 * seeds);
  EXPECT_GT(sum.reach.segments, seeds);
  EXPECT_GT(sum.answered, 50 * seeds);
  EXPECT_GT(sum.given_up, seeds);
}

TEST(RaftSimTest, OneSeedIsOneHistory) {
  if (only_seed != 0) GTEST_SKIP();
  for (uint64_t seed = 1; seed <= seeds; seed += seeds / 10 + 1) {
    SimOptions options;
    options.seed = seed;
    const SimResult one = Simulate(options);
    const SimResult other = Simulate(options);
    EXPECT_EQ(one.trace_hash, other.trace_hash) << "seed " << seed;
    EXPECT_EQ(one.events, other.events) << "seed " << seed;
    options.seed = seed + 1;
    EXPECT_NE(Simulate(options).trace_hash, one.trace_hash);
  }
}

// Those that take few seeds; raft_sim --mutants runs them all.
TEST(RaftSimTest, MutantsAreCaught) {
  if (only_seed != 0) GTEST_SKIP();
  size_t tried = 0;
  for (const NamedMutant& mutant : AllMutants()) {
    if (mutant.seeds_max > kQuickSeedsMax) continue;
    ++tried;
    const auto caught = Catch(mutant, true, mutant.seeds_max);
    if (caught.has_value()) continue;
    ADD_FAILURE() << mutant.name << " was not noticed in " << mutant.seeds_max
                  << " seeds";
  }
  EXPECT_GE(tried, 20u);
}

}  // namespace
}  // namespace millrace::raftsim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  FLAGS_minloglevel = 2;  // A warning at each damaged disk would be a flood.
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, 7) == "--seed=") {
      millrace::raftsim::only_seed = std::strtoull(argv[i] + 7, nullptr, 10);
    } else if (argument.substr(0, 8) == "--seeds=") {
      millrace::raftsim::seeds = std::strtoull(argv[i] + 8, nullptr, 10);
    }
  }
  return RUN_ALL_TESTS();
}
