// What attempts may use of the disk.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "worker/agent/agent_core.h"

namespace millrace::worker {

void AgentCore::LookAtDisk() {
  disk_measured_ = now_;
  MeasureDisk look;
  for (const auto& [uid, attempt] : attempts_) {
    const proto::Grant& grant = attempt.grant;
    const bool has_files =
        grant.has_plan() || grant.has_map() || grant.has_reduce();
    if (has_files && attempt.state != State::kOver && !attempt.room_missing) {
      look.attempts.emplace_back(attempt.job, uid);
    }
  }
  Do(std::move(look));
}

void AgentCore::On(const DiskMeasured& event) {
  spool_.Measured(event.free_bytes, event.written);
  while (const std::optional<AttemptUid> uid = spool_.Excess()) {
    const auto at = attempts_.find(*uid);
    if (at == attempts_.end() || at->second.state == State::kOver) {
      spool_.Release(*uid);
      continue;
    }
    Fail(at->second,
         DiskFailure(Cat("the spool has ", HumanBytes(spool_.spool_bytes()),
                         ", which is more than ",
                         HumanBytes(spool_.spool_bytes_max()),
                         " (--spool-limit), and this attempt most of all: ",
                         HumanBytes(spool_.WrittenBy(*uid)))));
  }
}

proto::AttemptFailure AgentCore::DiskFailure(std::string message) const {
  proto::AttemptFailure failure;
  failure.set_cause(proto::DISK_FULL);
  failure.set_message(Cat(message, ", below ", options_.layout.root,
                          " of worker ", options_.name));
  failure.set_retryable(true);
  return failure;
}

void AgentCore::GiveRoom() {
  std::vector<Attempt*> waiting;
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.room_missing && attempt.state == State::kPreparing) {
      waiting.push_back(&attempt);
    }
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const Attempt* a, const Attempt* b) {
              return std::pair(a->room_missing_since, a->uid) <
                     std::pair(b->room_missing_since, b->uid);
            });
  for (Attempt* attempt : waiting) {
    const uint64_t bytes = attempt->grant.spool_bytes();
    if (spool_.Reserve(attempt->uid, attempt->grant.has_reduce(), bytes)) {
      attempt->room_missing = false;
      PrepareFiles(*attempt, /*begins_anew=*/false);
    } else if (!attempt->grant.has_reduce() &&
               now_ - attempt->room_missing_since >= options_.room_patience) {
      Fail(*attempt,
           DiskFailure(Cat("no room for some ", HumanBytes(bytes), ": ",
                           HumanBytes(spool_.free_bytes()),
                           " are free, and other attempts need them")));
    }
  }
}

void AgentCore::NoteDisk() {
  spool_.Review();
  if (spool_.low() == disk_low_) return;
  disk_low_ = spool_.low();
  disk_news_ = true;
  Say(disk_low_,
      disk_low_ ? Cat("takes no attempts: ", spool_.Why(), ", below ",
                      options_.layout.root)
                : Cat("takes attempts again: ", HumanBytes(spool_.free_bytes()),
                      " are free below ", options_.layout.root));
}

void AgentCore::ForgetHeld(Job& job, const AttemptUid& uid) {
  job.held.erase(uid);
  spool_.Forget(uid);
}

}  // namespace millrace::worker
