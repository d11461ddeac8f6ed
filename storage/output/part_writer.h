// Writes one part file of a job's output.
#ifndef MILLRACE_STORAGE_OUTPUT_PART_WRITER_H_
#define MILLRACE_STORAGE_OUTPUT_PART_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"

namespace millrace::storage {

struct PartSummary {
  uint64_t bytes = 0;
  uint64_t xxh3 = 0;  // XXH3-64 of the whole file.
  uint64_t inode = 0;
};

// Thread-compatible. The bytes are the format's business; this counts, hashes
// and stores them.
class PartWriter {
 public:
  // Creates the file; errors as FileSystem::Create.
  static absl::StatusOr<std::unique_ptr<PartWriter>> Create(
      FileSystem& fs, const std::string& path);
  virtual ~PartWriter() = default;

  // Best called with blocks of 256 KiB and more; passes them straight on.
  virtual absl::Status Append(std::string_view bytes) = 0;
  // Syncs, closes and seals (read-only) the file: a sealed file never changes.
  virtual absl::StatusOr<PartSummary> Finish() = 0;
};

// "part-00000" for 0; more digits when there are more parts.
std::string PartName(uint32_t index);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_OUTPUT_PART_WRITER_H_
