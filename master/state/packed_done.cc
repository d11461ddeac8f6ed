#include "master/state/packed_done.h"

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

uint64_t TakeVarint(std::string_view* in) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    CHECK(!in->empty() && shift < 64);
    const uint8_t byte = static_cast<uint8_t>(in->front());
    in->remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
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
  const std::string& prefix = job->spec.output();
  if (rest.has_output() && !prefix.empty() &&
      rest.output().path().compare(0, prefix.size(), prefix) == 0) {
    rest.mutable_output()->mutable_path()->erase(0, prefix.size());
    flags |= kPathShortened;
  }
  std::string packed(1, static_cast<char>(flags));
  PutVarint(rest.ByteSizeLong(), &packed);
  CHECK(rest.AppendToString(&packed));
  for (const proto::Counter& counter : done.counters()) {
    const std::optional<uint32_t> number = job->counter_names.NumberOf(counter);
    if (!number.has_value()) continue;
    PutVarint(*number, &packed);
    PutVarint(ZigZag(counter.value()), &packed);
  }
  return packed;
}

UnpackedDone UnpackDone(const Job& job, const Task& task) {
  CHECK(task.had_winner);
  UnpackedDone result;
  std::string_view in(task.packed.get(), task.packed_bytes);
  const uint8_t flags = static_cast<uint8_t>(TakeVarint(&in));
  const uint64_t length = TakeVarint(&in);
  CHECK_LE(length, in.size());
  CHECK(result.done.ParseFromArray(in.data(), static_cast<int>(length)));
  in.remove_prefix(length);
  if (flags & kPathShortened) {
    result.done.mutable_output()->mutable_path()->insert(0, job.spec.output());
  }
  result.done.set_attempt_uid(std::string(task.uid.bytes()));
  while (!in.empty()) {
    const uint32_t number = static_cast<uint32_t>(TakeVarint(&in));
    result.counters.emplace_back(number, UnZigZag(TakeVarint(&in)));
  }
  return result;
}

}  // namespace millrace::master
