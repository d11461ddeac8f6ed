#include "tests/chaos/plan.h"

#include <algorithm>
#include <array>
#include <memory>

#include "chaos/spec.h"
#include "common/random.h"
#include "common/strings.h"

namespace millrace::chaostest {
namespace {

constexpr std::array<JobKind, 12> kKinds = {{
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
    {"poison", "chaos_count", "count", "poison", false,
     Expected::kReferenceBytes},
    {"empty", "chaos_count", "count", "none", true, Expected::kReferenceBytes},
}};

// So long there are faults; then the cluster has to come to itself.
constexpr int kChaosSeconds = 12;

// At the same time, so that half of a job's maps wait when the first are lost.
constexpr int kNonceJobs = 6;

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

const JobKind& KindNamed(std::string_view name) {
  return *std::find_if(
      kKinds.begin(), kKinds.end(),
      [name](const JobKind& kind) { return kind.name == name; });
}

RunPlan PlanMixed(uint64_t seed) {
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

// Maps end one after the other, and reduces fetch from each as it ends: what is
// lost has been read in part. A job may lose that twice; so runs differ in how
// often it happens.
RunPlan PlanNonce(uint64_t seed) {
  RunPlan plan;
  plan.seed = seed;
  plan.jobs.assign(kNonceJobs, &KindNamed("nonce"));
  plan.chaos = Cat("truncate-output:every=", 2 + seed % 4,
                   "s,delete-spool:every=", 4 + seed % 9,
                   "s,kill-worker:every=8s:for=1s,cut-link:every=8s:for=1s,"
                   "quiet=",
                   kChaosSeconds, "s");
  return plan;
}

RunPlan PlanDamage(uint64_t seed) {
  static constexpr std::array<std::string_view, 5> kNames = {
      "sort", "index", "join", "hot", "huge"};
  RunPlan plan;
  plan.seed = seed;
  for (const uint64_t offset : {0, 1}) {
    plan.jobs.push_back(&KindNamed(kNames[(seed + offset) % kNames.size()]));
  }
  plan.chaos =
      "flip-bit:every=150ms,truncate-output:every=300ms,swap-outputs:every="
      "300ms"
      ",flip-spill:every=150ms,corrupt-link:every=1s:for=700ms,quiet=8s";
  return plan;
}

RunPlan PlanSoak(uint64_t seed) {
  RunPlan plan;
  plan.seed = seed;
  plan.jobs = {&kKinds[seed % kKinds.size()],
               &kKinds[(seed + kKinds.size() / 2) % kKinds.size()]};
  plan.lasts = absl::Hours(2);
  // As many as there are jobs in some minutes: what masters keep of them does
  // not grow when growth is judged.
  plan.finished_jobs = 50;
  // Of all kinds together one every half minute. Only the last worker and the
  // last master are killed, so that the others show whether they grow.
  plan.chaos =
      Cat("all:every=", 30 * chaos::kFaultKinds, "s,kill-worker:of=worker-",
          kWorkers, ",kill-master:of=master-", kMasters);
  return plan;
}

}  // namespace

std::vector<const JobKind*> NextJobs(const std::vector<const JobKind*>& jobs) {
  std::vector<const JobKind*> next;
  next.reserve(jobs.size());
  for (const JobKind* job : jobs) {
    next.push_back(job == &kKinds.back() ? kKinds.data() : job + 1);
  }
  return next;
}

std::span<const JobKind> JobKinds() { return kKinds; }

std::optional<Suite> SuiteNamed(std::string_view name) {
  if (name == "mixed") return Suite::kMixed;
  if (name == "nonce") return Suite::kNonce;
  if (name == "damage") return Suite::kDamage;
  if (name == "soak") return Suite::kSoak;
  return std::nullopt;
}

RunPlan PlanRun(uint64_t seed, Suite suite) {
  switch (suite) {
    case Suite::kMixed:
      return PlanMixed(seed);
    case Suite::kNonce:
      return PlanNonce(seed);
    case Suite::kDamage:
      return PlanDamage(seed);
    case Suite::kSoak:
      return PlanSoak(seed);
  }
  return {};
}

}  // namespace millrace::chaostest
