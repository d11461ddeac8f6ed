#include "chaos/schedule.h"

#include <algorithm>

namespace millrace::chaos {
namespace {

// From `low` halves of the time to `high` halves of it.
absl::Duration Around(absl::Duration time, int low, int high, Random& random) {
  const int64_t us = absl::ToInt64Microseconds(time) / 2;
  const auto width = static_cast<uint64_t>(us * (high - low)) + 1;
  return absl::Microseconds(us * low +
                            static_cast<int64_t>(random.Uniform(width)));
}

std::vector<std::string> VictimsOf(const FaultRate& rate,
                                   const Population& population) {
  const VictimRole role = InfoOf(rate.kind).victims;
  std::vector<std::string> victims;
  if (role != VictimRole::kMaster) victims = population.workers;
  if (role != VictimRole::kWorker) {
    victims.insert(victims.end(), population.masters.begin(),
                   population.masters.end());
  }
  if (!rate.of.empty()) {
    const bool there =
        std::find(victims.begin(), victims.end(), rate.of) != victims.end();
    victims =
        there ? std::vector<std::string>{rate.of} : std::vector<std::string>{};
  }
  return victims;
}

}  // namespace

Schedule::Schedule(const ChaosSpec& spec, uint64_t seed,
                   const Population& population)
    : quiet_after_(spec.quiet_after) {
  for (const FaultRate& rate : spec.rates) {
    Stream stream;
    stream.rate = rate;
    stream.victims = VictimsOf(rate, population);
    if (stream.victims.empty()) continue;
    // The first number of a generator decides the seed of the kind's, so that
    // neighbouring seeds and kinds have nothing in common.
    stream.random = Random::Seeded(
        Random::Seeded(seed * kFaultKinds + static_cast<uint64_t>(rate.kind))
            ->Next64());
    // The first one comes at any time of its interval.
    stream.next = Around(rate.every, 0, 2, *stream.random);
    streams_.push_back(std::move(stream));
  }
}

std::optional<PlannedFault> Schedule::Next() {
  const auto first = std::min_element(
      streams_.begin(), streams_.end(),
      [](const Stream& a, const Stream& b) { return a.next < b.next; });
  if (first == streams_.end() || first->next >= quiet_after_) {
    return std::nullopt;
  }
  Random& random = *first->random;
  PlannedFault fault;
  fault.at = first->next;
  fault.kind = first->rate.kind;
  fault.victim = first->victims[random.Uniform(first->victims.size())];
  fault.length = Around(first->rate.length, 1, 2, random);
  fault.by = first->rate.by;
  fault.detail = random.Next64();
  first->next += Around(first->rate.every, 1, 3, random);
  return fault;
}

}  // namespace millrace::chaos
