// Real map output files for the tests of the shuffle.
#ifndef MILLRACE_WORKER_SHUFFLE_TESTING_MAP_OUTPUTS_H_
#define MILLRACE_WORKER_SHUFFLE_TESTING_MAP_OUTPUTS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "engine/format/map_output.h"
#include "engine/format/map_output_writer.h"
#include "engine/format/test_records.h"
#include "proto/messages/shuffle.pb.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::worker {

template <typename Id>
Id TestId(uint64_t seed) {
  return Id::Generate(*Random::Seeded(seed));
}

struct TestOutput {
  engine::MapOutputIdentity identity;
  engine::MapOutputSummary summary;
  std::string file;

  uint64_t index_offset() const {
    uint64_t offset = 0;
    for (const auto& entry : summary.partitions) offset += entry.bytes;
    return offset;
  }
  std::string index() const { return file.substr(index_offset()); }
  std::string partition(uint32_t p) const {
    return file.substr(summary.partitions[p].offset,
                       summary.partitions[p].bytes);
  }
  proto::FetchHeader header(uint32_t p, bool want_index) const {
    proto::FetchHeader header;
    if (want_index) header.set_index(index());
    header.set_index_offset(index_offset());
    header.set_partition_bytes(summary.partitions[p].bytes);
    return header;
  }
};

struct TestOutputOptions {
  JobId job = TestId<JobId>(1);
  uint32_t map_index = 0;
  uint32_t num_partitions = 3;
  uint64_t seed = 1;  // Decides uid and records.
  uint64_t records = 60;
  size_t block_bytes = 512;
  engine::Codec codec = engine::Codec::kNone;
  // Without records.
  std::vector<uint32_t> empty_partitions;
};

inline TestOutput MakeTestOutput(const TestOutputOptions& options) {
  TestOutput output;
  output.identity.job = options.job;
  output.identity.map_index = options.map_index;
  output.identity.attempt =
      TestId<AttemptUid>(1000 + options.seed * 1'000'003 + options.map_index);
  engine::TestRandom random(options.seed * 7919 + options.map_index);
  std::vector<engine::Records> partitions(options.num_partitions);
  for (uint32_t p = 0; p < options.num_partitions; ++p) {
    if (std::count(options.empty_partitions.begin(),
                   options.empty_partitions.end(), p) > 0) {
      continue;
    }
    for (uint64_t i = 0; i < options.records; ++i) {
      partitions[p].emplace_back(random.Bytes(12, 20), random.Bytes(60, 256));
    }
    std::sort(partitions[p].begin(), partitions[p].end());
  }
  engine::MapOutputWriterOptions writer;
  writer.identity = output.identity;
  writer.block_bytes = options.block_bytes;
  writer.codec = options.codec;
  MemoryFileSystem fs;
  auto summary = engine::WriteMapOutput(fs, "/map.out", writer, partitions);
  CHECK(summary.ok());
  output.summary = *std::move(summary);
  output.file = fs.Contents("/map.out");
  return output;
}

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_TESTING_MAP_OUTPUTS_H_
