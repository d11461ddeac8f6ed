// The dead-letter file of a map task: the records that it passed over, because
// the mapper crashed on them.
//
// JSON lines, one a record, in the order of the input; the form is in
// docs/formats.md. It becomes part of the job's output under a name that later
// jobs do not take for input.
#ifndef MILLRACE_STORAGE_OUTPUT_DEAD_LETTER_H_
#define MILLRACE_STORAGE_OUTPUT_DEAD_LETTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "proto/messages/task.pb.h"
#include "storage/output/part_writer.h"

namespace millrace::storage {

// "_dead_letter-00017" for map 17; more digits when there are more maps.
std::string DeadLetterName(uint32_t map);

// Thread-compatible. Holds no record in memory, however long.
class DeadLetterWriter {
 public:
  // Creates the file; errors as FileSystem::Create.
  static absl::StatusOr<std::unique_ptr<DeadLetterWriter>> Create(
      FileSystem& fs, const std::string& path);

  // `file`: path of the input file, empty for a sequence. `record`: its bytes,
  // without the line end.
  absl::Status Add(const proto::BadRecord& bad, std::string_view file,
                   std::string_view record);
  uint64_t records() const { return records_; }
  // As PartWriter::Finish.
  absl::StatusOr<PartSummary> Finish();

 private:
  explicit DeadLetterWriter(std::unique_ptr<PartWriter> part)
      : part_(std::move(part)) {}

  absl::Status FlushIfFull();
  // As the contents of a JSON string. REQUIRES: UTF-8.
  absl::Status AddEscaped(std::string_view text);
  absl::Status AddBase64(std::string_view bytes);

  const std::unique_ptr<PartWriter> part_;
  std::string pending_;
  uint64_t records_ = 0;
};

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_OUTPUT_DEAD_LETTER_H_
