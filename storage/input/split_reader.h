// Reads the records of one split, file after file, in batches.
#ifndef MILLRACE_STORAGE_INPUT_SPLIT_READER_H_
#define MILLRACE_STORAGE_INPUT_SPLIT_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "proto/messages/plan.pb.h"

namespace millrace::storage {

// One record where it lies in the read buffer: without its line end for text.
struct InputRecord {
  const char* data = nullptr;  // Null for a sequence.
  size_t size = 0;
  uint64_t offset = 0;  // In the file; the number itself for a sequence.
};

// Records of one file; never mixes two. The views stay valid until the next
// call of Next().
struct InputBatch {
  uint32_t file = 0;  // Index into Plan.files.
  const InputRecord* records = nullptr;
  size_t count = 0;
};

// Thread-compatible. Memory: the read buffer (1 MiB), or the largest record
// plus as much again while it grows.
class SplitReader {
 public:
  // A record longer than this is kInvalidArgument with file and offset.
  static constexpr uint64_t kRecordBytesMax = uint64_t{1} << 31;

  // `plan` outlives the reader.
  // REQUIRES: split < plan.splits_size().
  static std::unique_ptr<SplitReader> Create(FileSystem& fs,
                                             const proto::Plan& plan,
                                             int split);
  virtual ~SplitReader() = default;

  // False: the split is done. A record belongs to the range that holds its
  // first byte, so a reader starts behind the first line end at or after offset
  // - 1 and reads past its range's end to finish the last record: any cuts give
  // the same records once each. kAborted: the file is not the one of the plan
  // (checked when a file is opened and again when its last byte has been read):
  // INPUT_CHANGED. Others: reading failed. All name file and offset.
  virtual absl::StatusOr<bool> Next(InputBatch* batch) = 0;

  // Of the records handed out so far, with their line ends. Over the splits of
  // a plan these sum up to its input_bytes; 0 for a sequence.
  virtual uint64_t bytes_read() const = 0;
  // Where the next record would be taken from: for error messages.
  virtual const std::string& current_path() const = 0;
};

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_INPUT_SPLIT_READER_H_
