#include "master/scheduler/testing/harness.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "master/scheduler/testing/index_check.h"

namespace millrace::master::testing {
namespace {

// With fewer workers and jobs the index is looked at after every step.
constexpr size_t kSmall = 50;

}  // namespace

Harness::Harness(const SchedulerOptions& options)
    : options_(options),
      random_(Random::Seeded(7)),
      state_(std::make_unique<State>()),
      core_(std::make_unique<SchedulerCore>(options_, *state_, *random_)) {
  Feed(BecameLeader{++term_, {}});
}

void Harness::Restart() {
  proposed.clear();
  open_.clear();
  core_ = std::make_unique<SchedulerCore>(options_, *state_, *random_);
  Feed(BecameLeader{++term_, {}});
}

void Harness::LeadAgain() {
  term_ = std::max(term_, state_->applied_term()) + 1;
  Feed(BecameLeader{term_, {}});
}

size_t Harness::Applied(proto::LogEntry::EntryCase what) const {
  size_t count = 0;
  for (const proto::LogEntry& entry : log) count += entry.entry_case() == what;
  return count;
}

void Harness::Apply(const proto::LogEntry& entry) {
  const uint64_t index = state_->applied_index() + 1;
  const ApplyResult result = state_->Apply(index, term_, entry);
  if (result.applied()) log.push_back(entry);
  Feed(EntryApplied{index, term_, &entry, &result});
}

void Harness::Release() {
  hold = false;
  while (!proposed.empty()) {
    const proto::LogEntry entry = std::move(proposed.front());
    proposed.pop_front();
    Apply(entry);
  }
}

void Harness::Feed(const Event& event) {
  const std::vector<Effect> effects = core_->Step(event, now_, 1'000'000);
  const SoftState& soft = core_->soft_state();
  // A look at everything takes its time.
  const bool small = soft.workers.size() + soft.jobs.size() < kSmall &&
                     soft.attempts.size() < kSmall;
  ++steps_;
  if (steps_ % (small && steps_ < 5'000 ? 1 : 1'000) == 0) {
    const std::string fault = IndexFault(soft);
    CHECK(fault.empty()) << "the index is wrong: " << fault;
  }
  for (const Effect& effect : effects) {
    if (const auto* propose = std::get_if<Propose>(&effect)) {
      proposed.push_back(propose->entry);
    } else if (const auto* send = std::get_if<Send>(&effect)) {
      CHECK_EQ(send->message->term(), term_);
      sent_[send->session].push_back(send->message);
    } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
      closed_.insert(close->session);
      open_.erase(close->session);
    } else if (const auto* reply = std::get_if<Reply>(&effect)) {
      CHECK(replies.emplace(reply->tag, *reply).second);
    }
  }
  if (applying_) return;  // Below, by the call that this one is part of.
  applying_ = true;
  while (!hold && !proposed.empty()) {
    const proto::LogEntry entry = std::move(proposed.front());
    proposed.pop_front();
    Apply(entry);
  }
  applying_ = false;
}

void Harness::Pass(absl::Duration how_long) {
  const absl::Duration end = now_ + how_long;
  while (now_ < end) {
    now_ = std::min(end, now_ + absl::Milliseconds(100));
    if (core_->NextDeadline() <= now_) Feed(Tick{});
  }
}

proto::Hello Harness::HelloOf(uint64_t worker, const std::string& name,
                              uint32_t slots) {
  proto::Hello hello;
  hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
  hello.set_name(name);
  hello.set_incarnation(Bytes(worker));
  hello.set_slots(slots);
  hello.set_address(name + ":1");
  hello.set_spool_dir("/spool/" + name);
  return hello;
}

SessionId Harness::OpenStream() {
  const SessionId session = next_session_++;
  open_.insert(session);
  Feed(WorkerStreamOpened{session});
  return session;
}

void Harness::Say(SessionId session, const proto::Hello& hello) {
  WorkerStreamMessage message{session, {}};
  *message.message.mutable_hello() = hello;
  Feed(message);
}

SessionId Harness::Open(const proto::Hello& hello) {
  const SessionId session = OpenStream();
  Say(session, hello);
  return session;
}

SessionId Harness::Join(uint64_t worker, const std::string& name,
                        uint32_t slots) {
  return Open(HelloOf(worker, name, slots));
}

void Harness::Close(SessionId session) {
  open_.erase(session);
  Feed(WorkerStreamClosed{session});
}

void Harness::Update(SessionId session, const proto::Update& update) {
  WorkerStreamMessage message{session, {}};
  *message.message.mutable_update() = update;
  Feed(message);
}

void Harness::Beat() {
  const std::set<SessionId> sessions = open_;
  for (SessionId session : sessions) Update(session);
}

Harness::Sent Harness::TakeSent(SessionId session) {
  return std::exchange(sent_[session], {});
}

std::vector<proto::MasterMessage> Harness::Take(SessionId session) {
  std::vector<proto::MasterMessage> messages;
  for (const auto& message : TakeSent(session)) messages.push_back(*message);
  return messages;
}

std::vector<proto::Grant> Harness::TakeGrants(SessionId session) {
  std::vector<proto::Grant> grants;
  for (const proto::MasterMessage& message : Take(session)) {
    if (message.has_grant()) grants.push_back(message.grant());
  }
  return grants;
}

void Harness::Done(SessionId session, const proto::Grant& grant,
                   const proto::TaskDone& done) {
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = grant.attempt();
  outcome->set_epoch(grant.epoch());
  *outcome->mutable_done() = done;
  outcome->set_plan_sha256(std::string(32, 'p'));
  outcome->set_manifest_sha256(std::string(32, 'm'));
  Update(session, update);
}

void Harness::Fail(SessionId session, const proto::Grant& grant,
                   proto::FailureCause cause, bool retryable) {
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = grant.attempt();
  outcome->set_epoch(grant.epoch());
  outcome->mutable_failed()->set_cause(cause);
  outcome->mutable_failed()->set_message("it failed");
  outcome->mutable_failed()->set_retryable(retryable);
  Update(session, update);
}

void Harness::Phase(SessionId session, const proto::Grant& grant,
                    proto::AttemptPhase phase) {
  proto::Update update;
  update.add_progress()->set_attempt_uid(grant.attempt().attempt_uid());
  update.mutable_progress(0)->set_phase(phase);
  Update(session, update);
}

proto::JobSpec Harness::Spec(const std::string& output) {
  proto::JobSpec spec;
  spec.set_name("job of " + output);
  spec.set_program_sha256(std::string(32, 'x'));
  spec.add_inputs("/in");
  spec.set_output(output);
  return spec;
}

Reply Harness::Submit(const proto::JobSpec& spec, uint64_t request) {
  ClientSubmit submit;
  submit.tag = next_tag_++;
  submit.request_id =
      MakeId<RequestId>(request != 0 ? request : next_request_++);
  submit.spec = spec;
  Feed(submit);
  CHECK_EQ(replies.count(submit.tag), 1u);
  return replies[submit.tag];
}

JobId Harness::SubmitJob(const std::string& output) {
  const Reply reply = Submit(Spec(output));
  CHECK(reply.status.ok()) << reply.status.ToString();
  return reply.job;
}

proto::JobStatus Harness::Status(const JobId& id) {
  proto::JobStatus status;
  core_->FillJobStatus(job(id), &status);
  return status;
}

void Harness::Finish(SessionId session, const proto::Grant& grant,
                     uint32_t maps, uint32_t partitions) {
  switch (grant.task_case()) {
    case proto::Grant::kPlan: {
      proto::TaskDone done;
      done.set_num_maps(maps);
      done.set_num_partitions(partitions);
      return Done(session, grant, done);
    }
    case proto::Grant::kMap:
      return Done(session, grant,
                  MapDone(10 * partitions, grant.attempt().task().index()));
    case proto::Grant::kReduce:
      return Done(session, grant, ReduceDone(10 * maps, "/part"));
    default:
      return Done(session, grant);
  }
}

void Harness::RunAll(const std::vector<SessionId>& sessions, uint32_t maps,
                     uint32_t partitions) {
  for (bool any = true; any;) {
    any = false;
    for (SessionId session : sessions) {
      for (const proto::Grant& grant : TakeGrants(session)) {
        any = true;
        Finish(session, grant, maps, partitions);
      }
    }
  }
}

}  // namespace millrace::master::testing
