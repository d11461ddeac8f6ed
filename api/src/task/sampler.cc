#include "api/src/task/sampler.h"

#include <algorithm>
#include <cstring>

#include "api/src/task/bad_records.h"
#include "api/src/task/task_context.h"
#include "storage/input/split_reader.h"

namespace millrace::task {
namespace {

using supervisor::TaskPhase;

// 128 ranges of 64 KiB: with records of 100 bytes 80,000 keys, which puts the
// share of a partition of 64 within some 3 % of even (one standard deviation).
constexpr uint64_t kSampleRanges = 128;
constexpr uint64_t kSampleRangeBytes = 64 << 10;

// Keeps the keys of what a mapper emits, and nothing else.
class KeyCollector final : public internal::RecordPort {
 public:
  KeyCollector() { Renew(kWindowBytes); }

  std::vector<std::string> TakeKeys() {
    Harvest();
    return std::move(keys_);
  }

 protected:
  void MakeRoom(size_t need) override {
    Harvest();
    Renew(std::max(need, kWindowBytes));
  }

 private:
  static constexpr size_t kWindowBytes = 1 << 20;

  void Renew(size_t bytes) {
    window_.resize(bytes);
    at_ = window_.data();
    limit_ = at_ + bytes;
  }

  void Harvest() {
    for (const char* record = window_.data(); record != at_;) {
      uint32_t sizes[2];
      std::memcpy(sizes, record, sizeof sizes);
      keys_.emplace_back(record + kHeaderBytes, sizes[0]);
      record += kHeaderBytes + sizes[0] + sizes[1];
    }
    at_ = window_.data();
  }

  std::vector<char> window_;
  std::vector<std::string> keys_;
};

// One split whose ranges are the sample: cuts fall anywhere, the reader moves
// them to record bounds.
proto::Plan SamplePlan(const proto::Plan& plan) {
  proto::Plan sample = plan;
  sample.clear_splits();
  proto::Split* split = sample.add_splits();
  if (plan.input_kind() == proto::SEQUENCE) {
    const uint64_t rows = plan.sequence_rows();
    const uint64_t step = std::max<uint64_t>(1, rows / 65536);
    for (uint64_t row = 0; row < rows; row += step) {
      proto::Range* range = split->add_ranges();
      range->set_offset(row);
      range->set_length(1);
    }
    return sample;
  }
  uint64_t total = 0;
  for (const proto::PlannedFile& file : plan.files()) total += file.size();
  const uint64_t align =
      plan.input_kind() == proto::FIXED_RECORDS ? plan.record_bytes() : 1;
  const uint64_t step = std::max(total / kSampleRanges, kSampleRangeBytes);
  uint64_t next = 0;  // Where the next range begins, in the files end to end.
  uint64_t base = 0;  // Where the present file begins.
  for (int i = 0; i < plan.files_size(); ++i) {
    const uint64_t size = plan.files(i).size();
    while (next < base + size) {
      const uint64_t offset = (next - base) / align * align;
      uint64_t length = std::min(kSampleRangeBytes, size - offset);
      length = std::max(length / align * align, std::min(align, size - offset));
      proto::Range* range = split->add_ranges();
      range->set_file(static_cast<uint32_t>(i));
      range->set_offset(offset);
      range->set_length(length);
      next += step;
    }
    base += size;
  }
  return sample;
}

}  // namespace

std::vector<std::string> ChooseSplitKeys(std::vector<std::string> keys,
                                         uint32_t count) {
  std::sort(keys.begin(), keys.end());
  std::vector<std::string> chosen;
  chosen.reserve(count);
  for (uint32_t i = 1; i <= count; ++i) {
    std::string key = keys.empty()
                          ? std::string()
                          : keys[static_cast<size_t>(
                                static_cast<unsigned __int128>(keys.size()) *
                                i / (count + 1))];
    // The least string above s is s followed by a zero byte.
    if (!chosen.empty() && key <= chosen.back()) {
      key = chosen.back() + std::string(1, '\0');
    }
    chosen.push_back(std::move(key));
  }
  return chosen;
}

std::optional<proto::TaskFailed> SampleSplitKeys(TaskEnvironment& env,
                                                 const proto::RunTask& run,
                                                 proto::Plan& plan) {
  const proto::Plan sample = SamplePlan(plan);
  supervisor::StatusPage& page = env.page();
  TaskContext context(env.job().name, env.configure(), run,
                      static_cast<int>(plan.num_partitions()), page);
  KeyCollector collector;
  internal::MapPorts ports;
  ports.records = &collector;
  const std::unique_ptr<internal::MapTask> task = env.job().make_map();
  const internal::PositionSlots slots{&page.record_offset, &page.record_ordinal,
                                      &page.progress, &page.value_ordinal};
  const auto never = [] {
    return MakeFailure(proto::INTERNAL, "sampling was aborted", false);
  };
  auto failure = CallUserCode(page, TaskPhase::kSetup,
                              [&] { task->Setup(context, ports); });
  if (failure.has_value()) return UserFailure(*failure, never);
  const std::unique_ptr<storage::SplitReader> reader =
      storage::SplitReader::Create(env.fs(), sample, 0);
  uint64_t ordinal = 0;
  BadRecords bad_records(env.fs(), plan, run.plan().bad_records(), "");
  std::vector<internal::RawRecord> records;
  for (;;) {
    storage::InputBatch batch;
    absl::StatusOr<bool> more = reader->Next(&batch);
    if (!more.ok()) return InputFailure(more.status());
    if (!*more) break;
    if (plan.files_size() > 0) {
      const std::string& path = plan.files(static_cast<int>(batch.file)).path();
      page.record_file.store(batch.file, std::memory_order_relaxed);
      page.file.Set(path);
      context.SetInputFile(path);
    }
    records.clear();
    for (size_t i = 0; i < batch.count; ++i) {
      const storage::InputRecord& in = batch.records[i];
      records.push_back({in.data, in.size, in.offset});
    }
    for (size_t from = 0; from < batch.count;) {
      const size_t count = bad_records.GoodOnes(
          {records.data() + from, batch.count - from}, batch.file);
      failure = CallUserCode(page, TaskPhase::kMap, [&] {
        task->Map(records.data() + from, count, ordinal + from, slots);
      });
      if (failure.has_value()) return UserFailure(*failure, never);
      from += count;
      if (from == batch.count) break;
      bad_records.PassOver(records[from++]).IgnoreError();  // Writes nothing.
    }
    ordinal += batch.count;
    page.progress.fetch_add(1, std::memory_order_relaxed);
  }
  failure = CallUserCode(page, TaskPhase::kCleanup, [&] { task->Cleanup(); });
  if (failure.has_value()) return UserFailure(*failure, never);
  for (std::string& key :
       ChooseSplitKeys(collector.TakeKeys(), plan.num_partitions() - 1)) {
    plan.add_split_keys(std::move(key));
  }
  return std::nullopt;
}

}  // namespace millrace::task
