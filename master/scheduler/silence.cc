#include "master/scheduler/silence.h"

#include <algorithm>

namespace millrace::master {

std::optional<absl::Duration> CheckDueAt(const SoftState& soft,
                                         const SoftWorker& worker) {
  if (worker.losing) return std::nullopt;
  if (worker.session.has_value()) {
    return std::min(worker.last_heard + soft.options.silence_limit,
                    worker.last_said + soft.options.heartbeat_interval);
  }
  if (!worker.heard) {
    return std::max(soft.leading_since, worker.last_heard) +
           soft.options.silence_limit;
  }
  return std::max(worker.closed_at, worker.last_heard) +
         soft.options.reconnect_limit;
}

void Unwatch(SoftState& soft, SoftWorker& worker) {
  if (!worker.check_at.has_value()) return;
  soft.checks.erase({*worker.check_at, worker.entry->number});
  worker.check_at.reset();
}

void Watch(SoftState& soft, SoftWorker& worker) {
  const std::optional<absl::Duration> due = CheckDueAt(soft, worker);
  if (due.has_value() && worker.check_at.has_value() &&
      *worker.check_at <= *due) {
    return;
  }
  Unwatch(soft, worker);
  if (!due.has_value()) return;
  worker.check_at = due;
  soft.checks.insert({*due, worker.entry->number});
}

std::vector<SoftWorker*> TakeDue(SoftState& soft) {
  std::vector<SoftWorker*> due;
  for (const auto& [when, number] : soft.checks) {
    if (when > soft.now) break;
    due.push_back(&soft.workers.at(number));
  }
  std::sort(due.begin(), due.end(), [](const auto* a, const auto* b) {
    return a->entry->number < b->entry->number;
  });
  for (SoftWorker* worker : due) Unwatch(soft, *worker);
  return due;
}

void ForgiveSilence(SoftState& soft) {
  const absl::Duration more = 2 * soft.options.heartbeat_interval;
  for (auto& [number, worker] : soft.workers) {
    worker.last_heard = std::max(worker.last_heard,
                                 soft.now + more - soft.options.silence_limit);
    worker.closed_at = std::max(worker.closed_at,
                                soft.now + more - soft.options.reconnect_limit);
  }
  soft.leading_since = std::max(soft.leading_since,
                                soft.now + more - soft.options.silence_limit);
}

}  // namespace millrace::master
