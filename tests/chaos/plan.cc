#include "tests/chaos/plan.h"

#include <array>
#include <memory>

#include "chaos/spec.h"
#include "common/random.h"
#include "common/strings.h"

namespace millrace::chaostest {
namespace {

constexpr std::array<JobKind, 11> kKinds = {{
    {"count", "chaos_count", "count", "none", false, Expected::kReferenceBytes},
    {"index", "chaos_mixed", "index", "none", false, Expected::kReferenceBytes},
    {"sort", "chaos_sort", "sort", "none", false, Expected::kReferenceBytes},
    {"join", "chaos_mixed", "join", "none", false, Expected::kReferenceBytes},
    {"nonce", "chaos_mixed", "nonce", "none", false, Expected::kPairs},
    {"hot", "chaos_mixed", "hot", "none", false, Expected::kReferenceBytes},
    {"huge", "chaos_mixed", "huge", "none", false, Expected::kReferenceBytes},
    {"crashing", "chaos_count", "count", "crash", false,
     Expected::kReferenceBytes},
    {"hanging", "chaos_mixed", "index", "hang", false,
     Expected::kReferenceBytes},
    {"failing", "chaos_mixed", "index", "fail", false, Expected::kUserFailure},
    {"empty", "chaos_count", "count", "none", true, Expected::kReferenceBytes},
}};

// So long there are faults; then the cluster has to come to itself.
constexpr int kChaosSeconds = 12;

// Mean seconds between two faults of a kind, at the usual pace.
int EveryMs(chaos::FaultKind kind) {
  switch (kind) {
    // A group without a leader grants nothing meanwhile.
    case chaos::FaultKind::kKillMaster:
    case chaos::FaultKind::kStopMaster:
      return 10'000;
    // What a worker held is made again.
    case chaos::FaultKind::kDeleteSpool:
    case chaos::FaultKind::kKillWorker:
      return 6000;
    case chaos::FaultKind::kKillTask:
    case chaos::FaultKind::kFlipBit:
    case chaos::FaultKind::kCorruptLink:
      return 3000;
    default:
      return 5000;
  }
}

}  // namespace

std::span<const JobKind> JobKinds() { return kKinds; }

RunPlan PlanRun(uint64_t seed) {
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  RunPlan plan;
  plan.seed = seed;
  plan.jobs = {&kKinds[seed % kKinds.size()],
               &kKinds[random->Uniform(kKinds.size())]};
  // Some runs have half of the kinds, twice as often: more of one thing.
  const bool half = random->Uniform(3) == 0;
  for (const chaos::KindInfo& info : chaos::KindTable()) {
    const bool left_out = random->Uniform(2) == 0;
    if (half && left_out) continue;
    plan.chaos +=
        Cat(info.name, ":every=", EveryMs(info.kind) / (half ? 2 : 1), "ms");
    if (info.length > absl::ZeroDuration()) plan.chaos += ":for=1500ms";
    plan.chaos += ",";
  }
  plan.chaos += Cat("quiet=", kChaosSeconds, "s");
  return plan;
}

}  // namespace millrace::chaostest
