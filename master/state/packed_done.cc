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

// Of an encoded message: the key of a field, as Protobuf has it.
constexpr uint64_t Key(int field, int wire_type) {
  return static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type);
}
constexpr int kVarint = 0;
constexpr int kFixed64 = 1;
constexpr int kBytes = 2;
constexpr int kFixed32 = 5;

// Takes a field; false: it is of another kind, which no known one is.
bool TakeField(std::string_view* in, uint64_t* key) {
  uint64_t value = 0;
  CHECK(TakeVarint(in, key));
  switch (*key & 7) {
    case kVarint:
      CHECK(TakeVarint(in, &value));
      return true;
    case kFixed64:
      in->remove_prefix(8);
      return true;
    case kBytes:
      CHECK(TakeVarint(in, &value));
      in->remove_prefix(value);
      return true;
    case kFixed32:
      in->remove_prefix(4);
      return true;
    default:
      return false;
  }
}

// The encoded report without what is kept elsewhere or not at all, and without
// the first `path_cut` bytes of the path of its output file. Taken from the
// encoded whole, since a copy of the message would copy the names of all
// counters only to drop them. Fields that this program does not know stand at
// the end of it and are kept.
std::string Rest(const proto::TaskDone& done, size_t path_cut) {
  using proto::TaskDone;
  const std::string whole = done.SerializeAsString();
  std::string rest;
  for (std::string_view in = whole; !in.empty();) {
    const std::string_view from = in;
    uint64_t key = 0;
    if (!TakeField(&in, &key)) return rest.append(from);
    switch (key) {
      case Key(TaskDone::kAttemptUidFieldNumber, kBytes):
      case Key(TaskDone::kCountersFieldNumber, kBytes):
      case Key(TaskDone::kMapOutputRootFieldNumber, kBytes):
      case Key(TaskDone::kLeftProcessesFieldNumber, kVarint):
        continue;
      case Key(TaskDone::kOutputFieldNumber, kBytes): {
        if (path_cut == 0) break;
        TaskDone output;
        *output.mutable_output() = done.output();
        output.mutable_output()->mutable_path()->erase(0, path_cut);
        CHECK(output.AppendToString(&rest));
        continue;
      }
      default:
        break;
    }
    rest.append(from.substr(0, from.size() - in.size()));
  }
  return rest;
}

}  // namespace

PackedDone PackDone(const proto::TaskDone& done, Job* job) {
  uint8_t flags = 0;
  const std::string& prefix = job->spec->output();
  if (done.has_output() && !prefix.empty() &&
      done.output().path().compare(0, prefix.size(), prefix) == 0) {
    flags |= kPathShortened;
  }
  const std::string rest =
      Rest(done, flags & kPathShortened ? prefix.size() : 0);
  PackedDone packed;
  std::string& bytes = packed.bytes;
  bytes.push_back(static_cast<char>(flags));
  PutVarint(rest.size(), &bytes);
  bytes.append(rest);
  packed.counters.reserve(done.counters_size());
  for (const proto::Counter& counter : done.counters()) {
    const std::optional<uint32_t> number =
        job->counter_names.NumberOf(counter.group(), counter.name());
    if (!number.has_value()) continue;
    packed.counters.emplace_back(*number, counter.value());
    PutVarint(*number, &bytes);
    PutVarint(ZigZag(counter.value()), &bytes);
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
