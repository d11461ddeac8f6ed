// The JSON side of job_format.h.
#include <nlohmann/json.hpp>

#include "cli/job_format.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

Json TimeJson(int64_t ms) {
  if (ms == 0) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(ms),
                          absl::UTCTimeZone());
}

Json TotalsJson(const proto::TaskTotals& totals) {
  return {{"total", totals.total()},
          {"done", totals.done()},
          {"running", totals.running()}};
}

Json LargestReduceJson(const proto::JobStatus& status) {
  if (!status.has_largest_reduce()) return nullptr;
  return {{"reduce", status.largest_reduce().reduce()},
          {"records", status.largest_reduce().records()},
          {"records_of_all", status.largest_reduce().records_of_all()}};
}

Json CauseJson(const proto::JobStatus& status) {
  if (!status.has_failure()) return nullptr;
  const proto::JobFailure& failure = status.failure();
  Json json;
  json["code"] = proto::FailureCause_Name(failure.cause());
  json["text"] = failure.message();
  const bool attempt = failure.has_attempt();
  json["task"] = attempt ? Json(TaskText(failure.attempt().task())) : nullptr;
  json["attempt"] = attempt ? Json(failure.attempt().number()) : nullptr;
  json["worker"] =
      failure.worker().empty() ? Json(nullptr) : Json(failure.worker());
  return json;
}

Json SpecJson(const proto::JobSpec& spec) {
  Json json;
  json["program"] = spec.program_name();
  json["program_sha256"] = HexEncode(spec.program_sha256());
  json["job"] = spec.description().name();
  json["millrace_version"] = spec.description().millrace_version();
  json["arguments"] = Json::array();
  for (const std::string& argument : spec.arguments()) {
    json["arguments"].push_back(argument);
  }
  json["inputs"] = Json::array();
  for (const std::string& input : spec.inputs()) {
    json["inputs"].push_back(input);
  }
  json["rows"] = spec.sequence_rows();
  json["reducers"] = spec.num_reducers();
  json["split_bytes"] = spec.split_bytes();
  json["memory_bytes"] = spec.memory_budget_bytes();
  json["memory_limit_bytes"] = spec.memory_limit_bytes();
  json["log_limit_bytes"] = spec.log_bytes_max();
  json["output_limit_bytes"] = spec.output_bytes_max();
  json["task_timeout_ms"] = spec.task_timeout_ms();
  json["task_time_limit_ms"] = spec.task_time_limit_ms();
  json["max_attempts"] = spec.max_attempts();
  json["codec"] = spec.map_output_codec();
  json["side_files"] = Json::array();
  for (const proto::SideBlob& side : spec.side_files()) {
    json["side_files"].push_back(
        {{"name", side.name()}, {"sha256", HexEncode(side.sha256())}});
  }
  json["skip_bad_records"] = spec.skip_bad_records();
  json["paranoid"] = spec.paranoid();
  json["fresh_process"] = spec.fresh_process();
  json["speculation"] = !spec.speculation_off();
  return json;
}

Json TaskJson(const proto::TaskStatus& task) {
  Json json;
  json["task"] = TaskText(task.task());
  json["state"] = task.state();
  json["worker"] = task.worker().empty() ? Json(nullptr) : Json(task.worker());
  json["second_worker"] =
      task.second_worker().empty() ? Json(nullptr) : Json(task.second_worker());
  json["attempt_uid"] = HexEncode(task.attempt_uid());
  json["records"] = task.records();
  json["failures"] = task.failures();
  json["last_failure"] =
      task.last_failure().empty() ? Json(nullptr) : Json(task.last_failure());
  return json;
}

}  // namespace

Json JobJson(const proto::JobStatus& status) {
  Json json;
  json["id"] = HexEncode(status.job_id());
  json["name"] = status.name();
  json["user"] = status.user();
  json["state"] = proto::JobState_Name(status.state());
  json["cause"] = CauseJson(status);
  json["waiting_for"] =
      status.waiting_for().empty() ? Json(nullptr) : Json(status.waiting_for());
  json["output"] = status.output();
  json["planned"] = status.planned();
  json["maps"] = TotalsJson(status.maps());
  json["reduces"] = TotalsJson(status.reduces());
  json["attempts"] = {{"launched", status.attempts().launched()},
                      {"failed", status.attempts().failed()},
                      {"lost", status.attempts().lost()},
                      {"speculative", status.attempts().speculative()}};
  json["bad_records"] = status.bad_records();
  json["largest_reduce"] = LargestReduceJson(status);
  json["epoch"] = status.epoch();
  json["input_bytes"] = status.input_bytes();
  json["input_bytes_done"] = status.input_bytes_done();
  json["shuffle_bytes"] = status.shuffle_bytes_total();
  json["shuffle_bytes_done"] = status.shuffle_bytes_done();
  json["output_bytes"] = status.output_bytes();
  json["output_records"] = status.output_records();
  json["submitted_at"] = TimeJson(status.submitted_at_ms());
  json["started_at"] = TimeJson(status.started_at_ms());
  json["finished_at"] = TimeJson(status.finished_at_ms());
  return json;
}

Json JobDetailJson(const proto::GetJobReply& job) {
  Json json = JobJson(job.status());
  const proto::JobFailure& failure = job.status().failure();
  if (job.status().has_failure()) {
    json["cause"]["stack"] = failure.stack();
    json["cause"]["log_tail"] = failure.log_tail();
  }
  json["spec"] = SpecJson(job.spec());
  json["sizes"] = SizesOf(job);
  json["tasks"] = Json::array();
  for (const proto::TaskStatus& task : job.tasks()) {
    json["tasks"].push_back(TaskJson(task));
  }
  json["avoided_workers"] = Json::array();
  for (const proto::AvoidedWorker& avoided : job.avoided()) {
    json["avoided_workers"].push_back({{"worker", avoided.worker()},
                                       {"tasks", avoided.tasks()},
                                       {"why", avoided.why()}});
  }
  json["counters"] = CountersJson(job.counters());
  return json;
}

Json CountersJson(const Counters& counters) {
  Json json = Json::array();
  for (const proto::Counter& counter : counters) {
    json.push_back({{"group", counter.group()},
                    {"name", counter.name()},
                    {"value", counter.value()}});
  }
  return json;
}

Json WorkerJson(const proto::WorkerStatus& worker) {
  Json json;
  json["id"] = worker.name();
  json["address"] = worker.address();
  json["pid"] = worker.pid();
  json["state"] = worker.state();
  json["host"] = worker.host_id();
  json["incarnation"] = HexEncode(worker.incarnation());
  json["slots"] = worker.slots();
  json["running"] = worker.running();
  json["free_disk_bytes"] = worker.free_disk_bytes();
  json["version"] = worker.version();
  json["why"] = worker.why().empty() ? Json(nullptr) : Json(worker.why());
  json["excluded_for_ms"] = worker.excluded_for_ms();
  json["outputs_needed"] = worker.outputs_needed();
  json["disk_low"] = worker.disk_low();
  json["disk_why"] =
      worker.disk_why().empty() ? Json(nullptr) : Json(worker.disk_why());
  json["spool_bytes"] = worker.spool_bytes();
  json["spool_limit_bytes"] = worker.spool_limit_bytes();
  json["memory_guard"] = worker.memory_guard();
  return json;
}

Json MasterJson(const proto::MasterStatus& master) {
  Json json;
  json["id"] = master.id();
  json["address"] = master.address();
  json["pid"] = master.pid();
  json["state"] = master.state();
  json["role"] = master.role();
  json["term"] = master.term();
  json["version"] = master.version();
  json["entries_behind"] = master.entries_behind();
  json["waiting_for"] = master.waiting_for();
  return json;
}

}  // namespace millrace::cli
