// What the leader commands. Ids of a wrong form are a bug of a master: noted
// and passed over, since there is nobody to answer for.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "common/strings.h"
#include "worker/agent/agent_core.h"
#include "worker/agent/job_setup.h"

namespace millrace::worker {
namespace {

// More tasks than a master plans.
constexpr size_t kWinnersMax = 2'000'000;

proto::TaskKind KindOf(const proto::Grant& grant) {
  switch (grant.task_case()) {
    case proto::Grant::kPlan:
      return proto::PLAN_TASK;
    case proto::Grant::kMap:
      return proto::MAP_TASK;
    case proto::Grant::kReduce:
      return proto::REDUCE_TASK;
    case proto::Grant::kCheck:
      return proto::CHECK_TASK;
    case proto::Grant::kPublish:
      return proto::PUBLISH_TASK;
    case proto::Grant::TASK_NOT_SET:
      break;
  }
  return proto::TASK_KIND_UNSPECIFIED;
}

// Of a check or publication: how many part files were named before.
uint32_t WinnersOf(const proto::Grant& grant) {
  if (grant.has_check()) return grant.check().num_winners();
  return grant.has_publish() ? grant.publish().num_winners() : 0;
}

proto::AttemptFailure Failure(proto::FailureCause cause, std::string message,
                              bool retryable) {
  proto::AttemptFailure failure;
  failure.set_cause(cause);
  failure.set_message(std::move(message));
  failure.set_retryable(retryable);
  return failure;
}

}  // namespace

void AgentCore::OnJob(const proto::JobIntroduction& introduction) {
  const auto id = JobId::FromBytes(introduction.job_id());
  if (!id.has_value()) {
    Say(true, "a job without a proper id is introduced");
    return;
  }
  if (absl::Status status = CheckSpec(introduction.spec()); !status.ok()) {
    // Its grants will fail, and say so to the leader.
    Say(true, Cat("[job=", id->ToShort(), "] ", ToStd(status.message())));
    return;
  }
  Job& job = jobs_[*id];
  if (!job.spec.has_value()) job.spec = introduction.spec();
}

void AgentCore::OnWinners(const proto::Winners& message) {
  const auto uid = AttemptUid::FromBytes(message.attempt_uid());
  if (!uid.has_value()) return;
  if (winners_of_ != *uid) winners_.clear();
  winners_of_ = *uid;
  const size_t count = message.winner_uids().size() / AttemptUid::kBytes;
  const int n = static_cast<int>(count);
  if (message.winner_uids().size() % AttemptUid::kBytes != 0 ||
      message.bytes_size() != n || message.records_size() != n ||
      message.xxh3_size() != n || message.inodes_size() != n) {
    Say(true, "winners whose lists have different lengths");
    return;  // The grant's count will not be reached.
  }
  if (winners_.size() + count > kWinnersMax) return;
  for (int i = 0; i < n; ++i) {
    WinnerFile& file = winners_.emplace_back();
    file.uid = *AttemptUid::FromBytes(message.winner_uids().substr(
        static_cast<size_t>(i) * AttemptUid::kBytes, AttemptUid::kBytes));
    file.bytes = message.bytes(i);
    file.records = message.records(i);
    file.xxh3 = message.xxh3(i);
    file.inode = message.inodes(i);
  }
}

void AgentCore::OnGrant(const proto::Grant& grant) {
  const proto::AttemptRef& ref = grant.attempt();
  const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
  const auto id = JobId::FromBytes(ref.job_id());
  if (!uid.has_value() || !id.has_value()) {
    Say(true, "a grant without proper ids");
    return;
  }
  const auto [at, is_new] = attempts_.try_emplace(*uid);
  Attempt& attempt = at->second;
  if (!is_new) {
    if (attempt.state == State::kOver) {
      attempt.told_at = -absl::InfiniteDuration();
    }
    return;
  }
  attempt.uid = *uid;
  attempt.job = *id;
  attempt.grant = grant;
  if (winners_of_ == *uid) {
    attempt.winners = std::make_shared<const std::vector<WinnerFile>>(
        std::exchange(winners_, {}));
  }
  attempt.progress.set_attempt_uid(ref.attempt_uid());
  attempt.progress_news = true;

  const bool runs_program =
      grant.has_plan() || grant.has_map() || grant.has_reduce();
  const auto job = jobs_.find(*id);
  if (job == jobs_.end() || !job->second.spec.has_value()) {
    Fail(attempt, Failure(proto::INTERNAL,
                          "granted before its job was introduced", true));
  } else if (job->second.dropping) {
    Fail(attempt, Failure(proto::CANCELLED, "its job was dropped", true));
  } else if (KindOf(grant) == proto::TASK_KIND_UNSPECIFIED ||
             KindOf(grant) != ref.task().kind()) {
    Fail(attempt, Failure(proto::INTERNAL,
                          "granted as another kind of task than it is", false));
  } else if (WinnersOf(grant) !=
             (attempt.winners == nullptr ? 0 : attempt.winners->size())) {
    Fail(attempt, Failure(proto::INTERNAL,
                          Cat("granted with ", WinnersOf(grant),
                              " part files, of which others were named before"),
                          true));
  } else if (spool_.full() && runs_program) {
    Fail(attempt, DiskFailure(spool_.Why()));
  } else {
    Prepare(attempt);
  }
}

void AgentCore::OnLocations(const proto::Locations& locations) {
  const auto id = JobId::FromBytes(locations.job_id());
  if (!id.has_value()) {
    Say(true, "locations of a job without a proper id");
    return;
  }
  const auto job = jobs_.find(*id);
  if (job != jobs_.end() && job->second.dropping) return;
  Do(UpdateLocations{locations});
}

void AgentCore::OnKill(const proto::Kill& kill) {
  const auto uid = AttemptUid::FromBytes(kill.attempt_uid());
  if (!uid.has_value()) return;
  const auto at = attempts_.find(*uid);
  if (at == attempts_.end() || at->second.state == State::kOver) return;
  Fail(at->second, Failure(proto::CANCELLED, kill.reason(), true));
}

void AgentCore::OnPassOver(const proto::PassOver& pass) {
  const auto uid = AttemptUid::FromBytes(pass.attempt_uid());
  if (!uid.has_value()) return;
  Attempt* attempt = FindIn(*uid, State::kAsking);
  if (attempt == nullptr) return;
  const auto& records = pass.bad_records();
  const bool granted = std::any_of(records.begin(), records.end(),
                                   [&](const proto::BadRecord& record) {
                                     return SameRecord(record, attempt->met);
                                   });
  if (!granted) return;  // An answer to an earlier question.
  attempt->bad_records.assign(records.begin(), records.end());
  attempt->met.Clear();
  BeginAnew(*attempt);
}

void AgentCore::OnDropAttempt(const proto::DropAttempt& drop) {
  const auto uid = AttemptUid::FromBytes(drop.attempt_uid());
  const auto id = JobId::FromBytes(drop.job_id());
  if (!uid.has_value() || !id.has_value()) return;
  const auto at = attempts_.find(*uid);
  if (at != attempts_.end() && at->second.state != State::kOver) {
    Fail(at->second, Failure(proto::CANCELLED, "nobody needs it", true));
    return;
  }
  const auto job = jobs_.find(*id);
  if (job == jobs_.end() || job->second.dropping) return;
  ForgetHeld(job->second, *uid);
  const proto::JobSpec* spec = SpecOf(*id);
  Do(DeleteAttempt{*uid, *id, spec == nullptr ? "" : spec->output()});
}

void AgentCore::OnDropJob(const proto::DropJob& drop) {
  const auto id = JobId::FromBytes(drop.job_id());
  if (!id.has_value()) return;
  // Unknown here: something of an earlier start may be on disk all the same.
  Job& job = jobs_[*id];
  job.dropping = true;
  job.dropped_by = stream_;
  for (const auto& [uid, output] : job.held) spool_.Forget(uid);
  job.held.clear();
  // What it made itself it removes unasked: the master may have had it removed
  // while this worker stood still and had not made it yet. It does not come
  // back, for attempts that write into it do not make it.
  if ((drop.remove_staging() || job.made_staging) && !drop.output().empty() &&
      drop.output()[0] == '/') {
    job.drop_output = drop.output();
  }
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    if (at->second.job != *id) {
      ++at;
      continue;
    }
    if (at->second.state != State::kOver) Release(at->second, true);
    at = attempts_.erase(at);
  }
  for (auto& [number, child] : children_) {
    if (child.job == *id && child.state == ChildState::kIdle) {
      Vacate(number, child);
    }
  }
  std::erase_if(fetch_failures_, [&](const auto& entry) {
    return entry.second.reduce().job_id() == drop.job_id();
  });
  Do(ForgetFetches{*id});
  DeleteIfAlone(*id);
}

bool AgentCore::HasChild(const JobId& id) const {
  return std::any_of(children_.begin(), children_.end(),
                     [&](const auto& entry) { return entry.second.job == id; });
}

void AgentCore::DeleteIfAlone(const JobId& id) {
  Job& job = jobs_[id];
  if (!job.dropping || job.deleting.has_value() || job.work > 0) return;
  if (HasChild(id)) return;
  job.deleting = job.drop_output;
  Do(DeleteJob{id, job.drop_output});
}

void AgentCore::OnAck(const proto::Ack& ack) {
  for (const std::string& bytes : ack.attempt_uids()) {
    const auto uid = AttemptUid::FromBytes(bytes);
    if (!uid.has_value()) continue;
    const auto at = attempts_.find(*uid);
    if (at != attempts_.end() && at->second.state == State::kOver) {
      attempts_.erase(at);
    }
  }
}

}  // namespace millrace::worker
