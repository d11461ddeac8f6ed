// Text: lines out of a file, words out of lines.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/kernels/roofline.h"
#include "bench/map_side_data.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "millrace/words.h"
#include "storage/input/split_reader.h"
#include "storage/plan/planner.h"
#include "tests/testing/temp_dir.h"

namespace millrace::bench {
namespace {

constexpr size_t kVocabulary = 200000;
constexpr size_t kWordsOfLine = 10;
constexpr size_t kFileBytes = 32 << 20;
constexpr size_t kCachedBytes = 256 << 10;

std::string Text(size_t bytes) {
  const std::vector<std::string> words = Vocabulary(kVocabulary);
  std::string text;
  size_t in_line = 0;
  for (const uint32_t word : ZipfSequence(kVocabulary, bytes / 4)) {
    if (text.size() >= bytes) break;
    text += words[word];
    text += ++in_line % kWordsOfLine == 0 ? '\n' : ' ';
  }
  text.resize(bytes, '\n');
  return text;
}

void BM_Lines(benchmark::State& state) {
  const TempDir directory;
  const std::string path = directory.Write("text", Text(kFileBytes));
  storage::PlanRequest request;
  request.inputs = {path};
  request.split_bytes = kFileBytes;
  auto plan = storage::MakePlan(FileSystem::Posix(), request);
  CHECK(plan.ok()) << plan.status();
  CHECK_EQ(plan->splits_size(), 1);
  const Roofline roofline = FileRoofline(path);
  for (auto _ : state) {
    const std::unique_ptr<storage::SplitReader> reader =
        storage::SplitReader::Create(FileSystem::Posix(), *plan, 0);
    storage::InputBatch batch;
    size_t lines = 0;
    while (true) {
      const auto more = reader->Next(&batch);
      CHECK(more.ok()) << more.status();
      if (!*more) break;
      lines += batch.count;
    }
    benchmark::DoNotOptimize(lines);
    CHECK_EQ(reader->bytes_read(), kFileBytes);
  }
  Report(state, Unit::kBytes, kFileBytes, roofline);
}
BENCHMARK(BM_Lines)->Name("lines of a file in the page cache");

void BM_Words(benchmark::State& state) {
  const std::string text = Text(kCachedBytes);
  const Roofline roofline = ReadRoofline(text);
  for (auto _ : state) {
    size_t bytes = 0;
    size_t words = 0;
    for (const std::string_view word : SplitWords(text)) {
      bytes += word.size();
      ++words;
    }
    benchmark::DoNotOptimize(bytes);
    benchmark::DoNotOptimize(words);
  }
  Report(state, Unit::kBytes, kCachedBytes, roofline);
}
BENCHMARK(BM_Words)->Name("words of text in the cache");

}  // namespace
}  // namespace millrace::bench
