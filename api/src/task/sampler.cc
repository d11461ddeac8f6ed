#include "api/src/task/sampler.h"

#include <algorithm>
#include <cstring>

#include "api/src/task/bad_records.h"
#include "api/src/task/sample_plan.h"
#include "api/src/task/task_context.h"
#include "storage/input/split_reader.h"

namespace millrace::task {
namespace {

using supervisor::TaskPhase;

// 128 ranges of 64 KiB: with records of 100 bytes 80,000 keys, which puts the
// share of a partition of 64 within some 3 % of even (one standard deviation).
constexpr SampleShape kShape = {
    .ranges = 128, .range_bytes = 64 << 10, .rows = 65536};

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
  const SampledPlan sample(plan, kShape);
  const std::unique_ptr<storage::SplitReader> reader =
      storage::SplitReader::Create(env.fs(), sample.plan(), 0);
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
