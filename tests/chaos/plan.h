// What a run is made of, as its suite and seed say: which jobs, which chaos.
// Pure.
#ifndef MILLRACE_TESTS_CHAOS_PLAN_H_
#define MILLRACE_TESTS_CHAOS_PLAN_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace millrace::chaostest {

inline constexpr int kMasters = 3;
inline constexpr int kWorkers = 4;
inline constexpr int kSlots = 2;
inline constexpr int kReducers = 4;

// How a job must end.
enum class Expected {
  kReferenceBytes,  // It succeeds with the bytes of a local run.
  kPairs,           // It succeeds with pairs of nonces, or says why it cannot.
  kUserFailure,     // It fails for what its own code does.
};

struct JobKind {
  std::string_view name;          // In records.
  std::string_view program;       // chaos_count, chaos_sort, chaos_mixed.
  std::string_view kind;          // See tests/chaos/jobs.
  std::string_view misbehaviour;  // Likewise.
  bool empty_input;
  Expected expected;
};

std::span<const JobKind> JobKinds();

// What runs are about.
enum class Suite {
  kMixed,   // Two kinds of jobs, every kind of fault.
  kNonce,   // Non-deterministic maps, whose outputs are lost after some reduces
            // have fetched from them.
  kDamage,  // Bits, ends and names of intermediate data, on disk and on the
            // way.
  kSoak,    // Two hours of all jobs in turn, a fault every half minute.
};

std::optional<Suite> SuiteNamed(std::string_view name);

struct RunPlan {
  uint64_t seed = 0;
  // At the same time; of a run that lasts, then the next kinds in turn.
  std::vector<const JobKind*> jobs;
  std::string chaos;  // --chaos
  // Zero: until the jobs have ended, once.
  absl::Duration lasts = absl::ZeroDuration();
  int finished_jobs = 0;  // That masters keep; 0: as many as by default.
};

// Mixed runs: every kind comes once in as many consecutive seeds as there are
// kinds, beside a second one that is drawn.
RunPlan PlanRun(uint64_t seed, Suite suite = Suite::kMixed);

// What follows on these jobs in a run that lasts.
std::vector<const JobKind*> NextJobs(const std::vector<const JobKind*>& jobs);

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_PLAN_H_
