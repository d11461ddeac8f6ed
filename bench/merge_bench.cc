// What map output files and their merge cost per record: writing, reading,
// merging, grouping. Files are in memory, so that a disk does not blur the
// figures. Arguments: runs, codec (0 none, 1 LZ4, 2 zstd), key and value bytes;
// 10 and 90 are TeraSort's, 8 and 1 about those of a word count.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bench/merge_runs.h"
#include "common/logging.h"
#include "engine/merge/grouped_reader.h"
#include "engine/merge/merge.h"

namespace millrace::bench {
namespace {

MergeRuns RunsOf(const benchmark::State& state) {
  return MergeRuns(static_cast<uint32_t>(state.range(0)),
                   static_cast<engine::Codec>(state.range(1)),
                   static_cast<size_t>(state.range(2)),
                   static_cast<size_t>(state.range(3)));
}

void Report(const MergeRuns& runs, benchmark::State& state) {
  const auto rounds = static_cast<size_t>(state.iterations());
  state.SetItemsProcessed(static_cast<int64_t>(rounds * runs.records()));
  state.SetBytesProcessed(static_cast<int64_t>(rounds * runs.bytes()));
}

void BM_Write(benchmark::State& state) {
  MergeRuns runs = RunsOf(state);
  const std::vector<engine::Records> partitions = {runs.first()};
  for (auto _ : state) {
    CHECK(engine::WriteMapOutput(runs.fs(), "/f", runs.options(), partitions)
              .ok());
    CHECK(runs.fs().RemoveFile("/f").ok());
  }
  Report(runs, state);
}

void BM_Read(benchmark::State& state) {
  MergeRuns runs = RunsOf(state);
  for (auto _ : state) {
    const std::unique_ptr<engine::RecordStream> stream = runs.Open(0, 1 << 20);
    while (stream->Next()) benchmark::DoNotOptimize(stream->value().data());
    CHECK(stream->status().ok()) << stream->status();
  }
  Report(runs, state);
}

void BM_Merge(benchmark::State& state) {
  MergeRuns runs = RunsOf(state);
  for (auto _ : state) {
    const std::unique_ptr<engine::MergedStream> merged =
        engine::MergeStreams(runs.OpenAll());
    while (merged->Next()) benchmark::DoNotOptimize(merged->value().data());
    CHECK(merged->status().ok()) << merged->status();
  }
  Report(runs, state);
}

void BM_Group(benchmark::State& state) {
  MergeRuns runs = RunsOf(state);
  CHECK(runs.fs().MakeDirectory("/scratch").ok());
  engine::GroupedReaderOptions options;
  options.fs = &runs.fs();
  options.scratch_dir = "/scratch";
  for (auto _ : state) {
    std::optional<size_t> lost_map;
    auto reader =
        engine::GroupedReader::Create(runs.sources(), options, &lost_map);
    CHECK(reader.ok()) << reader.status();
    while ((*reader)->NextGroup()) {
      while ((*reader)->NextValue()) {
        benchmark::DoNotOptimize((*reader)->value().data());
      }
    }
    CHECK((*reader)->status().ok()) << (*reader)->status();
  }
  Report(runs, state);
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
}  // namespace millrace::bench
