#include "master/state/packed_done.h"

#include <string_view>

#include "common/logging.h"

namespace millrace::master {
namespace {

constexpr uint8_t kPathShortened = 1;

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

// False: it is cut off, or has more than 64 bits.
bool TakeVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in->empty()) return false;
    const uint8_t byte = static_cast<uint8_t>(in->front());
    in->remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^
         static_cast<uint64_t>(value >> 63);
}

int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

}  // namespace

std::string PackDone(const proto::TaskDone& done, Job* job) {
  proto::TaskDone rest = done;
  rest.clear_attempt_uid();
  rest.clear_map_output_root();
  rest.clear_counters();
  rest.clear_left_processes();
  uint8_t flags = 0;
  const std::string& prefix = job->spec->output();
  if (rest.has_output() && !prefix.empty() &&
      rest.output().path().compare(0, prefix.size(), prefix) == 0) {
    rest.mutable_output()->mutable_path()->erase(0, prefix.size());
    flags |= kPathShortened;
  }
  std::string packed(1, static_cast<char>(flags));
  PutVarint(rest.ByteSizeLong(), &packed);
  CHECK(rest.AppendToString(&packed));
  for (const proto::Counter& counter : done.counters()) {
    const std::optional<uint32_t> number =
        job->counter_names.NumberOf(counter.group(), counter.name());
    if (!number.has_value()) continue;
    PutVarint(*number, &packed);
    PutVarint(ZigZag(counter.value()), &packed);
  }
  return packed;
}

std::optional<UnpackedDone> TryUnpackDone(const Job& job, const TaskId& task) {
  const TaskTable& tasks =
      task.kind == proto::MAP_TASK ? job.maps.tasks : job.reduces.tasks;
  UnpackedDone result;
  std::string_view in = tasks.Report(task.index);
  uint64_t flags = 0;
  uint64_t length = 0;
  if (!TakeVarint(&in, &flags) || flags > kPathShortened ||
      !TakeVarint(&in, &length) || length > in.size() ||
      !result.done.ParseFromArray(in.data(), static_cast<int>(length))) {
    return std::nullopt;
  }
  in.remove_prefix(length);
  if (flags & kPathShortened) {
    if (!result.done.has_output()) return std::nullopt;
    result.done.mutable_output()->mutable_path()->insert(0, job.spec->output());
  }
  result.done.set_attempt_uid(std::string(tasks[task.index].uid.bytes()));
  while (!in.empty()) {
    uint64_t number = 0;
    uint64_t value = 0;
    if (!TakeVarint(&in, &number) || number >= job.counter_names.size() ||
        !TakeVarint(&in, &value)) {
      return std::nullopt;
    }
    result.counters.emplace_back(static_cast<uint32_t>(number),
                                 UnZigZag(value));
  }
  return result;
}

UnpackedDone UnpackDone(const Job& job, const TaskId& task) {
  std::optional<UnpackedDone> result = TryUnpackDone(job, task);
  CHECK(result.has_value());
  return *std::move(result);
}

}  // namespace millrace::master
