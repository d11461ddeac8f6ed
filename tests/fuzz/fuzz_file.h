// A map output file in memory, read by everything that reads one.
#ifndef MILLRACE_TESTS_FUZZ_FUZZ_FILE_H_
#define MILLRACE_TESTS_FUZZ_FUZZ_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/logging.h"
#include "engine/format/test_records.h"
#include "engine/merge/grouped_reader.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {

inline constexpr uint32_t kFuzzMap = 5;

// Reads `bytes` as a file of the identity TestIdentity(kFuzzMap), all
// partitions with a reader and one more through a merge with itself. Whatever
// is wrong must be said with kDataLoss; `*partitions` is what was handed out.
inline absl::Status ReadFuzzFile(std::string_view bytes,
                                 uint32_t num_partitions, size_t read_bytes,
                                 std::vector<Records>* partitions) {
  MemoryFileSystem fs;
  fs.SetContents("/f", bytes);
  const absl::Status status = ReadMapOutput(
      fs, "/f", TestIdentity(kFuzzMap), num_partitions, partitions, read_bytes);
  CHECK(status.ok() || absl::IsDataLoss(status)) << status;

  absl::StatusOr<std::shared_ptr<const MapOutputFile>> file =
      MapOutputFile::Open(fs, "/f", TestIdentity(kFuzzMap), num_partitions,
                          std::nullopt);
  if (!file.ok()) return status;
  CHECK(fs.MakeDirectory("/scratch").ok());
  GroupedReaderOptions options;
  options.fs = &fs;
  options.num_partitions = num_partitions;
  options.partition = num_partitions - 1;
  options.scratch_dir = "/scratch";
  options.fan_in_max = 2;
  const MapOutputSource source = {"/f", TestIdentity(kFuzzMap),
                                  (*file)->summary().root};
  std::optional<size_t> lost_map;
  auto reader =
      GroupedReader::Create({source, source, source}, options, &lost_map);
  if (!reader.ok()) {
    CHECK(lost_map.has_value()) << reader.status();
    return status;
  }
  uint64_t records = 0;
  while ((*reader)->NextGroup()) {
    while ((*reader)->NextValue()) ++records;
  }
  if ((*reader)->status().ok()) {
    // Of another partition the damage may be.
    if (status.ok()) CHECK_EQ(records, 3 * partitions->back().size());
  } else {
    CHECK((*reader)->lost_map().has_value()) << (*reader)->status();
  }
  return status;
}

}  // namespace millrace::engine

#endif  // MILLRACE_TESTS_FUZZ_FUZZ_FILE_H_
