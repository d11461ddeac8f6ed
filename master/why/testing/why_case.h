// A leader with workers and jobs, asked what they wait for.
#ifndef MILLRACE_MASTER_WHY_TESTING_WHY_CASE_H_
#define MILLRACE_MASTER_WHY_TESTING_WHY_CASE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"
#include "master/why/why.h"

namespace millrace::master::testing {

inline constexpr TaskId kPlan{proto::PLAN_TASK, 0};
inline constexpr TaskId kCheck{proto::CHECK_TASK, 0};
inline constexpr TaskId kPublish{proto::PUBLISH_TASK, 0};
inline TaskId M(uint32_t map) { return {proto::MAP_TASK, map}; }
inline TaskId R(uint32_t partition) { return {proto::REDUCE_TASK, partition}; }

class WhyCase : public ::testing::Test {
 protected:
  explicit WhyCase(const SchedulerOptions& options = {}) : h_(options) {}

  struct Granted {
    int worker = 0;
    proto::Grant grant;
  };

  // Worker "w<n>".
  void Join(int n, uint32_t slots = 1) {
    sessions_[n] = h_.Join(static_cast<uint64_t>(n), Cat("w", n), slots);
  }
  void Join(const std::vector<int>& workers, uint32_t slots = 1) {
    for (int n : workers) Join(n, slots);
  }
  void Kill(int n) {
    h_.Close(sessions_.at(n));
    sessions_.erase(n);
  }
  // Beats once a second, as workers do.
  void Pass(absl::Duration how_long) {
    for (; how_long > absl::ZeroDuration(); how_long -= absl::Seconds(1) / 2) {
      h_.Pass(std::min(how_long, absl::Seconds(1) / 2));
      h_.Beat();
    }
  }

  // A job whose plan is made.
  JobId Plan(const std::string& output, uint32_t maps, uint32_t partitions,
             bool speculation_off = false) {
    proto::JobSpec spec = h_.Spec(output);
    spec.set_speculation_off(speculation_off);
    spec.set_task_timeout_ms(600'000);
    const JobId job = h_.Submit(spec).job;
    sizes_[job] = {maps, partitions};
    Do(job, kPlan);
    return job;
  }
  // The last attempt that was granted of the task; the test fails if there is
  // none.
  Granted Find(const JobId& job, const TaskId& task) {
    const std::vector<Granted> all = All(job, task);
    EXPECT_FALSE(all.empty()) << ToString(task) << " has not been granted";
    return all.empty() ? Granted{1, {}} : all.back();
  }
  std::vector<Granted> All(const JobId& job, const TaskId& task) {
    for (const auto& [n, session] : sessions_) {
      for (proto::Grant& grant : h_.TakeGrants(session)) {
        grants_.push_back({n, std::move(grant)});
      }
    }
    std::vector<Granted> found;
    for (const Granted& one : grants_) {
      if (one.grant.attempt().job_id() == job.bytes() &&
          TaskId::From(one.grant.attempt().task()) == task) {
        found.push_back(one);
      }
    }
    return found;
  }
  bool IsGranted(const JobId& job, const TaskId& task) {
    return !All(job, task).empty();
  }
  int WorkerOf(const JobId& job, const TaskId& task) {
    return Find(job, task).worker;
  }
  void Do(const JobId& job, const TaskId& task) {
    const Granted one = Find(job, task);
    const auto [maps, partitions] = sizes_.at(job);
    h_.Finish(sessions_.at(one.worker), one.grant, maps, partitions);
  }
  void Fail(const JobId& job, const TaskId& task, proto::FailureCause cause,
            bool retryable = true) {
    const Granted one = Find(job, task);
    h_.Fail(sessions_.at(one.worker), one.grant, cause, retryable);
  }
  void Phase(const JobId& job, const TaskId& task, proto::AttemptPhase phase,
             uint64_t records = 0) {
    const Granted one = Find(job, task);
    proto::Update update;
    proto::AttemptProgress* progress = update.add_progress();
    progress->set_attempt_uid(one.grant.attempt().attempt_uid());
    progress->set_phase(phase);
    progress->set_records(records);
    h_.Update(sessions_.at(one.worker), update);
  }
  // The reduce's worker says that it cannot fetch the map's output.
  void FailFetch(const JobId& job, uint32_t reduce, uint32_t map, bool gone,
                 const std::string& message) {
    const Granted reader = Find(job, R(reduce));
    const Task& task = h_.job(job).maps.tasks[map];
    proto::Update update;
    proto::FetchFailure* failure = update.add_fetch_failures();
    *failure->mutable_reduce() = reader.grant.attempt();
    failure->set_map_index(map);
    failure->set_map_uid(std::string(task.uid.bytes()));
    failure->set_source(
        std::string(h_.state().workers()[task.worker].incarnation.bytes()));
    failure->set_gone(gone);
    failure->set_message(message);
    h_.Update(sessions_.at(reader.worker), update);
  }

  absl::Status Ask(const JobId& job, const TaskId* task,
                   proto::WhyReply* reply) {
    return ExplainWait(h_.core(), h_.job(job), task, h_.now(), 1'000'000,
                       reply);
  }
  proto::WhyReply Why(const JobId& job) {
    proto::WhyReply reply;
    EXPECT_TRUE(Ask(job, nullptr, &reply).ok());
    return reply;
  }
  proto::WhyReply Why(const JobId& job, const TaskId& task) {
    proto::WhyReply reply;
    EXPECT_TRUE(Ask(job, &task, &reply).ok());
    EXPECT_TRUE(TaskId::From(reply.task()) == task);
    return reply;
  }
  // "0 MAPS_MISSING", "1 SLOTS_TAKEN", ...
  static std::vector<std::string> Codes(const proto::WhyReply& reply) {
    std::vector<std::string> codes;
    for (const proto::WhyCause& cause : reply.causes()) {
      codes.push_back(
          Cat(cause.depth(), " ", proto::WhyCode_Name(cause.code())));
    }
    return codes;
  }
  // The first of the code; the test fails if there is none.
  static proto::WhyCause Cause(const proto::WhyReply& reply,
                               proto::WhyCode code) {
    for (const proto::WhyCause& cause : reply.causes()) {
      if (cause.code() == code) return cause;
    }
    ADD_FAILURE() << "no " << proto::WhyCode_Name(code) << " in "
                  << ::testing::PrintToString(Codes(reply));
    return {};
  }
  static std::vector<std::string> Workers(const proto::WhyCause& cause) {
    return {cause.workers().begin(), cause.workers().end()};
  }

  Harness h_;
  std::map<int, SessionId> sessions_;
  std::map<JobId, std::pair<uint32_t, uint32_t>> sizes_;
  std::vector<Granted> grants_;
};

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_WHY_TESTING_WHY_CASE_H_
