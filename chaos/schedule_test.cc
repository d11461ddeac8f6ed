#include "chaos/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace millrace::chaos {
namespace {

using ::testing::HasSubstr;

const Population kPopulation = {{"master-1", "master-2", "master-3"},
                                {"worker-1", "worker-2"}};

ChaosSpec Spec(std::string_view text) {
  const auto spec = ParseSpec(text);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : ChaosSpec{};
}

std::string ErrorOf(std::string_view text) {
  return std::string(ParseSpec(text).status().message());
}

std::vector<PlannedFault> First(const ChaosSpec& spec, uint64_t seed,
                                size_t count) {
  Schedule schedule(spec, seed, kPopulation);
  std::vector<PlannedFault> faults;
  while (faults.size() < count) {
    std::optional<PlannedFault> next = schedule.Next();
    if (!next.has_value()) break;
    faults.push_back(*next);
  }
  return faults;
}

TEST(SpecTest, TakesKindsWithParametersAndDefaults) {
  const ChaosSpec spec =
      Spec("stop-worker:for=500ms:of=worker-2,kill-worker:every=20,quiet=5m");
  ASSERT_EQ(spec.rates.size(), 2u);
  EXPECT_EQ(spec.rates[0].kind, FaultKind::kKillWorker);
  EXPECT_EQ(spec.rates[0].every, absl::Seconds(20));
  EXPECT_EQ(spec.rates[0].length, InfoOf(FaultKind::kKillWorker).length);
  EXPECT_EQ(spec.rates[1].length, absl::Milliseconds(500));
  EXPECT_EQ(spec.rates[1].of, "worker-2");
  EXPECT_EQ(spec.quiet_after, absl::Minutes(5));
  EXPECT_FALSE(spec.needs_proxies() || spec.needs_small_disks() ||
               spec.needs_preload());
}

TEST(SpecTest, AllIsEveryKindAndLaterItemsChangeIt) {
  const ChaosSpec spec = Spec("all:every=3s:for=1s,cut-link:every=9s");
  ASSERT_EQ(spec.rates.size(), static_cast<size_t>(kFaultKinds));
  for (size_t i = 0; i < spec.rates.size(); ++i) {
    const FaultRate& rate = spec.rates[i];
    EXPECT_EQ(static_cast<size_t>(rate.kind), i);
    EXPECT_EQ(rate.every,
              absl::Seconds(rate.kind == FaultKind::kCutLink ? 9 : 3));
    // Those that happen in a moment still do.
    EXPECT_EQ(rate.length > absl::ZeroDuration(),
              InfoOf(rate.kind).length > absl::ZeroDuration());
  }
  EXPECT_TRUE(spec.needs_proxies() && spec.needs_small_disks() &&
              spec.needs_preload());
}

TEST(SpecTest, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("no fault"));
  EXPECT_THAT(ErrorOf("quiet=5s"), HasSubstr("no fault"));
  EXPECT_THAT(ErrorOf("kill-everybody"), HasSubstr("kill-worker"));
  EXPECT_THAT(ErrorOf("kill-worker:every"), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(ErrorOf("kill-worker:every=often"), HasSubstr("takes a time"));
  EXPECT_THAT(ErrorOf("kill-worker:every=-1s"), HasSubstr("takes a time"));
  EXPECT_THAT(ErrorOf("kill-worker:every=0"), HasSubstr("10ms"));
  EXPECT_THAT(ErrorOf("kill-task:for=1s"), HasSubstr("no for="));
  EXPECT_THAT(ErrorOf("kill-task:by=1s"), HasSubstr("no by="));
  EXPECT_THAT(ErrorOf("kill-task:who=me"), HasSubstr("none of"));
  EXPECT_THAT(ErrorOf("cut-link,quiet=soon"), HasSubstr("quiet=5m"));
}

TEST(SpecTest, TableIsInTheOrderOfTheEnumerationAndHelpNamesAll) {
  const std::string help = SpecHelp();
  for (size_t i = 0; i < KindTable().size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(KindTable()[i].kind), i);
    EXPECT_THAT(help, HasSubstr(std::string(KindTable()[i].name)));
  }
}

TEST(ScheduleTest, IsAFunctionOfItsSeed) {
  const ChaosSpec spec = Spec("all");
  EXPECT_EQ(First(spec, 7, 500), First(spec, 7, 500));
  EXPECT_NE(First(spec, 7, 500), First(spec, 8, 500));
}

TEST(ScheduleTest, KeepsTimesVictimsAndLengths) {
  const ChaosSpec spec = Spec("all:every=4s:for=2s,quiet=400s");
  std::map<FaultKind, int> counts;
  std::map<FaultKind, std::set<std::string>> victims;
  absl::Duration before;
  for (const PlannedFault& fault : First(spec, 1, 100000)) {
    EXPECT_GE(fault.at, before);
    before = fault.at;
    EXPECT_LT(fault.at, absl::Seconds(400));
    const KindInfo& info = InfoOf(fault.kind);
    if (info.length > absl::ZeroDuration()) {
      EXPECT_GE(fault.length, absl::Seconds(1));
      EXPECT_LE(fault.length, absl::Seconds(2));
    } else {
      EXPECT_EQ(fault.length, absl::ZeroDuration());
    }
    ++counts[fault.kind];
    victims[fault.kind].insert(fault.victim);
  }
  for (const KindInfo& info : KindTable()) {
    // 400 s, one every 2 to 6.
    EXPECT_GE(counts[info.kind], 66) << info.name;
    EXPECT_LE(counts[info.kind], 201) << info.name;
    const size_t all = info.victims == VictimRole::kWorker   ? 2
                       : info.victims == VictimRole::kMaster ? 3
                                                             : 5;
    EXPECT_EQ(victims[info.kind].size(), all) << info.name;
  }
}

TEST(ScheduleTest, AnotherKindLeavesTheOthersWhereTheyAre) {
  const auto kills = [](const std::vector<PlannedFault>& faults) {
    std::vector<PlannedFault> of_kind;
    for (const PlannedFault& fault : faults) {
      if (fault.kind == FaultKind::kKillWorker) of_kind.push_back(fault);
    }
    return of_kind;
  };
  const ChaosSpec alone = Spec("kill-worker:every=1s,quiet=50s");
  const ChaosSpec both =
      Spec("kill-worker:every=1s,flip-bit:every=1s,quiet=50s");
  EXPECT_EQ(kills(First(alone, 3, 1000)), kills(First(both, 3, 1000)));
}

TEST(ScheduleTest, OnlyTheOneThatIsNamed) {
  for (const PlannedFault& fault :
       First(Spec("stop-worker:of=worker-2"), 1, 50)) {
    EXPECT_EQ(fault.victim, "worker-2");
  }
  // A master is no worker, and nobody has the other name.
  EXPECT_TRUE(First(Spec("stop-worker:of=master-1"), 1, 5).empty());
  EXPECT_TRUE(First(Spec("stop-worker:of=worker-9"), 1, 5).empty());
}

}  // namespace
}  // namespace millrace::chaos
