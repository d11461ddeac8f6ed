#include "api/src/task/task_context.h"

#include "common/hash.h"
#include "common/strings.h"

namespace millrace::task {

TaskContext::TaskContext(std::string_view job_name,
                         const proto::Configure& configure,
                         const proto::RunTask& run, int num_partitions,
                         supervisor::StatusPage& page)
    : job_name_(job_name),
      job_id_(HexEncode(configure.job_id())),
      attempt_uid_(HexEncode(run.attempt_uid())),
      configure_(configure),
      run_(run),
      num_partitions_(num_partitions),
      page_(page),
      arguments_(configure.arguments().begin(), configure.arguments().end()),
      seed_(Hash64Seeded(Cat(static_cast<int>(run.kind()), ":", run.index()),
                         configure.job_seed())) {}

uint64_t TaskContext::input_offset() const {
  if (input_file_.empty() && run_.kind() != proto::MAP_TASK) return 0;
  const uint64_t offset = page_.record_offset.load(std::memory_order_relaxed);
  return offset == ~uint64_t{0} ? 0 : offset;  // Outside of Map there is none.
}

Counter& TaskContext::counter(std::string_view group, std::string_view name) {
  // They end up in messages and in JSON, which take UTF-8 alone.
  const auto shown = [](std::string_view text) {
    return IsUtf8(text) ? std::string(text) : Printable(text);
  };
  std::unique_ptr<Counter>& slot = counters_[{shown(group), shown(name)}];
  if (slot == nullptr) slot = std::make_unique<Counter>();
  return *slot;
}

absl::StatusOr<std::string> TaskContext::side_file(
    std::string_view name) const {
  for (const proto::SideFile& file : configure_.side_files()) {
    if (file.name() == name) return file.path();
  }
  return absl::NotFoundError(
      Av(Cat("the job has no side file \"", Printable(name),
             "\"; give it one with --side-file NAME=PATH")));
}

void TaskContext::Progress() {
  page_.progress.fetch_add(1, std::memory_order_relaxed);
}

void TaskContext::ExportCounters(
    google::protobuf::RepeatedPtrField<proto::Counter>* counters) const {
  for (const auto& [id, counter] : counters_) {
    AddCounter(id.first, id.second, counter->value(), counters);
  }
}

void AddCounter(std::string_view group, std::string_view name, int64_t value,
                google::protobuf::RepeatedPtrField<proto::Counter>* counters) {
  proto::Counter* counter = counters->Add();
  counter->set_group(std::string(group));
  counter->set_name(std::string(name));
  counter->set_value(value);
}

}  // namespace millrace::task
