// Map output files in memory: writing, merging, grouping; with checksums,
// digests and the ledger.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/roofline.h"
#include "bench/map_side_data.h"
#include "bench/merge_runs.h"
#include "common/logging.h"
#include "engine/merge/grouped_reader.h"
#include "engine/merge/merge.h"

namespace millrace::bench {
namespace {

constexpr size_t kKeyBytes = 10;
constexpr size_t kValueBytes = 90;
constexpr uint32_t kRuns = 16;

// Made once: it takes longer than the measurements.
MergeRuns& Runs() {
  static MergeRuns runs(kRuns, engine::Codec::kNone, kKeyBytes, kValueBytes);
  return runs;
}

Roofline FilesRoofline() {
  std::string bytes;
  for (const engine::MapOutputSource& source : Runs().sources()) {
    bytes += Runs().fs().Contents(source.path);
  }
  return CopyRoofline(bytes);
}

void BM_Write(benchmark::State& state) {
  const MergeRuns& runs = Runs();
  const std::string& path = runs.sources()[0].path;
  const std::vector<engine::Records> partitions = {runs.first()};
  const Roofline roofline = CopyRoofline(Runs().fs().Contents(path));
  for (auto _ : state) {
    CHECK(engine::WriteMapOutput(NullFileSystem(), path, runs.options(),
                                 partitions)
              .ok());
  }
  Report(state, Unit::kBytes, static_cast<double>(runs.bytes()) / kRuns,
         roofline);
}
BENCHMARK(BM_Write)->Name("write of a map output, 10 + 90 bytes");

void BM_Merge(benchmark::State& state) {
  const Roofline roofline = FilesRoofline();
  for (auto _ : state) {
    const std::unique_ptr<engine::MergedStream> merged =
        engine::MergeStreams(Runs().OpenAll());
    while (merged->Next()) benchmark::DoNotOptimize(merged->value().data());
    CHECK(merged->status().ok()) << merged->status();
  }
  Report(state, Unit::kBytes, static_cast<double>(Runs().bytes()), roofline);
}
BENCHMARK(BM_Merge)->Name("merge of 16 runs, 10 + 90 bytes");

void BM_Group(benchmark::State& state) {
  engine::GroupedReaderOptions options;
  options.fs = &Runs().fs();
  options.scratch_dir = "/";
  const Roofline roofline = FilesRoofline();
  for (auto _ : state) {
    std::optional<size_t> lost_map;
    auto reader =
        engine::GroupedReader::Create(Runs().sources(), options, &lost_map);
    CHECK(reader.ok()) << reader.status();
    while ((*reader)->NextGroup()) {
      while ((*reader)->NextValue()) {
        benchmark::DoNotOptimize((*reader)->value().data());
      }
    }
    CHECK((*reader)->status().ok()) << (*reader)->status();
  }
  Report(state, Unit::kBytes, static_cast<double>(Runs().bytes()), roofline);
}
BENCHMARK(BM_Group)->Name("merge of 16 runs into groups, 10 + 90 bytes");

}  // namespace
}  // namespace millrace::bench
