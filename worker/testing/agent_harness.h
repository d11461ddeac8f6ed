// A scripted conversation with an AgentCore: events in, effects looked at by
// kind.
#ifndef MILLRACE_WORKER_TESTING_AGENT_HARNESS_H_
#define MILLRACE_WORKER_TESTING_AGENT_HARNESS_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "worker/agent/agent_core.h"
#include "worker/agent/job_setup.h"

namespace millrace::worker {

inline std::string Sha(char c) { return std::string(32, c); }
inline JobId Job(char digit) { return *JobId::FromHex(std::string(32, digit)); }
inline AttemptUid Uid(int n) {
  const std::string hex = Cat(absl::Hex(n, absl::kZeroPad16));
  return *AttemptUid::FromHex(hex + hex);
}
inline ClusterId Cluster(char digit) {
  return *ClusterId::FromHex(std::string(32, digit));
}

inline proto::JobSpec Spec(char program = 'p') {
  proto::JobSpec spec;
  spec.set_name("test");
  spec.set_program_sha256(Sha(program));
  spec.set_program_name("prog");
  spec.set_output("/out/dir");
  return spec;
}

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    options_.name = "w1";
    options_.version = "1.0";
    options_.host_id = "host";
    options_.address = "127.0.0.1:7";
    options_.slots = 2;
    options_.layout.root = "/w";
    options_.spool.free_bytes_min = 1000;
  }

  void Make(FoundSpool found = {}) {
    core_ = std::make_unique<AgentCore>(options_, std::move(found), *random_);
    effects_ = core_->Start();
    Tell(DiskMeasured{1 << 30});
  }

  // One step; what it gave is in effects_.
  void Tell(const Event& event) { effects_ = core_->Step(event, now_); }

  void Command(proto::MasterMessage message) {
    if (message.term() == 0) message.set_term(term_);
    Tell(MasterSays{stream_, std::move(message)});
  }

  void Open() { Tell(StreamOpened{++stream_}); }
  void Welcome(char cluster = 'c') {
    proto::MasterMessage message;
    message.mutable_welcome()->set_cluster_id(
        std::string(Cluster(cluster).bytes()));
    message.mutable_welcome()->set_heartbeat_interval_ms(1000);
    message.mutable_welcome()->set_silence_limit_ms(10'000);
    Command(message);
  }
  // A core, welcomed, that knows job a.
  void Begin() {
    Make();
    Open();
    Welcome();
    Introduce(Job('a'), Spec());
  }
  void Reopen() {
    Tell(StreamClosed{stream_});
    Open();
  }

  void Introduce(const JobId& job, const proto::JobSpec& spec) {
    proto::MasterMessage message;
    message.mutable_job()->set_job_id(std::string(job.bytes()));
    *message.mutable_job()->mutable_spec() = spec;
    Command(message);
  }

  static proto::Grant GrantOf(proto::TaskKind kind, int uid, uint32_t index,
                              const JobId& job) {
    proto::Grant grant;
    grant.set_epoch(3);
    proto::AttemptRef* ref = grant.mutable_attempt();
    ref->set_job_id(std::string(job.bytes()));
    ref->set_attempt_uid(std::string(Uid(uid).bytes()));
    ref->mutable_task()->set_kind(kind);
    ref->mutable_task()->set_index(index);
    ref->set_number(1);
    switch (kind) {
      case proto::PLAN_TASK:
        grant.mutable_plan()->set_sample_map_output(true);
        break;
      case proto::MAP_TASK:
        grant.mutable_map()->set_plan_sha256(Sha('P'));
        grant.mutable_map()->set_num_partitions(4);
        break;
      case proto::REDUCE_TASK:
        grant.mutable_reduce()->set_num_maps(2);
        grant.mutable_reduce()->set_num_partitions(4);
        break;
      case proto::CHECK_TASK:
        grant.mutable_check();
        break;
      default:
        grant.mutable_publish()->set_manifest_sha256(Sha('M'));
        break;
    }
    return grant;
  }
  void Give(const proto::Grant& grant) {
    proto::MasterMessage message;
    *message.mutable_grant() = grant;
    Command(message);
  }
  void Give(proto::TaskKind kind, int uid, uint32_t index = 0,
            const JobId& job = Job('a')) {
    Give(GrantOf(kind, uid, index, job));
  }

  void Ack(int uid) {
    proto::MasterMessage message;
    message.mutable_ack()->add_attempt_uids(std::string(Uid(uid).bytes()));
    Command(message);
  }
  void Kill(int uid, const std::string& reason = "not needed") {
    proto::MasterMessage message;
    message.mutable_kill()->set_attempt_uid(std::string(Uid(uid).bytes()));
    message.mutable_kill()->set_reason(reason);
    Command(message);
  }
  void Drop(const JobId& job, bool remove_staging = false) {
    proto::MasterMessage message;
    message.mutable_drop_job()->set_job_id(std::string(job.bytes()));
    message.mutable_drop_job()->set_output("/out/dir");
    message.mutable_drop_job()->set_remove_staging(remove_staging);
    Command(message);
  }

  // All that a map or plan attempt waits for, or a reduce but for its input.
  void Supply(int uid, const JobId& job = Job('a'), char program = 'p') {
    Tell(BlobReady{Sha(program)});
    Tell(BlobReady{Sha('P')});
    Tell(AttemptPrepared{Uid(uid), job, std::nullopt});
  }
  static InputReady TwoInputs(int uid) {
    InputReady input{Uid(uid), {}};
    for (uint32_t map = 0; map < 2; ++map) {
      proto::MapOutputRef& ref = input.map_outputs.emplace_back();
      ref.set_path(Cat("/spool/map", map));
      ref.set_map_index(map);
      ref.set_attempt_uid(std::string(Uid(100 + map).bytes()));
      ref.set_root(std::string(16, 'r'));
    }
    return input;
  }
  // Grants a map and brings it into a process; its number.
  ChildNumber RunMap(int uid, uint32_t index = 0) {
    Give(proto::MAP_TASK, uid, index);
    Supply(uid);
    const auto started = Of<StartChild>();
    if (started.empty()) return Of<RunTask>().at(0).child;
    Tell(ChildReady{started.at(0).child});
    return started.at(0).child;
  }
  void Finish(ChildNumber child, int uid) {
    proto::TaskDone done;
    done.set_attempt_uid(std::string(Uid(uid).bytes()));
    done.set_map_output_root(std::string(16, 'r'));
    done.mutable_output()->set_path("/etc/passwd");
    done.mutable_output()->set_bytes(17);
    Tell(ChildDone{child, done});
  }
  static ChildExited Exit(
      ChildNumber child,
      proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED,
      std::string message = "") {
    ChildExited exited;
    exited.child = child;
    exited.cause = cause;
    exited.message = std::move(message);
    return exited;
  }

  // The effects of one kind of the last step.
  template <typename E>
  std::vector<E> Of() const {
    std::vector<E> found;
    for (const Effect& effect : effects_) {
      if (const auto* e = std::get_if<E>(&effect)) found.push_back(*e);
    }
    return found;
  }
  std::vector<proto::Update> Updates() const {
    std::vector<proto::Update> updates;
    for (const Send& send : Of<Send>()) {
      EXPECT_EQ(send.stream, stream_);
      if (send.message.has_update()) updates.push_back(send.message.update());
    }
    return updates;
  }
  std::vector<proto::AttemptOutcome> Outcomes() const {
    std::vector<proto::AttemptOutcome> outcomes;
    for (const proto::Update& update : Updates()) {
      outcomes.insert(outcomes.end(), update.outcomes().begin(),
                      update.outcomes().end());
    }
    return outcomes;
  }
  // Of the last step, which must have sent one and nothing else.
  proto::Hello Hello() const {
    const auto sent = Of<Send>();
    EXPECT_EQ(sent.size(), 1u);
    EXPECT_TRUE(sent.at(0).message.has_hello());
    return sent.at(0).message.hello();
  }

  AgentOptions options_;
  std::unique_ptr<Random> random_ = Random::Seeded(1);
  std::unique_ptr<AgentCore> core_;
  std::vector<Effect> effects_;
  absl::Duration now_ = absl::Seconds(1000);
  StreamId stream_ = 0;
  uint64_t term_ = 5;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_TESTING_AGENT_HARNESS_H_
