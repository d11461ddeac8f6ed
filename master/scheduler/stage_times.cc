#include "master/scheduler/stage_times.h"

#include <algorithm>
#include <cmath>

namespace millrace::master {
namespace {

constexpr double kClassRatio = 1.1;
// 0.1 ms; the last class is some years.
constexpr double kSecondsMin = 1e-4;
constexpr double kClassesMax = 280;
// Less than this of its work done says nothing about its rate; more than that,
// nothing about what is left.
constexpr double kDoneMin = 0.005;
constexpr double kDoneAlmost = 0.95;
// An attempt is judged by its rate after so long, and so much of what is
// typical; progress comes once a second.
constexpr absl::Duration kEvidenceMin = absl::Seconds(1);
constexpr double kEvidence = 0.2;

size_t ClassOf(absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  if (seconds <= kSecondsMin) return 0;
  return static_cast<size_t>(std::min(
      std::log(seconds / kSecondsMin) / std::log(kClassRatio), kClassesMax));
}

absl::Duration MiddleOf(size_t number) {
  return absl::Seconds(
      kSecondsMin * std::pow(kClassRatio, static_cast<double>(number) + 0.5));
}

}  // namespace

void StageTimes::Add(WorkerNumber worker, absl::Duration took) {
  const size_t number = ClassOf(took);
  if (classes_.size() <= number) classes_.resize(number + 1);
  ++classes_[number];
  ++count_;
  const auto [at, is_new] = workers_.try_emplace(worker, took);
  if (!is_new) at->second = (at->second + took) / 2;
}

void StageTimes::AddBeaten(WorkerNumber worker, absl::Duration after) {
  const auto [at, is_new] = workers_.try_emplace(worker, after);
  if (!is_new) at->second = std::max(at->second, after);
}

std::optional<absl::Duration> StageTimes::Typical() const {
  if (count_ == 0) return std::nullopt;
  uint64_t below = 0;
  size_t number = 0;
  // The lower one of the two in the middle: half of the attempts being slow
  // must not make slowness the rule.
  for (; number + 1 < classes_.size(); ++number) {
    below += classes_[number];
    if (2 * below >= count_) break;
  }
  return MiddleOf(number);
}

std::optional<absl::Duration> StageTimes::On(WorkerNumber worker) const {
  const auto at = workers_.find(worker);
  if (at == workers_.end()) return std::nullopt;
  return at->second;
}

absl::Duration TimeLeft(const Standing& standing, absl::Duration typical) {
  if (standing.done.has_value() && *standing.done >= kDoneMin) {
    const double done = *standing.done;
    if (done < kDoneAlmost) return standing.executing * (1 / done - 1);
    // It has more to do than others, nobody knows how much; but while it does
    // that at the usual rate no other attempt is faster.
    if (standing.executing < kSlowFactor * typical * done) {
      return absl::ZeroDuration();
    }
    return standing.executing;
  }
  const absl::Duration total =
      std::max(typical, standing.worker_takes.value_or(typical));
  if (standing.elapsed >= kSlowFactor * total) return standing.elapsed;
  return std::max(total - standing.elapsed, absl::ZeroDuration());
}

bool IsStraggler(const Standing& standing, absl::Duration typical) {
  const bool worker_is_slow = standing.worker_takes.has_value() &&
                              *standing.worker_takes >= kSlowFactor * typical;
  // Before that its rate means little; but a worker may be known to be slow.
  const absl::Duration evidence = std::max(kEvidenceMin, kEvidence * typical);
  if (!worker_is_slow && standing.elapsed < evidence) return false;
  const absl::Duration left = TimeLeft(standing, typical);
  return left >= typical && standing.elapsed + left >= kSlowFactor * typical;
}

}  // namespace millrace::master
