// Sorted runs in files of a file system in memory, for measurements of merges.
#ifndef MILLRACE_BENCH_MERGE_RUNS_H_
#define MILLRACE_BENCH_MERGE_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/format/map_output_reader.h"
#include "engine/format/test_records.h"
#include "engine/merge/grouped_reader.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::bench {

class MergeRuns {
 public:
  static constexpr size_t kRecords = 1'000'000;  // Of all runs together.

  // Keys of printable characters; half of each value is noise, so that codecs
  // have some work.
  MergeRuns(uint32_t runs, engine::Codec codec, size_t key_bytes,
            size_t value_bytes);

  std::unique_ptr<engine::RecordStream> Open(size_t run, size_t read_bytes);
  // All of them, from their beginnings.
  std::vector<std::unique_ptr<engine::RecordStream>> OpenAll();

  MemoryFileSystem& fs() { return fs_; }
  const std::vector<engine::MapOutputSource>& sources() const {
    return sources_;
  }
  // The records of the first run, and how it was written.
  const engine::Records& first() const { return first_; }
  const engine::MapOutputWriterOptions& options() const { return options_; }
  size_t records() const { return records_; }
  // Of the records' canonical streams.
  size_t bytes() const { return bytes_; }

 private:
  MemoryFileSystem fs_;
  engine::MapOutputWriterOptions options_;
  std::vector<engine::MapOutputSource> sources_;
  engine::Records first_;
  size_t records_ = 0;
  size_t bytes_ = 0;
};

}  // namespace millrace::bench

#endif  // MILLRACE_BENCH_MERGE_RUNS_H_
