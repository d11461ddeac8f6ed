// Hundreds of small clusters, each from a seed.
//
//   whole_sim_test --seed=N     that one alone, with what happened last
//   whole_sim_test --seeds=N    so many, from 1
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "common/logging.h"
#include "common/strings.h"
#include "tests/sim/whole/faults.h"
#include "tests/sim/whole/mutants.h"
#include "tests/sim/whole/options.h"

namespace millrace::wholesim {
namespace {

uint64_t only_seed = 0;
uint64_t seeds = 500;

TEST(WholeSimTest, InvariantsHoldUnderRandomFaults) {
  Coverage coverage;
  SimResult sum;
  const uint64_t first = only_seed != 0 ? only_seed : 1;
  const uint64_t last = only_seed != 0 ? only_seed : seeds;
  uint64_t thin = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SimOptions options;
    options.seed = seed;
    const SimResult result = Simulate(options);
    ASSERT_EQ(result.violation, "") << Story(options, result);
    EXPECT_GE(result.virtual_time, absl::Minutes(2)) << "seed " << seed;
    thin += result.coverage.total() < 5;
    coverage += result.coverage;
    sum.event_count += result.event_count;
    sum.succeeded += result.succeeded;
    sum.failed += result.failed;
    sum.killed += result.killed;
    sum.compared += result.compared;
    sum.attempts += result.attempts;
    sum.transfers += result.transfers;
    sum.sections += result.sections;
    sum.shared_transfers += result.shared_transfers;
    sum.broken_shared += result.broken_shared;
    sum.epochs += result.epochs;
    sum.speculative += result.speculative;
    sum.speculative_won += result.speculative_won;
    sum.excluded += result.excluded;
  }
  size_t empty = 0;
  const std::string table = MatrixTable(coverage.CellCounts(), &empty);
  std::cout << "jobs: " << sum.succeeded << " succeeded, " << sum.failed
            << " failed, " << sum.killed << " killed; " << sum.compared
            << " outputs compared, " << sum.attempts << " attempts, "
            << sum.transfers << " transfers of " << sum.sections
            << " sections, " << sum.shared_transfers << " of several, of which "
            << sum.broken_shared << " broke in the middle, " << sum.epochs
            << " epochs raised, " << sum.speculative
            << " speculative attempts, of which " << sum.speculative_won
            << " won, workers excluded for " << sum.excluded << " s, "
            << sum.event_count << " events, " << coverage.total()
            << " effective faults, " << thin << " thin seeds\n\n"
            << table << "\n"
            << empty << " cells are empty\n";
  if (only_seed != 0 || seeds < 300) return;
  // Faults without effect would prove nothing.
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    EXPECT_GE(coverage.of(fault), 5u) << FaultName(fault);
  }
  EXPECT_LE(thin, seeds / 20);
  EXPECT_GT(sum.compared, seeds);
  EXPECT_GT(sum.succeeded, seeds);
  EXPECT_GT(sum.shared_transfers, seeds);
  EXPECT_GT(sum.broken_shared, seeds / 50);
  EXPECT_GT(sum.epochs, seeds / 50);
  EXPECT_GT(sum.speculative, seeds / 10);
  EXPECT_GT(sum.speculative_won, seeds / 50);
  EXPECT_GT(sum.excluded, seeds / 10);
}

TEST(WholeSimTest, OneSeedIsOneHistory) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SimOptions options;
    options.seed = seed;
    const SimResult one = Simulate(options);
    const SimResult other = Simulate(options);
    EXPECT_EQ(one.trace_hash, other.trace_hash) << "seed " << seed;
    EXPECT_EQ(one.event_count, other.event_count) << "seed " << seed;
  }
}

// They tell other stories since there are other faults; each defect has left a
// test of its part, too.
TEST(WholeSimTest, SeedsThatFailedOnce) {
  if (only_seed != 0) GTEST_SKIP();
  for (uint64_t seed : {697, 919, 1630, 2908, 3001, 5610, 31924}) {
    SimOptions options;
    options.seed = seed;
    const SimResult result = Simulate(options);
    EXPECT_EQ(result.violation, "") << Story(options, result);
  }
}

// Those that need fewest seeds; scripts/ci.sh mutants has all.
TEST(WholeSimTest, SeededBugsAreCaught) {
  if (only_seed != 0) GTEST_SKIP();
  for (const char* name :
       {"reuse_uids", "write_into_output", "tell_before_committed",
        "skip_checksums", "new_request_each_time", "forget_drop_job"}) {
    const NamedMutant* mutant = FindMutant(name);
    ASSERT_NE(mutant, nullptr) << name;
    const auto caught = Catch(*mutant, 60);
    ASSERT_TRUE(caught.has_value()) << "nobody noticed: " << name;
    std::cout << name << ": seed " << caught->seed << ", " << caught->violation
              << "\n";
  }
}

}  // namespace
}  // namespace millrace::wholesim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  millrace::InitLogging(argv[0], 2);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, 7) == "--seed=") {
      millrace::wholesim::only_seed = std::strtoull(argv[i] + 7, nullptr, 10);
    } else if (argument.substr(0, 8) == "--seeds=") {
      millrace::wholesim::seeds = std::strtoull(argv[i] + 8, nullptr, 10);
    }
  }
  return RUN_ALL_TESTS();
}
