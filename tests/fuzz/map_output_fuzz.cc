// Whole files: any bytes, any index under a right checksum, and files as they
// should be with bytes changed, of which nothing but what was written may come
// out.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/format/index.h"
#include "tests/fuzz/fuzz_file.h"

namespace millrace::engine {
namespace {

void FuzzAnyBytes(FuzzedDataProvider& data) {
  const auto num_partitions = data.ConsumeIntegralInRange<uint32_t>(1, 4);
  std::vector<Records> got;
  ReadFuzzFile(data.ConsumeRemainingBytesAsString(), num_partitions, 0, &got)
      .IgnoreError();
}

void FuzzIndex(FuzzedDataProvider& data) {
  MapOutputSummary summary;
  summary.codec = static_cast<Codec>(data.ConsumeIntegralInRange(0, 2));
  summary.block_bytes = data.ConsumeIntegral<uint32_t>();
  summary.partitions.resize(data.ConsumeIntegralInRange<size_t>(1, 4));
  uint64_t offset = 0;
  for (PartitionEntry& entry : summary.partitions) {
    const bool fits = data.ConsumeBool();
    entry.offset = fits ? offset : data.ConsumeIntegral<uint64_t>();
    entry.bytes = fits ? data.ConsumeIntegralInRange<uint64_t>(0, 1'000)
                       : data.ConsumeIntegral<uint64_t>();
    entry.blocks = data.ConsumeIntegral<uint32_t>();
    entry.largest_block_bytes = data.ConsumeIntegral<uint32_t>();
    entry.sum.records = data.ConsumeIntegral<uint64_t>();
    entry.sum.hash = data.ConsumeIntegral<uint64_t>();
    entry.digest =
        data.ConsumeBool() ? Hash64({}) : data.ConsumeIntegral<uint64_t>();
    offset = entry.offset + entry.bytes;
  }
  summary.root = RootOf(summary.partitions);
  std::string blocks = data.ConsumeRemainingBytesAsString();
  if (offset <= 4'000) blocks.resize(offset);
  std::vector<Records> got;
  ReadFuzzFile(
      blocks + EncodeIndex(TestIdentity(kFuzzMap), summary, blocks.size()),
      static_cast<uint32_t>(summary.partitions.size()), 0, &got)
      .IgnoreError();
}

void FuzzChangedFile(FuzzedDataProvider& data) {
  MapOutputWriterOptions options;
  options.identity = TestIdentity(kFuzzMap);
  options.codec = static_cast<Codec>(data.ConsumeIntegralInRange(0, 2));
  options.block_bytes = data.ConsumeIntegralInRange<size_t>(1, 200);
  const size_t read_bytes = data.ConsumeIntegralInRange<size_t>(0, 1'000);
  std::vector<Records> partitions(data.ConsumeIntegralInRange<size_t>(1, 3));
  for (Records& records : partitions) {
    records.resize(data.ConsumeIntegralInRange<size_t>(0, 10));
    for (auto& [key, value] : records) {
      key = data.ConsumeRandomLengthString(20);
      value = std::string(data.ConsumeIntegralInRange<size_t>(0, 300),
                          data.ConsumeIntegral<char>());
    }
    std::sort(records.begin(), records.end());
  }
  MemoryFileSystem fs;
  CHECK(WriteMapOutput(fs, "/f", options, partitions).ok());
  const std::string good = fs.Contents("/f");
  std::string bad = good;
  for (int i = data.ConsumeIntegralInRange(0, 4); i > 0; --i) {
    const size_t at = data.ConsumeIntegralInRange<size_t>(0, bad.size());
    const size_t from = data.ConsumeIntegralInRange<size_t>(0, good.size());
    const size_t size = data.ConsumeIntegralInRange<size_t>(0, 500);
    switch (data.ConsumeIntegralInRange(0, 3)) {
      case 0:  // Bytes of another place of the file.
        bad.replace(at, std::min(size, good.size() - from), good, from, size);
        break;
      case 1:
        bad.erase(at, size);
        break;
      case 2:
        bad.insert(at, data.ConsumeRandomLengthString(100));
        break;
      default:
        if (at < bad.size()) {
          bad[at] = static_cast<char>(bad[at] ^
                                      (1 << data.ConsumeIntegralInRange(0, 7)));
        }
    }
  }
  std::vector<Records> got;
  const absl::Status status = ReadFuzzFile(
      bad, static_cast<uint32_t>(partitions.size()), read_bytes, &got);
  CHECK_EQ(status.ok(), bad == good) << status;
  for (size_t p = 0; p < partitions.size(); ++p) {
    CHECK_LE(got[p].size(), partitions[p].size());
    CHECK(std::equal(got[p].begin(), got[p].end(), partitions[p].begin()));
  }
}

}  // namespace
}  // namespace millrace::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 2)) {
    case 0:
      millrace::engine::FuzzAnyBytes(data);
      break;
    case 1:
      millrace::engine::FuzzIndex(data);
      break;
    default:
      millrace::engine::FuzzChangedFile(data);
  }
  return 0;
}
