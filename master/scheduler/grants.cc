#include "master/scheduler/grants.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "master/state/ledger.h"
#include "master/state/packed_done.h"

namespace millrace::master {
namespace {

// The first words of a grant, and the job's introduction before it if need be.
proto::MasterMessage NewGrant(SoftState& soft, SoftJob& job, const TaskId& task,
                              SoftWorker& worker, Attempt** attempt,
                              bool speculative = false) {
  const Job& record = *job.job;
  if (worker.introduced.insert(record.id).second) {
    proto::MasterMessage message;
    message.mutable_job()->set_job_id(std::string(record.id.bytes()));
    *message.mutable_job()->mutable_spec() = *record.spec;
    soft.SendTo(worker, std::move(message));
  }
  uint32_t number = 0;
  if (const Task* known = record.FindTask(task)) {
    number = known->attempts;
  } else if (task.kind == proto::PLAN_TASK) {
    number = record.plan_attempts;
  } else if (const Trouble* trouble = record.FindTrouble(task)) {
    number = static_cast<uint32_t>(trouble->counted.size());
  }
  if (const auto vanished = job.vanished.find(task);
      vanished != job.vanished.end()) {
    number += vanished->second;
  }
  const auto [begin, end] = job.live.equal_range(task);
  for (auto at = begin; at != end; ++at) {
    number = std::max(number, at->second->number + 1);
  }
  *attempt =
      &soft.AddAttempt(AttemptUid::Generate(soft.random), record.id, task,
                       worker.entry->number, record.epoch, number, speculative);
  proto::MasterMessage message;
  proto::Grant* grant = message.mutable_grant();
  grant->set_epoch(record.epoch);
  proto::AttemptRef* ref = grant->mutable_attempt();
  ref->set_job_id(std::string(record.id.bytes()));
  task.To(ref->mutable_task());
  ref->set_attempt_uid(std::string((*attempt)->uid.bytes()));
  ref->set_number(number);
  ref->set_speculative(speculative);
  return message;
}

// What is written in passing, spill runs or merged runs, is about as much as
// what stays.
constexpr uint64_t kSpoolFactor = 2;

// Of all maps together; the input's size while nothing else is known.
uint64_t MapOutputBytes(const Job& job) {
  if (job.maps.done == 0) return job.plan->input_bytes();
  return job.totals.map_output_bytes / job.maps.done * job.maps.total;
}

// Of a Winners: at most 54 bytes each.
constexpr int kWinnersPerMessage = 16 << 10;

// The part files of the job, in partition order. Returns how many there are.
uint32_t SendWinners(SoftState& soft, const Job& job, const Attempt& attempt,
                     SoftWorker& worker) {
  const Stage& stage = job.map_only() ? job.maps : job.reduces;
  proto::MasterMessage message;
  auto flush = [&] {
    message.mutable_winners()->set_attempt_uid(
        std::string(attempt.uid.bytes()));
    soft.SendTo(worker, std::move(message));
    message.Clear();
  };
  for (uint32_t i = 0; i < stage.total; ++i) {
    const UnpackedDone unpacked = UnpackDone(
        job, {job.map_only() ? proto::MAP_TASK : proto::REDUCE_TASK, i});
    const proto::OutputFile& file = unpacked.done.output();
    proto::Winners* winners = message.mutable_winners();
    winners->mutable_winner_uids()->append(stage.tasks[i].uid.bytes());
    winners->add_bytes(file.bytes());
    winners->add_records(file.records());
    winners->add_xxh3(file.xxh3());
    winners->add_inodes(file.inode());
    if (winners->bytes_size() == kWinnersPerMessage) flush();
  }
  if (message.has_winners()) flush();
  return stage.total;
}

// Of the maps that have one: of a job's million, a thousand at most.
template <typename Grant>
void AddDeadLetters(const Job& job, Grant* grant) {
  std::optional<uint32_t> last;
  for (const auto& [place, record] : *job.bad_records) {
    if (last == place.map) continue;
    last = place.map;
    const UnpackedDone unpacked = UnpackDone(job, {proto::MAP_TASK, place.map});
    if (!unpacked.done.has_dead_letter()) continue;  // It did not crash there.
    const proto::OutputFile& file = unpacked.done.dead_letter();
    proto::DeadLetter* letter = grant->add_dead_letters();
    letter->set_map_index(place.map);
    letter->set_attempt_uid(unpacked.done.attempt_uid());
    letter->set_bytes(file.bytes());
    letter->set_records(file.records());
    letter->set_xxh3(file.xxh3());
    letter->set_inode(file.inode());
  }
}

}  // namespace

void GrantPlan(SoftState& soft, SoftJob& job, SoftWorker& worker) {
  Attempt* attempt = nullptr;
  proto::MasterMessage message =
      NewGrant(soft, job, {proto::PLAN_TASK, 0}, worker, &attempt);
  // What crashes or hangs in a sample does so once. An attempt that was lost
  // says nothing of the program, and the next one is to plan the same.
  const Trouble* trouble = job.job->FindTrouble({proto::PLAN_TASK, 0});
  message.mutable_grant()->mutable_plan()->set_sample_map_output(
      trouble == nullptr || trouble->user_failures == 0);
  soft.SendTo(worker, std::move(message));
}

void GrantMap(SoftState& soft, SoftJob& job, uint32_t map, SoftWorker& worker,
              bool speculative) {
  Attempt* attempt = nullptr;
  proto::MasterMessage message = NewGrant(soft, job, {proto::MAP_TASK, map},
                                          worker, &attempt, speculative);
  proto::MapGrant* grant = message.mutable_grant()->mutable_map();
  grant->set_plan_sha256(job.job->plan_sha256);
  grant->set_num_partitions(job.job->reduces.total);
  if (!job.job->map_only()) {
    message.mutable_grant()->set_spool_bytes(
        kSpoolFactor * MapOutputBytes(*job.job) / job.job->maps.total);
  }
  for (const proto::BadRecord* record : job.job->BadRecordsOf(map)) {
    *grant->add_bad_records() = *record;
  }
  soft.SendTo(worker, std::move(message));
}

void GrantReduce(SoftState& soft, SoftJob& job, uint32_t partition,
                 SoftWorker& worker, bool speculative) {
  Attempt* attempt = nullptr;
  proto::MasterMessage message =
      NewGrant(soft, job, {proto::REDUCE_TASK, partition}, worker, &attempt,
               speculative);
  proto::ReduceGrant* grant = message.mutable_grant()->mutable_reduce();
  grant->set_num_maps(job.job->maps.total);
  grant->set_num_partitions(job.job->reduces.total);
  message.mutable_grant()->set_spool_bytes(
      kSpoolFactor * MapOutputBytes(*job.job) / job.job->reduces.total);
  soft.SendTo(worker, std::move(message));
}

void GrantCheck(SoftState& soft, SoftJob& job, SoftWorker& worker) {
  Attempt* attempt = nullptr;
  proto::MasterMessage message =
      NewGrant(soft, job, {proto::CHECK_TASK, 0}, worker, &attempt);
  const Job& record = *job.job;
  attempt->winners_hash = WinnersHash(record);
  proto::CheckGrant* grant = message.mutable_grant()->mutable_check();
  grant->set_num_winners(SendWinners(soft, record, *attempt, worker));
  for (uint32_t i = 0; i < record.totals.counters.size(); ++i) {
    proto::Counter* counter = grant->add_counters();
    counter->set_group(record.counter_names.Name(i).first);
    counter->set_name(record.counter_names.Name(i).second);
    counter->set_value(record.totals.counters[i]);
  }
  for (const auto& [line, value] : LedgerLines(record.totals.ledger)) {
    (*grant->mutable_ledger())[line] = value;
  }
  AddDeadLetters(record, grant);
  *grant->mutable_plan() = *record.plan;
  grant->set_plan_sha256(record.plan_sha256);
  grant->set_created_at_ms(soft.wall_ms);
  soft.SendTo(worker, std::move(message));
}

void GrantPublish(SoftState& soft, SoftJob& job, SoftWorker& worker) {
  Attempt* attempt = nullptr;
  proto::MasterMessage message =
      NewGrant(soft, job, {proto::PUBLISH_TASK, 0}, worker, &attempt);
  proto::PublishGrant* grant = message.mutable_grant()->mutable_publish();
  grant->set_num_winners(SendWinners(soft, *job.job, *attempt, worker));
  grant->set_manifest_sha256(job.job->manifest_sha256);
  AddDeadLetters(*job.job, grant);
  soft.SendTo(worker, std::move(message));
}

}  // namespace millrace::master
