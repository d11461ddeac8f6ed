// The tables and texts of job_format.h.
#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "common/counted.h"
#include "common/skew.h"
#include "common/strings.h"
#include "storage/plan/sizing.h"

namespace millrace::cli {
namespace {

constexpr size_t kPathBytesMax = 4096;

std::string DoneOf(const proto::TaskTotals& totals) {
  return Cat(totals.done(), "/", totals.total());
}

std::string WallTime(int64_t ms) {
  if (ms == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(ms),
                          absl::UTCTimeZone());
}

std::string Line(std::string_view label, std::string_view text) {
  return absl::StrFormat("  %-12s %s\n", Av(label), Av(text));
}

std::string TotalsText(const proto::TaskTotals& totals) {
  std::string text = Cat(totals.done(), " of ", totals.total(), " done");
  if (totals.running() > 0) text += Cat(", ", totals.running(), " running");
  return text;
}

std::string DoneBytes(const proto::JobStatus& status, uint64_t done,
                      uint64_t total) {
  // Of what is left when a job has succeeded, nobody needs to know.
  return done >= total || status.state() == proto::SUCCEEDED
             ? HumanBytes(total)
             : Cat(HumanBytes(done), " of ", HumanBytes(total), " done");
}

std::string AttemptsText(const proto::AttemptTotals& attempts) {
  std::string text = Cat(attempts.launched(), " launched");
  const auto add = [&](uint64_t count, std::string_view what) {
    if (count > 0) text += Cat(", ", count, " ", what);
  };
  add(attempts.failed(), "failed");
  add(attempts.lost(), "lost");
  add(attempts.speculative(), "speculative");
  return text;
}

std::string PrintableList(
    const google::protobuf::RepeatedPtrField<std::string>& items) {
  return absl::StrJoin(items, " ",
                       [](std::string* out, const std::string& item) {
                         *out += Printable(item, kPathBytesMax);
                       });
}

std::string Indented(std::string_view text) {
  std::string indented;
  for (const absl::string_view line :
       absl::StrSplit(Av(text), '\n', absl::SkipEmpty())) {
    indented += Cat("    ", Printable(ToStd(line), 400), "\n");
  }
  return indented;
}

std::string SpecText(const proto::JobSpec& spec) {
  std::string text =
      Line("program",
           Cat(Printable(spec.program_name()), " (",
               HexEncode(spec.program_sha256()).substr(0, 12), ", Millrace ",
               spec.description().millrace_version(), ")"));
  if (spec.arguments_size() > 0) {
    text += Line("arguments", PrintableList(spec.arguments()));
  }
  if (spec.inputs_size() > 0) {
    text += Line("inputs", PrintableList(spec.inputs()));
  } else {
    text += Line("rows", Cat(spec.sequence_rows()));
  }
  text +=
      Line("memory", Cat(HumanBytes(spec.memory_budget_bytes()), ", killed at ",
                         HumanBytes(spec.memory_limit_bytes())));
  for (const proto::SideBlob& side : spec.side_files()) {
    text += Line("side file", Printable(side.name()));
  }
  return text;
}

std::string TasksTable(const proto::GetJobReply& job) {
  std::vector<std::vector<std::string>> rows;
  for (const proto::TaskStatus& task : job.tasks()) {
    rows.push_back({TaskText(task.task()), task.state(),
                    task.second_worker().empty()
                        ? task.worker()
                        : Cat(task.worker(), " + ", task.second_worker()),
                    Cat(task.records()), Cat(task.failures()),
                    task.last_failure()});
  }
  return FormatTable({{"TASK"},
                      {"STATE"},
                      {"WORKER"},
                      {"RECORDS", true},
                      {"FAILURES", true},
                      {"LAST FAILURE"}},
                     rows);
}

}  // namespace

std::string ShortId(std::string_view job_id) {
  return HexEncode(job_id).substr(0, 8);
}

std::string TaskText(const proto::TaskName& task) {
  switch (task.kind()) {
    case proto::PLAN_TASK:
      return "plan";
    case proto::MAP_TASK:
      return Cat("m", task.index());
    case proto::REDUCE_TASK:
      return Cat("r", task.index());
    case proto::CHECK_TASK:
      return "check";
    case proto::PUBLISH_TASK:
      return "publish";
    default:
      return "?";
  }
}

std::optional<proto::TaskName> ParseTask(std::string_view text) {
  proto::TaskName task;
  for (const auto& [name, kind] : {std::pair{"plan", proto::PLAN_TASK},
                                   {"check", proto::CHECK_TASK},
                                   {"publish", proto::PUBLISH_TASK}}) {
    if (text != name) continue;
    task.set_kind(kind);
    return task;
  }
  uint32_t index = 0;
  if (text.size() < 2 || text[1] < '0' || text[1] > '9' ||
      !absl::SimpleAtoi(Av(text.substr(1)), &index)) {
    return std::nullopt;
  }
  if (text[0] != 'm' && text[0] != 'r') return std::nullopt;
  task.set_kind(text[0] == 'm' ? proto::MAP_TASK : proto::REDUCE_TASK);
  task.set_index(index);
  return task;
}

std::string AttemptText(const proto::AttemptRef& attempt) {
  return Cat(TaskText(attempt.task()), "/", attempt.number());
}

absl::Duration Elapsed(const proto::JobStatus& status, absl::Time now) {
  const int64_t from = status.started_at_ms() != 0 ? status.started_at_ms()
                                                   : status.submitted_at_ms();
  if (from == 0) return absl::ZeroDuration();
  const absl::Time to = status.finished_at_ms() != 0
                            ? absl::FromUnixMillis(status.finished_at_ms())
                            : now;
  // Clocks of two machines: it may come out negative.
  return std::max(to - absl::FromUnixMillis(from), absl::ZeroDuration());
}

std::string HumanDuration(absl::Duration duration) {
  if (duration < absl::Seconds(10)) {
    return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
  }
  const int64_t s = absl::ToInt64Seconds(duration);
  if (s < 60) return Cat(s, " s");
  if (s < 3600) return Cat(s / 60, " min ", s % 60, " s");
  if (s < 86'400) return Cat(s / 3600, " h ", s % 3600 / 60, " min");
  return Cat(s / 86'400, " d ", s % 86'400 / 3600, " h");
}

std::string JobsTable(const std::vector<proto::JobStatus>& jobs, bool wide,
                      absl::Time now) {
  std::vector<Column> columns = {
      {"ID"},         {"NAME"},          {"STATE"},
      {"MAPS", true}, {"REDUCES", true}, {"TIME", true}};
  if (wide) {
    columns.insert(columns.end(), {{"FAILED", true},
                                   {"LOST", true},
                                   {"USER"},
                                   {"SUBMITTED"},
                                   {"OUTPUT"}});
  }
  std::vector<std::vector<std::string>> rows;
  for (const proto::JobStatus& job : jobs) {
    std::vector<std::string> row = {ShortId(job.job_id()),
                                    job.name(),
                                    proto::JobState_Name(job.state()),
                                    DoneOf(job.maps()),
                                    DoneOf(job.reduces()),
                                    HumanDuration(Elapsed(job, now))};
    if (wide) {
      row.insert(row.end(),
                 {Cat(job.attempts().failed()), Cat(job.attempts().lost()),
                  job.user(), WallTime(job.submitted_at_ms()), job.output()});
    }
    rows.push_back(std::move(row));
  }
  return FormatTable(columns, rows);
}

std::string JobText(const proto::JobStatus& status, absl::Time now) {
  std::string text =
      Cat(Printable(status.name()), " ", HexEncode(status.job_id()), ": ",
          proto::JobState_Name(status.state()), ", ",
          HumanDuration(Elapsed(status, now)), "\n");
  if (status.has_failure()) {
    const proto::JobFailure& failure = status.failure();
    text += Line("cause", Cat(proto::FailureCause_Name(failure.cause()), ": ",
                              Printable(failure.message(), 1000)));
    if (failure.has_attempt()) {
      text += Line("where",
                   Cat(AttemptText(failure.attempt()), " on ",
                       failure.worker().empty() ? "no worker"
                                                : Printable(failure.worker())));
    }
  }
  if (!status.waiting_for().empty()) {
    text += Line("waiting for", Printable(status.waiting_for(), 1000));
  }
  if (status.planned()) {
    text += Line("maps", TotalsText(status.maps()));
    text += Line("reduces", TotalsText(status.reduces()));
    text += Line("input", DoneBytes(status, status.input_bytes_done(),
                                    status.input_bytes()));
    text += Line("shuffle", DoneBytes(status, status.shuffle_bytes_done(),
                                      status.shuffle_bytes_total()));
  }
  text += Line("attempts", AttemptsText(status.attempts()));
  if (status.bad_records() > 0) {
    text += Line("passed over", Counted(status.bad_records(), "bad record"));
  }
  if (status.has_largest_reduce()) {
    const proto::LargestReduce& largest = status.largest_reduce();
    const std::string skew =
        SkewText({.reduce = largest.reduce(),
                  .records = largest.records(),
                  .records_of_all = largest.records_of_all(),
                  .reduces = status.reduces().total()});
    if (!skew.empty()) text += Line("skew", skew);
  }
  if (status.epoch() > 0) {
    text += Line("epoch", Cat(status.epoch(),
                              ": a map gave other records when it ran again"));
  }
  text += Line("output", Printable(status.output(), kPathBytesMax));
  if (status.state() == proto::SUCCEEDED) {
    text += Line("written", Cat(Counted(status.output_records(), "record"),
                                ", ", HumanBytes(status.output_bytes())));
  }
  std::string submitted = WallTime(status.submitted_at_ms());
  if (!status.user().empty())
    submitted += Cat(" by ", Printable(status.user()));
  text += Line("submitted", submitted);
  if (status.started_at_ms() != 0) {
    text += Line("started", WallTime(status.started_at_ms()));
  }
  if (status.finished_at_ms() != 0) {
    text += Line("finished", WallTime(status.finished_at_ms()));
  }
  return text;
}

std::vector<std::string> SizesOf(const proto::GetJobReply& job) {
  const proto::JobStatus& status = job.status();
  const proto::JobSpec& spec = job.spec();
  if (!status.planned() || !job.has_spec()) return {};
  storage::Sizing sizing = {.input_bytes = status.input_bytes(),
                            .maps = status.maps().total(),
                            .reduces = status.reduces().total(),
                            .split_bytes_asked = spec.split_bytes(),
                            .splits_asked = spec.sequence_splits(),
                            .reducers_asked = spec.num_reducers()};
  std::vector<std::string> sizes = {storage::WhyMaps(sizing)};
  // A program's own wish is not in the spec, but seen in the plan. How much a
  // sequence would count for is not known here.
  if (spec.inputs_size() > 0 && sizing.reduces > 0) {
    if (status.has_map_output_estimate()) {
      sizing.map_output_estimate = status.map_output_estimate();
    } else if (sizing.reduces != storage::ChooseReducers(sizing.input_bytes)) {
      sizing.reducers_of_job = sizing.reduces;
    }
    sizes.push_back(storage::WhyReduces(sizing));
  }
  sizes.push_back(Cat("intermediate data ",
                      spec.map_output_codec() == "none"
                          ? "uncompressed"
                          : Printable(spec.map_output_codec()),
                      " (--codec)"));
  return sizes;
}

std::string SizesText(const proto::GetJobReply& job) {
  std::string text;
  std::string_view label = "sizes";
  for (const std::string& size : SizesOf(job)) {
    text += Line(std::exchange(label, ""), size);
  }
  return text;
}

std::string JobDetailText(const proto::GetJobReply& job, absl::Time now) {
  std::string text = JobText(job.status(), now);
  text += SpecText(job.spec());
  text += SizesText(job);
  const proto::JobFailure& failure = job.status().failure();
  if (!failure.stack().empty()) {
    text += "  stack\n" + Indented(failure.stack());
  }
  if (!failure.log_tail().empty()) {
    text += "  the end of its log\n" + Indented(failure.log_tail());
  }
  for (const proto::AvoidedWorker& avoided : job.avoided()) {
    text +=
        Line("avoids", Cat(Printable(avoided.worker()), ": ",
                           Counted(avoided.tasks(), "task"),
                           " failed there and not elsewhere, the last one: ",
                           Printable(avoided.why(), 400)));
  }
  if (job.tasks_size() > 0) text += "\n" + TasksTable(job);
  if (job.counters_size() > 0) text += "\n" + CountersTable(job.counters());
  return text;
}

std::string CountersTable(const Counters& counters) {
  std::vector<std::vector<std::string>> rows;
  for (const proto::Counter& counter : counters) {
    rows.push_back({counter.group(), counter.name(), Cat(counter.value())});
  }
  return FormatTable({{"GROUP"}, {"NAME"}, {"VALUE", true}}, rows);
}

namespace {

// What there is to say of a worker's state; "": nothing.
std::string WorkerNote(const proto::WorkerStatus& worker) {
  if (worker.outputs_needed() > 0) {
    return Cat(Counted(worker.outputs_needed(), "map output"), " still needed");
  }
  if (worker.why().empty()) {
    return worker.disk_low() ? Cat("takes no tasks: ",
                                   worker.disk_why().empty()
                                       ? "its disk is nearly full"
                                       : Printable(worker.disk_why(), 200))
                             : "";
  }
  const std::string when =
      worker.excluded_for_ms() > 0
          ? Cat("for ",
                HumanDuration(absl::Milliseconds(worker.excluded_for_ms())),
                " more: ")
          : std::string();
  return when + Printable(worker.why(), 200);
}

}  // namespace

std::string WorkersTable(const std::vector<proto::WorkerStatus>& workers,
                         bool wide) {
  std::vector<Column> columns = {{"ID"},    {"ADDRESS"},     {"PID", true},
                                 {"STATE"}, {"SLOTS", true}, {"RUNNING", true}};
  if (wide) {
    columns.insert(columns.end(), {{"HOST"},
                                   {"FREE DISK", true},
                                   {"SPOOL", true},
                                   {"MEMORY LIMIT"},
                                   {"VERSION"},
                                   {"INCARNATION"}});
  }
  // A column of its own while there is anything in it.
  const bool notes = std::any_of(workers.begin(), workers.end(),
                                 [](const proto::WorkerStatus& worker) {
                                   return !WorkerNote(worker).empty();
                                 });
  if (notes) columns.push_back({"NOTE"});
  std::vector<std::vector<std::string>> rows;
  for (const proto::WorkerStatus& worker : workers) {
    std::vector<std::string> row = {worker.name(),       worker.address(),
                                    Cat(worker.pid()),   worker.state(),
                                    Cat(worker.slots()), Cat(worker.running())};
    if (wide) {
      row.insert(
          row.end(),
          {worker.host_id(), HumanBytes(worker.free_disk_bytes()),
           HumanBytes(worker.spool_bytes()),
           worker.memory_guard().empty() ? "-"
                                         : Printable(worker.memory_guard()),
           worker.version(), HexEncode(worker.incarnation())});
    }
    if (notes) row.push_back(WorkerNote(worker));
    rows.push_back(std::move(row));
  }
  return FormatTable(columns, rows);
}

std::string MastersTable(const proto::ClusterReply& cluster, bool wide) {
  std::vector<Column> columns = {{"ID"},          {"ADDRESS"}, {"PID", true},
                                 {"STATE"},       {"ROLE"},    {"TERM", true},
                                 {"BEHIND", true}};
  if (wide) {
    columns.insert(columns.end(), {{"VERSION"}, {"CLUSTER"}, {"WAITING FOR"}});
  }
  std::vector<std::vector<std::string>> rows;
  for (const proto::MasterStatus& master : cluster.masters()) {
    std::vector<std::string> row = {
        master.id(),
        master.address(),
        master.pid() == 0 ? "" : Cat(master.pid()),
        master.state(),
        master.role(),
        master.term() == 0 ? "" : Cat(master.term()),
        Cat(master.entries_behind())};
    if (wide) {
      row.insert(row.end(), {master.version(), HexEncode(cluster.cluster_id()),
                             Printable(master.waiting_for(), 200)});
    }
    rows.push_back(std::move(row));
  }
  return FormatTable(columns, rows);
}

}  // namespace millrace::cli
