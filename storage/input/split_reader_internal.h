// For tests and fuzzers: the reader with sizes small enough that every path is
// taken by inputs of a few bytes.
#ifndef MILLRACE_STORAGE_INPUT_SPLIT_READER_INTERNAL_H_
#define MILLRACE_STORAGE_INPUT_SPLIT_READER_INTERNAL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "storage/input/split_reader.h"

namespace millrace::storage::internal {

struct SplitReaderOptions {
  // One read of this size costs little more per byte than larger ones, and what
  // was read is still in the cache when it is looked at.
  size_t buffer_bytes = 1 << 20;
  // How far a read goes beyond the end of its range at first, to find the end
  // of the last record.
  size_t overread_bytes = 64 << 10;
  size_t batch_records = 256;
  uint64_t record_bytes_max = SplitReader::kRecordBytesMax;
};

// All options >= 1.
std::unique_ptr<SplitReader> CreateSplitReader(
    FileSystem& fs, const proto::Plan& plan, int split,
    const SplitReaderOptions& options);

}  // namespace millrace::storage::internal

#endif  // MILLRACE_STORAGE_INPUT_SPLIT_READER_INTERNAL_H_
