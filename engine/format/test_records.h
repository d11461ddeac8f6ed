// What the tests of files and merges share: making, writing and reading
// records.
#ifndef MILLRACE_ENGINE_FORMAT_TEST_RECORDS_H_
#define MILLRACE_ENGINE_FORMAT_TEST_RECORDS_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "engine/format/map_output.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/map_output_writer.h"

namespace millrace::engine {

using Record = std::pair<std::string, std::string>;
using Records = std::vector<Record>;

// The same numbers on every platform, which the std distributions do not give.
class TestRandom {
 public:
  explicit TestRandom(uint64_t seed) : engine_(seed) {}
  // In [0, below).
  uint64_t Below(uint64_t below) { return engine_() % below; }
  // Up to `size_max` bytes, out of `letters` different ones around 0 and 0xFF,
  // where signed comparisons and paddings go wrong.
  std::string Bytes(uint64_t size_max, uint64_t letters) {
    std::string bytes(Below(size_max + 1), '\0');
    for (char& c : bytes) {
      c = static_cast<char>(Below(letters) - letters / 2);
    }
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

inline MapOutputIdentity TestIdentity(uint32_t map_index,
                                      std::string_view attempt_hex_digit = "a",
                                      uint32_t run = 0) {
  MapOutputIdentity identity;
  identity.job = *JobId::FromHex(std::string(32, '7'));
  identity.map_index = map_index;
  identity.attempt =
      *AttemptUid::FromHex(std::string(32, attempt_hex_digit.front()));
  identity.run = run;
  return identity;
}

// One file; `partitions[p]` are the sorted records of partition p.
inline absl::StatusOr<MapOutputSummary> WriteMapOutput(
    FileSystem& fs, const std::string& path, MapOutputWriterOptions options,
    const std::vector<Records>& partitions) {
  options.num_partitions = static_cast<uint32_t>(partitions.size());
  MR_ASSIGN_OR_RETURN(std::unique_ptr<MapOutputWriter> writer,
                      MapOutputWriter::Create(fs, path, options));
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    for (const auto& [key, value] : partitions[p]) {
      MR_RETURN_IF_ERROR(writer->Append(p, key, value));
    }
  }
  return writer->Finish();
}

// What a stream hands out until its end or an error.
inline absl::Status Drain(RecordStream& stream, Records* records) {
  while (stream.Next()) records->emplace_back(stream.key(), stream.value());
  return stream.status();
}

// Opens a file and reads all of it; `*partitions` holds what came before an
// error, too.
inline absl::Status ReadMapOutput(FileSystem& fs, const std::string& path,
                                  const MapOutputIdentity& identity,
                                  uint32_t num_partitions,
                                  std::vector<Records>* partitions,
                                  size_t read_bytes = 0) {
  partitions->assign(num_partitions, {});
  MR_ASSIGN_OR_RETURN(
      const std::shared_ptr<const MapOutputFile> file,
      MapOutputFile::Open(fs, path, identity, num_partitions, std::nullopt));
  for (uint32_t p = 0; p < num_partitions; ++p) {
    MR_RETURN_IF_ERROR(
        Drain(*ReadPartition(file, p, read_bytes), &(*partitions)[p]));
  }
  return absl::OkStatus();
}

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_TEST_RECORDS_H_
