// The way of records from emit to reduce, against std::stable_sort: several
// maps, each sorted and perhaps spilled by a buffer of any size, whose outputs
// are merged in one pass or in several. What comes out is what went in, by key
// and then in the order of maps and of emits, in groups of equal keys.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/test_records.h"
#include "engine/map/partition.h"
#include "engine/map/record_buffer.h"
#include "engine/merge/grouped_reader.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

constexpr char kScratch[] = "/scratch";

// Few letters and shared beginnings, so that keys meet and are prefixes of one
// another; now and then any bytes.
std::string AnyKey(FuzzedDataProvider& data) {
  if (data.ConsumeIntegralInRange(0, 7) == 0) {
    return data.ConsumeRandomLengthString(40);
  }
  std::string key(data.ConsumeIntegralInRange<size_t>(0, 17),
                  data.ConsumeBool() ? 'p' : '\0');
  key += static_cast<char>(data.ConsumeIntegralInRange(0, 3) - 1);
  return key;
}

Codec AnyCodec(FuzzedDataProvider& data) {
  return data.ConsumeBool() ? Codec::kNone : Codec::kLz4;
}

// As the typed layer emits: headers and bytes into the buffer's window.
absl::Status Emit(RecordBuffer& buffer, char** next, const Record& record) {
  const auto& [key, value] = record;
  const size_t size =
      RecordBuffer::kRecordHeaderBytes + key.size() + value.size();
  if (static_cast<size_t>(buffer.window().end - *next) < size) {
    MR_RETURN_IF_ERROR(buffer.Advance(*next, size));
    *next = buffer.window().begin;
  }
  const uint32_t sizes[2] = {static_cast<uint32_t>(key.size()),
                             static_cast<uint32_t>(value.size())};
  std::memcpy(*next, sizes, sizeof sizes);
  *next = std::copy(key.begin(), key.end(), *next + sizeof sizes);
  *next = std::copy(value.begin(), value.end(), *next);
  return absl::OkStatus();
}

absl::StatusOr<MapSideResult> RunMap(const MapSideOptions& options,
                                     const Records& records) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<RecordBuffer> buffer,
                      RecordBuffer::Create(options));
  char* next = buffer->window().begin;
  for (const Record& record : records) {
    MR_RETURN_IF_ERROR(Emit(*buffer, &next, record));
  }
  return buffer->Finish(next);
}

bool KeyLess(const Record& a, const Record& b) { return a.first < b.first; }

void Fuzz(FuzzedDataProvider& data) {
  MemoryFileSystem fs;
  CHECK(fs.MakeDirectory(kScratch).ok());
  const auto num_partitions = data.ConsumeIntegralInRange<uint32_t>(1, 3);
  const auto maps = data.ConsumeIntegralInRange<uint32_t>(1, 5);
  std::vector<MapOutputSource> sources;
  std::vector<Records> expected(num_partitions);
  for (uint32_t map = 0; map < maps; ++map) {
    MapSideOptions options;
    options.fs = &fs;
    options.identity = TestIdentity(map);
    options.num_partitions = num_partitions;
    options.memory_bytes =
        data.ConsumeIntegralInRange<uint64_t>(1 << 10, 1 << 18);
    options.codec = AnyCodec(data);
    options.scratch_dir = kScratch;
    options.output_path = Cat("/map", map);
    options.fan_in_max = data.ConsumeIntegralInRange<uint32_t>(2, 5);
    Records records(data.ConsumeIntegralInRange<size_t>(0, 60));
    for (size_t i = 0; i < records.size(); ++i) {
      records[i].first = AnyKey(data);
      // Says whence it comes, so that the order of equal keys shows; some are
      // longer than the smallest buffer.
      records[i].second = Cat(map, ".", i);
      records[i].second.resize(data.ConsumeIntegralInRange<size_t>(0, 7) == 0
                                   ? data.ConsumeIntegralInRange(0, 3000)
                                   : records[i].second.size(),
                               '.');
      expected[HashPartition(Hash64(records[i].first), num_partitions)]
          .push_back(records[i]);
    }
    const absl::StatusOr<MapSideResult> result = RunMap(options, records);
    CHECK(result.ok()) << result.status();
    CHECK_EQ(result->emitted_records, records.size());
    sources.push_back(
        {options.output_path, options.identity, result->output.root});
  }

  GroupedReaderOptions options;
  options.fs = &fs;
  options.num_partitions = num_partitions;
  options.memory_bytes =
      data.ConsumeIntegralInRange<uint64_t>(1 << 10, 1 << 18);
  options.scratch_dir = kScratch;
  options.codec = AnyCodec(data);
  options.fan_in_max = data.ConsumeIntegralInRange<uint32_t>(2, 6);
  for (uint32_t p = 0; p < num_partitions; ++p) {
    std::stable_sort(expected[p].begin(), expected[p].end(), KeyLess);
    options.partition = p;
    std::optional<size_t> lost_map;
    const auto reader = GroupedReader::Create(sources, options, &lost_map);
    CHECK(reader.ok()) << reader.status();
    Records merged;
    std::optional<std::string> last;
    while ((*reader)->NextGroup()) {
      const std::string key((*reader)->key());
      CHECK(!last.has_value() || *last < key) << "a key has two groups";
      last = key;
      while ((*reader)->NextValue()) {
        CHECK((*reader)->key() == key);
        merged.emplace_back(key, (*reader)->value());
      }
    }
    CHECK((*reader)->status().ok()) << (*reader)->status();
    CHECK(merged == expected[p]);
  }
  CHECK(fs.List(kScratch)->empty());
}

}  // namespace
}  // namespace millrace::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::engine::Fuzz(data);
  return 0;
}
