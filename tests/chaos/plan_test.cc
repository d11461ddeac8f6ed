#include "tests/chaos/plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "chaos/schedule.h"
#include "chaos/spec.h"

namespace millrace::chaostest {
namespace {

chaos::Population EverybodyOfARun() {
  chaos::Population population;
  for (int i = 1; i <= kMasters; ++i) {
    population.masters.push_back("master-" + std::to_string(i));
  }
  for (int i = 1; i <= kWorkers; ++i) {
    population.workers.push_back("worker-" + std::to_string(i));
  }
  return population;
}

TEST(PlanTest, IsAFunctionOfItsSeed) {
  for (uint64_t seed = 1; seed < 50; ++seed) {
    const RunPlan plan = PlanRun(seed);
    EXPECT_EQ(plan.chaos, PlanRun(seed).chaos);
    EXPECT_EQ(plan.jobs, PlanRun(seed).jobs);
    EXPECT_TRUE(chaos::ParseSpec(plan.chaos).ok()) << plan.chaos;
  }
}

TEST(PlanTest, SuitesAreAboutWhatTheirNamesSay) {
  EXPECT_EQ(SuiteNamed("calm"), std::nullopt);
  for (uint64_t seed = 1; seed < 50; ++seed) {
    const RunPlan nonce = PlanRun(seed, *SuiteNamed("nonce"));
    for (const JobKind* job : nonce.jobs) EXPECT_EQ(job->name, "nonce");
    EXPECT_TRUE(chaos::ParseSpec(nonce.chaos).ok()) << nonce.chaos;

    const RunPlan damage = PlanRun(seed, *SuiteNamed("damage"));
    const auto spec = chaos::ParseSpec(damage.chaos);
    ASSERT_TRUE(spec.ok()) << damage.chaos;
    chaos::Schedule schedule(*spec, seed, EverybodyOfARun());
    int faults = 0;
    while (schedule.Next()) ++faults;
    EXPECT_GE(faults, 120);
  }

  const RunPlan soak = PlanRun(1, *SuiteNamed("soak"));
  chaos::Schedule schedule(*chaos::ParseSpec(soak.chaos), 1, EverybodyOfARun());
  int faults = 0;
  for (auto fault = schedule.Next(); fault && fault->at < soak.lasts;
       fault = schedule.Next()) {
    ++faults;
    if (fault->kind == chaos::FaultKind::kKillWorker) {
      EXPECT_EQ(fault->victim, "worker-4");
    }
  }
  EXPECT_GE(faults, 200);
  std::set<const JobKind*> kinds;
  std::vector<const JobKind*> jobs = soak.jobs;
  for (size_t i = 0; i < JobKinds().size(); ++i) {
    kinds.insert(jobs.at(0));
    jobs = NextJobs(jobs);
  }
  EXPECT_EQ(kinds.size(), JobKinds().size());
}

TEST(PlanTest, EveryKindOfJobAndOfFaultComes) {
  std::set<std::string_view> jobs;
  for (uint64_t seed = 100; seed < 100 + JobKinds().size(); ++seed) {
    jobs.insert(PlanRun(seed).jobs.at(0)->name);
  }
  EXPECT_EQ(jobs.size(), JobKinds().size());

  std::map<chaos::FaultKind, int> faults;
  int least = 1000;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    chaos::Schedule schedule(*chaos::ParseSpec(PlanRun(seed).chaos), seed,
                             EverybodyOfARun());
    int of_run = 0;
    while (const auto fault = schedule.Next()) {
      ++faults[fault->kind];
      ++of_run;
    }
    least = std::min(least, of_run);
  }
  // Enough of each, some of which will have no effect.
  for (const chaos::KindInfo& info : chaos::KindTable()) {
    EXPECT_GE(faults[info.kind], 100) << info.name;
  }
  EXPECT_GE(least, 14);
}

}  // namespace
}  // namespace millrace::chaostest
