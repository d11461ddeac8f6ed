#include "master/scheduler/exclusion.h"

#include <algorithm>

namespace millrace::master {

size_t Exclusions::Most(const ExclusionRules& rules, size_t workers) {
  if (workers < 2) return 0;
  return std::max<size_t>(
      1, static_cast<size_t>(rules.share * static_cast<double>(workers)));
}

void Exclusions::OnFailure(WorkerNumber worker, const JobId& job,
                           const TaskId& task, const std::string& why,
                           absl::Duration now) {
  if (rules_.failures == 0) return;
  Record& record = workers_[worker];
  record.why = why;
  const std::pair<JobId, TaskId> key(job, task);
  std::erase_if(record.failures,
                [&key](const Failure& one) { return one.task == key; });
  record.failures.push_back({key, now});
  if (record.failures.size() > rules_.failures) record.failures.pop_front();
  changed_ |= record.failures.size() >= rules_.failures;
  next_change_ = std::min(next_change_, now + rules_.window);
  if (record.standing == Standing::kProbation) Exclude(record, now);
}

void Exclusions::OnSuccess(WorkerNumber worker) {
  const auto at = workers_.find(worker);
  if (at == workers_.end()) return;
  Record& record = at->second;
  // What it had been given before; it says nothing of now.
  if (record.standing == Standing::kExcluded) return;
  if (record.standing == Standing::kProbation) {
    record.standing = Standing::kGood;
    record.failures.clear();
    changed_ = true;
  } else if (!record.failures.empty()) {
    record.failures.pop_front();
  }
  if (record.failures.empty() && record.last_term == absl::ZeroDuration()) {
    workers_.erase(at);
  }
}

void Exclusions::Exclude(Record& record, absl::Duration now) {
  const bool again = record.last_term > absl::ZeroDuration() &&
                     now - record.until < rules_.window;
  record.last_term = again
                         ? std::min(2 * record.last_term, rules_.exclusion_max)
                         : rules_.exclusion;
  record.standing = Standing::kExcluded;
  record.excluded_at = now;
  record.until = now + record.last_term;
  changed_ = true;
}

void Exclusions::Update(const std::set<WorkerNumber>& candidates,
                        absl::Duration now) {
  Judge(candidates, now);
  changed_ = false;
  next_change_ = NextUpdate();
  for (const auto& [worker, record] : workers_) {
    if (record.failures.empty()) continue;
    next_change_ =
        std::min(next_change_, record.failures.front().at + rules_.window);
  }
}

void Exclusions::Judge(const std::set<WorkerNumber>& candidates,
                       absl::Duration now) {
  std::vector<Record*> excluded;
  for (auto& [worker, record] : workers_) {
    while (!record.failures.empty() &&
           now - record.failures.front().at > rules_.window) {
      record.failures.pop_front();
    }
    if (record.standing == Standing::kExcluded && now >= record.until) {
      record.standing = Standing::kProbation;
    }
    if (record.standing == Standing::kExcluded &&
        candidates.count(worker) > 0) {
      excluded.push_back(&record);
    }
  }
  const size_t most = Most(rules_, candidates.size());
  std::stable_sort(excluded.begin(), excluded.end(),
                   [](const Record* a, const Record* b) {
                     return a->excluded_at < b->excluded_at;
                   });
  size_t count = excluded.size();
  for (Record* record : excluded) {
    if (count <= most) break;
    record->standing = Standing::kProbation;
    --count;
  }
  for (auto& [worker, record] : workers_) {
    if (count >= most) return;
    if (record.standing == Standing::kGood && candidates.count(worker) > 0 &&
        record.failures.size() >= rules_.failures) {
      Exclude(record, now);
      ++count;
    }
  }
}

Exclusions::Standing Exclusions::Of(WorkerNumber worker) const {
  const auto at = workers_.find(worker);
  return at == workers_.end() ? Standing::kGood : at->second.standing;
}

std::vector<WorkerNumber> Exclusions::NotGood() const {
  std::vector<WorkerNumber> found;
  for (const auto& [worker, record] : workers_) {
    if (record.standing != Standing::kGood) found.push_back(worker);
  }
  return found;
}

std::string Exclusions::Why(WorkerNumber worker) const {
  const auto at = workers_.find(worker);
  if (at == workers_.end() || at->second.standing == Standing::kGood) return "";
  return at->second.why;
}

absl::Duration Exclusions::Until(WorkerNumber worker) const {
  const auto at = workers_.find(worker);
  return at == workers_.end() ? absl::ZeroDuration() : at->second.until;
}

absl::Duration Exclusions::NextUpdate() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [worker, record] : workers_) {
    if (record.standing == Standing::kExcluded) {
      next = std::min(next, record.until);
    }
  }
  return next;
}

}  // namespace millrace::master
