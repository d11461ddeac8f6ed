#include "engine/map/record_buffer.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/map/map_side_test.h"
#include "gtest/gtest.h"
#include "tests/testing/faulty_file_system.h"

namespace millrace::engine {
namespace {

using Emitted = std::vector<std::pair<std::string, std::string>>;

// The smallest budget there is.
constexpr uint64_t kTiny = 32 << 10;

// What the buffer must write, made with std::stable_sort. With a folder, equal
// keys are folded.
std::vector<TestRecord> Twin(const Emitted& emitted,
                             const MapSideOptions& options) {
  std::vector<TestRecord> records;
  for (const auto& [key, value] : emitted) {
    records.push_back({ExpectedPartition(options, key), key, value});
  }
  std::stable_sort(records.begin(), records.end(),
                   [](const TestRecord& a, const TestRecord& b) {
                     return std::tie(a.partition, a.key) <
                            std::tie(b.partition, b.key);
                   });
  if (options.folder == nullptr) return records;
  std::vector<TestRecord> folded;
  for (const TestRecord& r : records) {
    if (folded.empty() || folded.back().partition != r.partition ||
        folded.back().key != r.key) {
      folded.push_back(r);
      continue;
    }
    options.folder->Start(r.key, folded.back().value);
    options.folder->Add(r.value);
    folded.back().value = std::string(options.folder->Result());
  }
  return folded;
}

absl::StatusOr<MapSideResult> Sort(const Emitted& emitted,
                                   const MapSideOptions& options) {
  auto buffer = RecordBuffer::Create(options);
  if (!buffer.ok()) return buffer.status();
  RecordEmitter emitter(**buffer);
  for (const auto& [key, value] : emitted) {
    absl::Status status = emitter.Emit(key, value);
    if (!status.ok()) return status;
  }
  return emitter.Finish();
}

// Runs, compares with the twin, and checks what holds for every run. `slack`:
// by how much the budget may be exceeded.
MapSideResult ExpectTwin(const Emitted& emitted, const MapSideOptions& options,
                         MemoryFileSystem& fs, uint64_t slack) {
  absl::StatusOr<MapSideResult> result = Sort(emitted, options);
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return MapSideResult();
  const std::vector<TestRecord> twin = Twin(emitted, options);
  EXPECT_EQ(ReadOutput(fs, options, *result), twin);
  EXPECT_EQ(fs.AllFiles(), std::vector<std::string>{kOutput});
  EXPECT_EQ(result->emitted_records, emitted.size());
  EXPECT_EQ(result->combine_in_records,
            options.folder == nullptr ? 0 : emitted.size());
  EXPECT_EQ(result->combine_out, result->output.total);
  EXPECT_EQ(result->combine_out.records, twin.size());
  EXPECT_LE(result->peak_memory_bytes,
            std::max(options.memory_bytes, kTiny) + slack);
  return *std::move(result);
}

TEST(RecordBufferTest, RandomCasesEqualTheTwin) {
  constexpr uint64_t kCases = 10000;
  uint64_t spilling = 0;
  uint64_t merging = 0;
  for (uint64_t seed = 0; seed < kCases; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 rng(seed);
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = kTiny;
    options.num_partitions = 1 + static_cast<uint32_t>(rng() % 6);
    options.codec = RandomCodec(rng);
    FunctionPartitioner by_length(PartitionByLength);
    if (rng() % 2 == 0) options.partitioner = &by_length;
    MaxFolder folder;
    if (rng() % 4 == 0) options.folder = &folder;
    KeyMaker make_key(rng(), 1 + rng() % 3000);
    const size_t value_max = rng() % 3 == 0 ? 1 : 60;
    Emitted emitted(rng() % 32 == 0 ? rng() % 5000 : rng() % 100);
    for (auto& [key, value] : emitted) {
      key = make_key();
      value.resize(rng() % value_max);
      for (char& c : value) c = static_cast<char>(rng());
    }
    const MapSideResult result =
        ExpectTwin(emitted, options, *fs,
                   // Which zstd needs even for the smallest blocks.
                   options.codec == Codec::kZstd ? 1 << 20 : 0);
    spilling += result.spills > 0 ? 1 : 0;
    merging += result.spills > 4 ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(spilling, kCases / 100);
  EXPECT_GT(merging, kCases / 200);
}

Emitted ManyRecords(uint64_t seed, size_t records) {
  std::mt19937_64 rng(seed);
  KeyMaker makers[] = {KeyMaker(1, 30000), KeyMaker(2, 500),
                       KeyMaker(3, 30000)};
  Emitted emitted(records);
  for (auto& [key, value] : emitted) {
    key = makers[rng() % 3]();
    value = Cat("value ", rng());
  }
  return emitted;
}

TEST(RecordBufferTest, OutputDoesNotDependOnTheBudget) {
  const Emitted emitted = ManyRecords(5, 70000);
  std::set<std::pair<uint64_t, uint64_t>> roots;
  std::set<std::string> files;
  uint64_t most_spills = 0;
  for (uint64_t kib : {64, 200, 1024, 4096, 65536}) {
    SCOPED_TRACE(testing::Message() << kib << " KiB");
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = kib << 10;
    const MapSideResult result = ExpectTwin(emitted, options, *fs, 0);
    roots.emplace(result.output.root.low, result.output.root.high);
    if (kib >= 4096) files.insert(fs->Contents(kOutput));
    most_spills = std::max(most_spills, result.spills);
    EXPECT_TRUE(result.spills == 0 || kib < 65536);
  }
  EXPECT_EQ(roots.size(), 1u);
  EXPECT_EQ(files.size(), 1u);
  EXPECT_GT(most_spills, 50u);
}

TEST(RecordBufferTest, NothingEmitted) {
  auto fs = NewTestDisk();
  ExpectTwin({}, TestOptions(*fs), *fs, 0);
}

// The smallest records, against which the room for the index is not reckoned.
TEST(RecordBufferTest, EmptyRecordsAfterLargeOnes) {
  for (uint64_t budget : {kTiny, uint64_t{1} << 20}) {
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = budget;
    Emitted emitted(300, {"large", std::string(3000, 'v')});
    emitted.resize(100000);
    emitted.resize(100300, {"large", std::string(5000, 'w')});
    const MapSideResult result =
        ExpectTwin(emitted, options, *fs, budget == kTiny ? 2 * 5000 : 0);
    EXPECT_GT(result.spills, 1u);
  }
}

// A window asked for one large record, and filled with the smallest instead.
TEST(RecordBufferTest, WindowFilledOtherwiseThanAsked) {
  for (size_t asked : {10 << 10, 100 << 10, 600 << 10, 3 << 20}) {
    SCOPED_TRACE(testing::Message() << asked << " bytes");
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 1 << 20;
    auto buffer = RecordBuffer::Create(options);
    ASSERT_TRUE(buffer.ok());
    uint64_t records = 0;
    char* next = (*buffer)->window().begin;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE((*buffer)->Advance(next, asked).ok());
      const RecordBuffer::Window window = (*buffer)->window();
      ASSERT_GE(window.end - window.begin, static_cast<ptrdiff_t>(asked));
      next = window.begin;
      for (; next + 8 <= window.begin + asked; next += 8, ++records) {
        std::memset(next, 0, 8);
      }
    }
    const auto result = (*buffer)->Finish(next);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->output.total.records, records);
    EXPECT_EQ(ReadOutput(*fs, options, *result).size(), records);
    EXPECT_LE(result->peak_memory_bytes,
              options.memory_bytes + (asked > 512 << 10 ? asked : 0));
  }
}

TEST(RecordBufferTest, OneKeyKeepsEmitOrder) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = 256 << 10;
  Emitted emitted;
  for (uint64_t i = 0; i < 100000; ++i) emitted.emplace_back("key", Cat(i));
  const MapSideResult result = ExpectTwin(emitted, options, *fs, 0);
  EXPECT_GT(result.spills, 10u);
}

TEST(RecordBufferTest, RecordsLargerThanTheBudget) {
  constexpr uint64_t kLarge = 10 << 20;
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = 1 << 20;
  Emitted emitted;
  for (int i = 0; i < 3; ++i) {
    emitted.emplace_back("before", Cat(i));
    emitted.emplace_back(std::string(kLarge, 'K'), Cat(i));
    emitted.emplace_back("large value", std::string(kLarge, 'v'));
    emitted.emplace_back("large value", Cat(i));
    emitted.emplace_back("half", std::string(600 << 10, 'h'));
  }
  const MapSideResult result =
      ExpectTwin(emitted, options, *fs, 2 * kLarge + (64 << 10));
  EXPECT_GE(result.spills, 6u);
}

TEST(RecordBufferTest, AnswerOfThePartitionerOutOfRange) {
  for (int64_t answer : {int64_t{-1}, int64_t{3}, int64_t{1} << 32}) {
    for (uint64_t bad : {8, 9999}) {  // Before and after spills.
      auto fs = NewTestDisk();
      MapSideOptions options = TestOptions(*fs);
      options.memory_bytes = kTiny;
      FunctionPartitioner partitioner([&](std::string_view key, uint32_t) {
        return key == Cat("bad\n", bad) ? answer : 0;
      });
      options.partitioner = &partitioner;
      Emitted emitted;
      for (uint64_t i = 0; i < 10000; ++i) {
        emitted.emplace_back(Cat("bad\n", i), "value");
      }
      const absl::Status status = Sort(emitted, options).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
      EXPECT_THAT(std::string(status.message()),
                  testing::AllOf(testing::HasSubstr(Cat("bad\\n", bad)),
                                 testing::HasSubstr(Cat(answer))));
      EXPECT_TRUE(fs->AllFiles().empty());
    }
  }
}

TEST(RecordBufferTest, FullDiskLeavesNothingBehind) {
  const Emitted emitted = ManyRecords(9, 10000);
  uint64_t needed = 0;
  {
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 64 << 10;
    ASSERT_TRUE(Sort(emitted, options).ok());
    needed = 2 * fs->Contents(kOutput).size();
  }
  uint64_t failures = 0;
  for (uint64_t capacity = 0; capacity < needed; capacity += needed / 40) {
    SCOPED_TRACE(testing::Message() << "capacity " << capacity);
    auto fs = NewTestDisk();
    fs->SetCapacity(capacity);
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 64 << 10;
    const absl::Status status = Sort(emitted, options).status();
    if (status.ok()) continue;
    ++failures;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(fs->AllFiles().empty());
  }
  EXPECT_GT(failures, 10u);
}

TEST(RecordBufferTest, EveryFaultOfTheDiskIsReportedAndCleanedUp) {
  const Emitted emitted = ManyRecords(9, 3000);
  for (uint64_t n = 0;; ++n) {
    SCOPED_TRACE(testing::Message() << "operation " << n);
    auto disk = NewTestDisk();
    FaultyFileSystem fs(*disk);
    fs.FailOnce(n, absl::DataLossError("injected"));
    MapSideOptions options = TestOptions(fs);
    options.memory_bytes = kTiny;
    const absl::StatusOr<MapSideResult> result = Sort(emitted, options);
    if (n >= fs.operations()) {  // The fault lay behind the end.
      EXPECT_TRUE(result.ok());
      break;
    }
    // Only a removal may fail without harm.
    if (result.ok()) {
      EXPECT_EQ(ReadOutput(*disk, options, *result), Twin(emitted, options));
      EXPECT_LE(disk->AllFiles().size(), 2u);
    } else {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
      EXPECT_TRUE(disk->AllFiles().empty());
    }
  }
}

// A bit of a run turns over between spill and merge.
TEST(RecordBufferTest, DamagedRunIsFound) {
  const Emitted emitted = ManyRecords(9, 3000);
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  auto buffer = RecordBuffer::Create(options);
  ASSERT_TRUE(buffer.ok());
  RecordEmitter emitter(**buffer);
  for (const auto& [key, value] : emitted) {
    ASSERT_TRUE(emitter.Emit(key, value).ok());
  }
  const std::vector<std::string> runs = fs->AllFiles(kScratch);
  ASSERT_GT(runs.size(), 1u);
  std::string bytes = fs->Contents(runs[1]);
  bytes[bytes.size() / 3] ^= 16;
  fs->SetContents(runs[1], bytes);
  EXPECT_EQ(emitter.Finish().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(fs->AllFiles().empty());
}

TEST(RecordBufferTest, AfterAnErrorEveryCallHasIt) {
  auto fs = NewTestDisk();
  fs->SetCapacity(0);
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  auto buffer = RecordBuffer::Create(options);
  ASSERT_TRUE(buffer.ok());
  RecordEmitter emitter(**buffer);
  absl::Status status;
  for (uint64_t i = 0; status.ok() && i < 100000; ++i) {
    status = emitter.Emit(Cat(i), "value");
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ((*buffer)->window().begin, (*buffer)->window().end);
  EXPECT_EQ((*buffer)->Advance(nullptr, 10), status);
  EXPECT_EQ((*buffer)->Finish(nullptr).status(), status);
}

TEST(RecordBufferTest, DroppedWithoutFinishLeavesNothingBehind) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  {
    auto buffer = RecordBuffer::Create(options);
    ASSERT_TRUE(buffer.ok());
    RecordEmitter emitter(**buffer);
    for (uint64_t i = 0; i < 5000; ++i) {
      ASSERT_TRUE(emitter.Emit(Cat(i), "value").ok());
    }
    EXPECT_FALSE(fs->AllFiles().empty());
  }
  EXPECT_TRUE(fs->AllFiles().empty());
}

TEST(RecordBufferTest, ScratchDirectoryIsMadeWithTheFirstRun) {
  const auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.scratch_dir = JoinPath(kScratch, "own");
  for (const uint64_t records : {1, 5000, 5000}) {  // Twice, as if anew.
    options.memory_bytes = 64 << 10;
    options.output_path =
        JoinPath(kScratch, Cat("output-", fs->AllFiles().size()));
    auto buffer = RecordBuffer::Create(options);
    ASSERT_TRUE(buffer.ok());
    RecordEmitter emitter(**buffer);
    for (uint64_t i = 0; i < records; ++i) {
      ASSERT_TRUE(emitter.Emit(Cat(i), "value").ok());
    }
    const auto result = emitter.Finish();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->spills > 0, records > 1);
    EXPECT_EQ(fs->Exists(options.scratch_dir), records > 1);
  }
  EXPECT_THAT(*fs->List(options.scratch_dir), testing::IsEmpty());
}

TEST(RecordBufferTest, ResidentMemoryStaysInBounds) {
  const TestDirectory directory;
  MapSideOptions options = TestOptions(FileSystem::Posix());
  options.scratch_dir = directory.path();
  options.output_path = JoinPath(directory.path(), "output");
  options.memory_bytes = 32 << 20;
  ResidentMemory resident;
  options.on_progress = [&resident] { resident.Sample(); };
  auto buffer = RecordBuffer::Create(options);
  ASSERT_TRUE(buffer.ok());
  RecordEmitter emitter(**buffer);
  const std::string value(90, 'v');
  for (uint64_t i = 0; i < 800000; ++i) {
    ASSERT_TRUE(emitter.Emit(Cat(i * 7919 % 800000), value).ok());
    if (i % 4096 == 0) resident.Sample();
  }
  const auto result = emitter.Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->spills, 2u);
  EXPECT_LE(result->peak_memory_bytes, options.memory_bytes);
  resident.ExpectAtMost(options.memory_bytes / 4 * 5);
}

TEST(RecordBufferTest, ReportsProgressWhileItSpillsAndMerges) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = 64 << 10;
  uint64_t reports = 0;
  options.on_progress = [&reports] { ++reports; };
  const absl::StatusOr<MapSideResult> result =
      Sort(ManyRecords(4, 30000), options);
  ASSERT_TRUE(result.ok());
  // A record written costs more than 64 units, a report comes every 2^19.
  EXPECT_GE(reports, result->spilled_records * 64 >> 19);
}

}  // namespace
}  // namespace millrace::engine
