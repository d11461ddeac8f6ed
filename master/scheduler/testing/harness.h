// A scheduler core with its state, and hands for what surrounds them: what is
// proposed is applied at once, or when the test says so; what is sent is kept
// for the test to read.
#ifndef MILLRACE_MASTER_SCHEDULER_TESTING_HARNESS_H_
#define MILLRACE_MASTER_SCHEDULER_TESTING_HARNESS_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "master/scheduler/scheduler_core.h"
#include "master/state/testing/entries.h"

namespace millrace::master::testing {

class Harness {
 public:
  explicit Harness(const SchedulerOptions& options = {});

  // ------------------------------------------------------------ the log
  bool hold = false;  // Proposals wait for Release().
  void Release();
  std::deque<proto::LogEntry> proposed;  // Held.
  std::vector<proto::LogEntry> log;      // Applied.
  size_t Applied(proto::LogEntry::EntryCase what) const;

  // --------------------------------------------------------- the leader
  // Another leader (or the same, started again) on the same log.
  void Restart();
  // The same master leads again, after it had lost its term.
  void LeadAgain();
  void Feed(const Event& event);
  // Time passes in steps of 100 ms, with ticks where they are due.
  void Pass(absl::Duration how_long);
  // ... without any steps, as when the process is stopped.
  void Skip(absl::Duration how_long) { now_ += how_long; }
  State& state() { return *state_; }
  SchedulerCore& core() { return *core_; }
  absl::Duration now() const { return now_; }

  // -------------------------------------------------------- the workers
  // Opens a stream and says nothing.
  SessionId OpenStream();
  void Say(SessionId session, const proto::Hello& hello);
  // Opens a stream and says Hello; `worker` is the incarnation.
  SessionId Join(uint64_t worker, const std::string& name, uint32_t slots = 1);
  proto::Hello HelloOf(uint64_t worker, const std::string& name,
                       uint32_t slots = 1);
  SessionId Open(const proto::Hello& hello);
  void Close(SessionId session);
  void Update(SessionId session, const proto::Update& update = {});
  void Beat();  // Every open stream says that its worker lives.
  using Sent = std::vector<std::shared_ptr<const proto::MasterMessage>>;
  // Takes what was sent on the stream since the last time.
  std::vector<proto::MasterMessage> Take(SessionId session);
  Sent TakeSent(SessionId session);
  // Of it, the grants; everything else is forgotten.
  std::vector<proto::Grant> TakeGrants(SessionId session);
  bool closed(SessionId session) const { return closed_.count(session) > 0; }
  void Done(SessionId session, const proto::Grant& grant,
            const proto::TaskDone& done = {});
  void Fail(SessionId session, const proto::Grant& grant,
            proto::FailureCause cause, bool retryable = true);
  void Phase(SessionId session, const proto::Grant& grant,
             proto::AttemptPhase phase);

  // -------------------------------------------------------- the clients
  proto::JobSpec Spec(const std::string& output);
  // The answer, which must have come at once.
  Reply Submit(const proto::JobSpec& spec, uint64_t request = 0);
  JobId SubmitJob(const std::string& output);
  std::map<ReplyTag, Reply> replies;
  const Job& job(const JobId& id) { return *state_->FindJob(id); }
  proto::JobStatus Status(const JobId& id);

  // Answers a grant of a plan, check or publication, a map or reduce with ten
  // records for each partition, as befits it.
  void Finish(SessionId session, const proto::Grant& grant, uint32_t maps,
              uint32_t partitions);
  // Does all that is granted on these streams until nothing more is.
  void RunAll(const std::vector<SessionId>& sessions, uint32_t maps,
              uint32_t partitions);

 private:
  void Apply(const proto::LogEntry& entry);

  const SchedulerOptions options_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<State> state_;
  std::unique_ptr<SchedulerCore> core_;
  uint64_t term_ = 0;
  bool applying_ = false;
  absl::Duration now_ = absl::Seconds(1000);
  SessionId next_session_ = 1;
  ReplyTag next_tag_ = 1;
  uint64_t next_request_ = 1000;
  std::map<SessionId, Sent> sent_;
  std::set<SessionId> open_;
  std::set<SessionId> closed_;
  uint64_t steps_ = 0;
};

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_SCHEDULER_TESTING_HARNESS_H_
