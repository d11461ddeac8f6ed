#include "engine/map/combine_buffer.h"

#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/map/map_side_test.h"
#include "gtest/gtest.h"
#include "tests/testing/faulty_file_system.h"

namespace millrace::engine {
namespace {

using ValueKind = CombineBuffer::ValueKind;
using Emitted = std::vector<std::pair<std::string, std::string>>;

// The smallest budget there is.
constexpr uint64_t kTiny = 32 << 10;

// What the buffer must write, made with std::map.
std::vector<TestRecord> Twin(const Emitted& emitted, ValueKind kind,
                             const MapSideOptions& options) {
  std::map<std::pair<uint32_t, std::string>, std::string> folded;
  for (const auto& [key, value] : emitted) {
    const auto [place, is_new] =
        folded.try_emplace({ExpectedPartition(options, key), key}, value);
    if (is_new) continue;
    if (kind == ValueKind::kInline8) {
      place->second =
          Bytes8(SumFolder::Number(place->second) + SumFolder::Number(value));
    } else {
      place->second = std::max(place->second, value);
    }
  }
  std::vector<TestRecord> records;
  for (const auto& [place, value] : folded) {
    records.push_back({place.first, place.second, value});
  }
  return records;
}

absl::StatusOr<MapSideResult> Combine(const Emitted& emitted, ValueKind kind,
                                      MapSideOptions options) {
  SumFolder sum;
  MaxFolder max;
  options.folder = kind == ValueKind::kInline8
                       ? static_cast<ValueFolder*>(&sum)
                       : static_cast<ValueFolder*>(&max);
  auto buffer = CombineBuffer::Create(options, kind);
  if (!buffer.ok()) return buffer.status();
  CombineEmitter emitter(**buffer, kind);
  for (const auto& [key, value] : emitted) {
    absl::Status status = emitter.Emit(key, value);
    if (!status.ok()) return status;
  }
  absl::Status status = emitter.Flush();
  if (!status.ok()) return status;
  return (*buffer)->Finish();
}

// Runs, compares with the twin, and checks what holds for every run. `slack`:
// by how much the budget may be exceeded.
MapSideResult ExpectTwin(const Emitted& emitted, ValueKind kind,
                         const MapSideOptions& options, MemoryFileSystem& fs,
                         uint64_t slack) {
  absl::StatusOr<MapSideResult> result = Combine(emitted, kind, options);
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return MapSideResult();
  const std::vector<TestRecord> twin = Twin(emitted, kind, options);
  EXPECT_EQ(ReadOutput(fs, options, *result), twin);
  EXPECT_EQ(fs.AllFiles(), std::vector<std::string>{kOutput});
  EXPECT_EQ(result->emitted_records, emitted.size());
  EXPECT_EQ(result->combine_in_records, emitted.size());
  EXPECT_EQ(result->combine_out, result->output.total);
  EXPECT_EQ(result->combine_out.records, twin.size());
  EXPECT_LE(result->peak_memory_bytes,
            std::max(options.memory_bytes, kTiny) + slack);
  return *std::move(result);
}

std::string RandomValue(ValueKind kind, std::mt19937_64& rng, size_t size_max) {
  if (kind == ValueKind::kInline8) return Bytes8(rng());
  std::string value(rng() % (size_max + 1), '\0');
  for (char& c : value) c = static_cast<char>(rng());
  return value;
}

void TestRandomCases(ValueKind kind, uint64_t cases) {
  uint64_t spilling = 0;
  uint64_t merging = 0;
  for (uint64_t seed = 0; seed < cases; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 rng(seed);
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = kTiny;
    options.num_partitions = 1 + static_cast<uint32_t>(rng() % 4);
    options.codec = RandomCodec(rng);
    FunctionPartitioner by_length(PartitionByLength);
    if (rng() % 2 == 0) options.partitioner = &by_length;
    KeyMaker make_key(rng(), 1 + rng() % 3000);
    Emitted emitted(rng() % 32 == 0 ? rng() % 5000 : rng() % 100);
    for (auto& [key, value] : emitted) {
      key = make_key();
      value = RandomValue(kind, rng, 40);
    }
    // Of values, one batch may come on top; and zstd has a minimum of its own.
    const uint64_t slack = (kind == ValueKind::kInline8 ? 0 : 8 << 10) +
                           (options.codec == Codec::kZstd ? 1040 << 10 : 0);
    const MapSideResult result = ExpectTwin(emitted, kind, options, *fs, slack);
    spilling += result.spills > 0 ? 1 : 0;
    merging += result.spills > 4 ? 1 : 0;
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(spilling, cases / 200);
  EXPECT_GT(merging, cases / 2000);
}

TEST(CombineBufferTest, RandomCasesWithInlineValuesEqualTheTwin) {
  TestRandomCases(ValueKind::kInline8, 10000);
}

TEST(CombineBufferTest, RandomCasesWithIndirectValuesEqualTheTwin) {
  TestRandomCases(ValueKind::kIndirect, 10000);
}

// Keys of all styles and Zipf-like counts.
Emitted ManyRecords(ValueKind kind, uint64_t seed, size_t records) {
  std::mt19937_64 rng(seed);
  KeyMaker makers[] = {KeyMaker(1, 30000), KeyMaker(2, 500),
                       KeyMaker(3, 30000)};
  Emitted emitted(records);
  for (auto& [key, value] : emitted) {
    key = makers[rng() % 3]();
    value = RandomValue(kind, rng, 100);
  }
  return emitted;
}

TEST(CombineBufferTest, OutputDoesNotDependOnTheBudget) {
  for (ValueKind kind : {ValueKind::kInline8, ValueKind::kIndirect}) {
    const Emitted emitted = ManyRecords(kind, 5, 60000);
    std::set<std::pair<uint64_t, uint64_t>> roots;
    std::set<std::string> files;
    uint64_t most_spills = 0;
    for (uint64_t kib : {64, 200, 1024, 4096, 65536}) {
      SCOPED_TRACE(testing::Message() << kib << " KiB");
      auto fs = NewTestDisk();
      MapSideOptions options = TestOptions(*fs);
      options.memory_bytes = kib << 10;
      const MapSideResult result =
          ExpectTwin(emitted, kind, options, *fs,
                     kind == ValueKind::kInline8 ? 0 : 8 << 10);
      roots.emplace(result.output.root.low, result.output.root.high);
      if (kib >= 4096) files.insert(fs->Contents(kOutput));
      most_spills = std::max(most_spills, result.spills);
      EXPECT_TRUE(result.spills == 0 || kib < 65536);
    }
    EXPECT_EQ(roots.size(), 1u);
    EXPECT_EQ(files.size(), 1u);
    EXPECT_GT(most_spills, 10u);
  }
}

TEST(CombineBufferTest, SpillPointsDependOnTheRecordsAlone) {
  const Emitted emitted = ManyRecords(ValueKind::kIndirect, 6, 50000);
  std::set<std::pair<uint64_t, uint64_t>> seen;
  for (int i = 0; i < 2; ++i) {
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 100 << 10;
    const MapSideResult result =
        ExpectTwin(emitted, ValueKind::kIndirect, options, *fs, 8 << 10);
    EXPECT_GT(result.spills, 0u);
    seen.emplace(result.spills, result.spilled_records);
  }
  EXPECT_EQ(seen.size(), 1u);
}

TEST(CombineBufferTest, NothingEmitted) {
  auto fs = NewTestDisk();
  const MapSideOptions options = TestOptions(*fs);
  const MapSideResult result =
      ExpectTwin({}, ValueKind::kInline8, options, *fs, 0);
  EXPECT_EQ(result.output.partitions.size(), 3u);
}

TEST(CombineBufferTest, KeyTwiceInABatchHasOneSlotAndOneInsertion) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  SumFolder folder;
  options.folder = &folder;
  auto buffer = CombineBuffer::Create(options, ValueKind::kInline8);
  ASSERT_TRUE(buffer.ok());
  const std::string long_key(17, 'k');
  const char padded[4][CombineBuffer::kInlineKeyBytes] = {"a", "", "a", ""};
  const char* const data[4] = {nullptr, long_key.data(), nullptr,
                               long_key.data()};
  const uint32_t sizes[4] = {1, 17, 1, 17};
  CombineBuffer::Batch batch;
  batch.count = 4;
  batch.padded = padded;
  batch.data = data;
  batch.sizes = sizes;
  uint64_t* slots[4];
  uint32_t inserted = 0;
  ASSERT_TRUE((*buffer)->Probe(batch, slots, &inserted).ok());
  EXPECT_EQ(inserted, 0b0011u);
  EXPECT_EQ(slots[0], slots[2]);
  EXPECT_EQ(slots[1], slots[3]);
  EXPECT_NE(slots[0], slots[1]);
  *slots[0] = 5;
  *slots[1] = 6;
  ASSERT_TRUE((*buffer)->Probe(batch, slots, &inserted).ok());
  EXPECT_EQ(inserted, 0u);
  EXPECT_EQ(*slots[0], 5u);
  EXPECT_EQ(*slots[3], 6u);
}

TEST(CombineBufferTest, KeysThatDifferInTrailingNulsAreDifferent) {
  auto fs = NewTestDisk();
  const MapSideOptions options = TestOptions(*fs);
  Emitted emitted;
  for (size_t size = 0; size < 40; ++size) {
    emitted.emplace_back(std::string(size, '\0'), Bytes8(size));
    emitted.emplace_back(std::string(size, '\0'), Bytes8(1));
  }
  const MapSideResult result =
      ExpectTwin(emitted, ValueKind::kInline8, options, *fs, 0);
  EXPECT_EQ(result.output.total.records, 40u);
}

TEST(CombineBufferTest, KeysLargerThanTheBudget) {
  constexpr uint64_t kLarge = 10 << 20;
  for (ValueKind kind : {ValueKind::kInline8, ValueKind::kIndirect}) {
    for (uint64_t budget : {uint64_t{1} << 20, uint64_t{32} << 20}) {
      auto fs = NewTestDisk();
      MapSideOptions options = TestOptions(*fs);
      options.memory_bytes = budget;
      Emitted emitted;
      for (uint64_t i = 0; i < 5000; ++i) {
        emitted.emplace_back(Cat("key", i % 700), Bytes8(i));
        if (i % 1500 == 700) {
          emitted.emplace_back(std::string(kLarge, 'L'), Bytes8(i));
        }
      }
      // One key in the table, twice, with its neighbours, in the merge.
      const MapSideResult result =
          ExpectTwin(emitted, kind, options, *fs, 2 * kLarge + (64 << 10));
      EXPECT_EQ(result.spills > 0, budget < kLarge);
    }
  }
}

TEST(CombineBufferTest, ValuesLargerThanTheBudget) {
  constexpr uint64_t kLarge = 3 << 20;
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = 1 << 20;
  Emitted emitted;
  for (uint64_t i = 0; i < 1000; ++i) {
    emitted.emplace_back(Cat(i % 300),
                         i % 250 == 9 ? std::string(kLarge, 'V') : Cat(i));
  }
  const MapSideResult result = ExpectTwin(
      emitted, ValueKind::kIndirect, options, *fs, 2 * kLarge + (64 << 10));
  EXPECT_GT(result.spills, 1u);
}

TEST(CombineBufferTest, AnswerOfThePartitionerOutOfRange) {
  for (int64_t answer : {int64_t{-1}, int64_t{3}, int64_t{1} << 32}) {
    for (uint64_t records : {10, 100000}) {  // At Finish(), and in a spill.
      auto fs = NewTestDisk();
      MapSideOptions options = TestOptions(*fs);
      options.memory_bytes = kTiny;
      FunctionPartitioner partitioner([&](std::string_view key, uint32_t) {
        return key == "bad\n8" ? answer : 0;
      });
      options.partitioner = &partitioner;
      Emitted emitted;
      for (uint64_t i = 0; i < records; ++i) {
        emitted.emplace_back(Cat("bad\n", i), Bytes8(i));
      }
      const absl::Status status =
          Combine(emitted, ValueKind::kInline8, options).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
      EXPECT_THAT(std::string(status.message()),
                  testing::AllOf(testing::HasSubstr("bad\\n8"),
                                 testing::HasSubstr(Cat(answer))));
      EXPECT_TRUE(fs->AllFiles().empty());
    }
  }
}

// The partitioner is the user's: one call per distinct key, not per record.
TEST(CombineBufferTest, PartitionerIsAskedOncePerKey) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  uint64_t calls = 0;
  FunctionPartitioner partitioner([&](std::string_view key, uint32_t n) {
    ++calls;
    return PartitionByLength(key, n);
  });
  options.partitioner = &partitioner;
  Emitted emitted;
  for (uint64_t i = 0; i < 10000; ++i) {
    emitted.emplace_back(Cat(i % 100), Bytes8(i));
  }
  ASSERT_TRUE(Combine(emitted, ValueKind::kInline8, options).ok());
  EXPECT_EQ(calls, 100u);
}

TEST(CombineBufferTest, FullDiskLeavesNothingBehind) {
  const Emitted emitted = ManyRecords(ValueKind::kInline8, 9, 15000);
  uint64_t needed = 0;
  {
    auto fs = NewTestDisk();
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 64 << 10;
    ASSERT_TRUE(Combine(emitted, ValueKind::kInline8, options).ok());
    needed = 3 * fs->Contents(kOutput).size();
  }
  uint64_t failures = 0;
  for (uint64_t capacity = 0; capacity < needed; capacity += needed / 40) {
    SCOPED_TRACE(testing::Message() << "capacity " << capacity);
    auto fs = NewTestDisk();
    fs->SetCapacity(capacity);
    MapSideOptions options = TestOptions(*fs);
    options.memory_bytes = 64 << 10;
    const absl::Status status =
        Combine(emitted, ValueKind::kInline8, options).status();
    if (status.ok()) continue;
    ++failures;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(fs->AllFiles().empty());
  }
  EXPECT_GT(failures, 10u);
}

TEST(CombineBufferTest, EveryFaultOfTheDiskIsReportedAndCleanedUp) {
  const Emitted emitted = ManyRecords(ValueKind::kInline8, 9, 3500);
  for (uint64_t n = 0;; ++n) {
    SCOPED_TRACE(testing::Message() << "operation " << n);
    auto disk = NewTestDisk();
    FaultyFileSystem fs(*disk);
    fs.FailOnce(n, absl::DataLossError("injected"));
    MapSideOptions options = TestOptions(fs);
    options.memory_bytes = kTiny;
    const absl::StatusOr<MapSideResult> result =
        Combine(emitted, ValueKind::kInline8, options);
    if (n >= fs.operations()) {  // The fault lay behind the end.
      EXPECT_TRUE(result.ok());
      break;
    }
    // Only a removal may fail without harm.
    if (result.ok()) {
      EXPECT_EQ(ReadOutput(*disk, options, *result),
                Twin(emitted, ValueKind::kInline8, options));
      EXPECT_LE(disk->AllFiles().size(), 2u);
    } else {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
      EXPECT_TRUE(disk->AllFiles().empty());
    }
  }
}

TEST(CombineBufferTest, AfterAnErrorEveryCallHasIt) {
  auto fs = NewTestDisk();
  fs->SetCapacity(0);
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  SumFolder folder;
  options.folder = &folder;
  auto buffer = CombineBuffer::Create(options, ValueKind::kInline8);
  ASSERT_TRUE(buffer.ok());
  CombineEmitter emitter(**buffer, ValueKind::kInline8);
  absl::Status status;
  for (uint64_t i = 0; status.ok() && i < 100000; ++i) {
    status = emitter.Emit(Cat(i), Bytes8(i));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(emitter.Emit("x", Bytes8(1)), absl::OkStatus());  // Not full.
  EXPECT_EQ(emitter.Flush(), status);
  EXPECT_EQ((*buffer)->Finish().status(), status);
}

TEST(CombineBufferTest, DroppedWithoutFinishLeavesNothingBehind) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  SumFolder folder;
  options.folder = &folder;
  {
    auto buffer = CombineBuffer::Create(options, ValueKind::kInline8);
    ASSERT_TRUE(buffer.ok());
    CombineEmitter emitter(**buffer, ValueKind::kInline8);
    for (uint64_t i = 0; i < 5000; ++i) {
      ASSERT_TRUE(emitter.Emit(Cat(i), Bytes8(i)).ok());
    }
    EXPECT_FALSE(fs->AllFiles().empty());
  }
  EXPECT_TRUE(fs->AllFiles().empty());
}

TEST(CombineBufferTest, ExceptionOfTheFolderLeavesNothingBehind) {
  class Thrower final : public ValueFolder {
   public:
    void Start(std::string_view, std::string_view) override {}
    void Add(std::string_view) override { throw std::runtime_error("no"); }
    std::string_view Result() override { return ""; }
  };
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = kTiny;
  Thrower folder;
  options.folder = &folder;
  {
    auto buffer = CombineBuffer::Create(options, ValueKind::kInline8);
    ASSERT_TRUE(buffer.ok());
    CombineEmitter emitter(**buffer, ValueKind::kInline8);
    for (uint64_t i = 0; i < 5000; ++i) {
      ASSERT_TRUE(emitter.Emit(Cat(i % 2500), Bytes8(i)).ok());
    }
    EXPECT_THROW((*buffer)->Finish().IgnoreError(), std::runtime_error);
  }
  EXPECT_TRUE(fs->AllFiles().empty());
}

TEST(CombineBufferTest, ResidentMemoryStaysInBounds) {
  const TestDirectory directory;
  MapSideOptions options = TestOptions(FileSystem::Posix());
  options.scratch_dir = directory.path();
  options.output_path = JoinPath(directory.path(), "output");
  options.memory_bytes = 32 << 20;
  SumFolder folder;
  options.folder = &folder;
  ResidentMemory resident;
  options.on_progress = [&resident] { resident.Sample(); };
  auto buffer = CombineBuffer::Create(options, ValueKind::kInline8);
  ASSERT_TRUE(buffer.ok());
  CombineEmitter emitter(**buffer, ValueKind::kInline8);
  for (uint64_t i = 0; i < 1500000; ++i) {
    ASSERT_TRUE(emitter.Emit(Cat("k", i), Bytes8(i)).ok());
    if (i % 4096 == 0) resident.Sample();
  }
  ASSERT_TRUE(emitter.Flush().ok());
  const auto result = (*buffer)->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->spills, 1u);
  EXPECT_LE(result->peak_memory_bytes, options.memory_bytes);
  resident.ExpectAtMost(options.memory_bytes / 4 * 5);
}

TEST(CombineBufferTest, ReportsProgressWhileItSpillsAndMerges) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.memory_bytes = 64 << 10;
  uint64_t reports = 0;
  options.on_progress = [&reports] { ++reports; };
  const Emitted emitted = ManyRecords(ValueKind::kInline8, 4, 100000);
  const absl::StatusOr<MapSideResult> result =
      Combine(emitted, ValueKind::kInline8, options);
  ASSERT_TRUE(result.ok());
  // A record written costs more than 64 units, a report comes every 2^19.
  EXPECT_GE(reports, result->spilled_records * 64 >> 19);
}

TEST(CombineBufferTest, PartitionCountIsChecked) {
  auto fs = NewTestDisk();
  MapSideOptions options = TestOptions(*fs);
  options.num_partitions = 0;
  EXPECT_EQ(Combine({}, ValueKind::kInline8, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace::engine
