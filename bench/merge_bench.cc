// What map output files and their merge cost per record: writing, reading,
// merging, grouping. Files are in memory, so that a disk does not blur the
// figures. Arguments: runs, codec (0 none, 1 LZ4, 2 zstd), key and value bytes;
// 10 and 90 are TeraSort's, 8 and 1 about those of a word count.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/test_records.h"
#include "engine/merge/grouped_reader.h"
#include "engine/merge/merge.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

constexpr size_t kRecords = 1'000'000;

// Sorted runs, in files and for writing.
class Runs {
 public:
  explicit Runs(const benchmark::State& state) {
    options_.codec = static_cast<Codec>(state.range(1));
    TestRandom random(1);
    const auto count = static_cast<size_t>(state.range(0));
    const std::string value(static_cast<size_t>(state.range(3)), 'v');
    for (uint32_t r = 0; r < count; ++r) {
      Records records(kRecords / count);
      for (auto& [key, v] : records) {
        key.resize(static_cast<size_t>(state.range(2)));
        for (char& c : key) c = static_cast<char>(' ' + random.Below(95));
        v = value;
        // Half of the value is noise, so that codecs have some work.
        for (size_t i = 0; i < v.size() / 2; ++i) {
          v[i] = static_cast<char>(random.Below(256));
        }
      }
      std::sort(records.begin(), records.end());
      options_.identity = TestIdentity(r);
      const std::string path = Path(r);
      auto summary = WriteMapOutput(fs_, path, options_, {records});
      CHECK(summary.ok()) << summary.status();
      sources_.push_back({path, options_.identity, summary->root});
      records_ += records.size();
      bytes_ += records.size() * (state.range(2) + state.range(3) + 2);
      if (r == 0) first_ = std::move(records);
    }
  }

  static std::string Path(uint32_t run) { return "/run" + std::to_string(run); }

  std::unique_ptr<RecordStream> Open(size_t run, size_t read_bytes) {
    const MapOutputSource& source = sources_[run];
    auto file =
        MapOutputFile::Open(fs_, source.path, source.identity, 1, source.root);
    CHECK(file.ok()) << file.status();
    return ReadPartition(*std::move(file), 0, read_bytes);
  }

  void Report(benchmark::State& state) const {
    const auto rounds = static_cast<size_t>(state.iterations());
    state.SetItemsProcessed(static_cast<int64_t>(rounds * records_));
    state.SetBytesProcessed(static_cast<int64_t>(rounds * bytes_));
  }

  MemoryFileSystem& fs() { return fs_; }
  const std::vector<MapOutputSource>& sources() const { return sources_; }
  const Records& first() const { return first_; }
  const MapOutputWriterOptions& options() const { return options_; }

 private:
  MemoryFileSystem fs_;
  MapOutputWriterOptions options_;
  std::vector<MapOutputSource> sources_;
  Records first_;
  size_t records_ = 0;
  size_t bytes_ = 0;  // Of the records' canonical streams.
};

void BM_Write(benchmark::State& state) {
  Runs runs(state);
  const std::vector<Records> partitions = {runs.first()};
  for (auto _ : state) {
    CHECK(WriteMapOutput(runs.fs(), "/f", runs.options(), partitions).ok());
    CHECK(runs.fs().RemoveFile("/f").ok());
  }
  runs.Report(state);
}

void BM_Read(benchmark::State& state) {
  Runs runs(state);
  for (auto _ : state) {
    const std::unique_ptr<RecordStream> stream = runs.Open(0, 1 << 20);
    while (stream->Next()) benchmark::DoNotOptimize(stream->value().data());
    CHECK(stream->status().ok()) << stream->status();
  }
  runs.Report(state);
}

void BM_Merge(benchmark::State& state) {
  Runs runs(state);
  for (auto _ : state) {
    std::vector<std::unique_ptr<RecordStream>> inputs;
    for (size_t r = 0; r < runs.sources().size(); ++r) {
      inputs.push_back(runs.Open(r, 0));
    }
    const std::unique_ptr<MergedStream> merged =
        MergeStreams(std::move(inputs));
    while (merged->Next()) benchmark::DoNotOptimize(merged->value().data());
    CHECK(merged->status().ok()) << merged->status();
  }
  runs.Report(state);
}

void BM_Group(benchmark::State& state) {
  Runs runs(state);
  CHECK(runs.fs().MakeDirectory("/scratch").ok());
  GroupedReaderOptions options;
  options.fs = &runs.fs();
  options.scratch_dir = "/scratch";
  for (auto _ : state) {
    std::optional<size_t> lost_map;
    auto reader = GroupedReader::Create(runs.sources(), options, &lost_map);
    CHECK(reader.ok()) << reader.status();
    while ((*reader)->NextGroup()) {
      while ((*reader)->NextValue()) {
        benchmark::DoNotOptimize((*reader)->value().data());
      }
    }
    CHECK((*reader)->status().ok()) << (*reader)->status();
  }
  runs.Report(state);
}

void OneRun(benchmark::internal::Benchmark* b) {
  for (int codec : {0, 1, 2}) b->Args({1, codec, 10, 90});
  b->Args({1, 0, 8, 1});
}

void SeveralRuns(benchmark::internal::Benchmark* b) {
  for (int runs : {2, 16, 128}) b->Args({runs, 0, 10, 90});
  b->Args({16, 1, 10, 90});
  b->Args({16, 0, 8, 1});
}

BENCHMARK(BM_Write)->Apply(OneRun)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Read)->Apply(OneRun)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Merge)->Apply(SeveralRuns)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Group)->Apply(SeveralRuns)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace::engine
