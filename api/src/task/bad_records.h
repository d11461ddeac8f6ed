// The records of a split that are not handed to the mapper, because it crashed
// on them before.
#ifndef MILLRACE_API_SRC_TASK_BAD_RECORDS_H_
#define MILLRACE_API_SRC_TASK_BAD_RECORDS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "millrace/internal/ports.h"
#include "proto/messages/plan.pb.h"
#include "proto/messages/task.pb.h"
#include "storage/output/dead_letter.h"

namespace millrace::task {

// Finds them in the stream of records and writes each to the dead-letter file.
// Confined to the task's thread.
class BadRecords {
 public:
  using List = google::protobuf::RepeatedPtrField<proto::BadRecord>;

  // `fs` and `plan` outlive it. They are written to the file `path`; "": they
  // are not.
  BadRecords(FileSystem& fs, const proto::Plan& plan, const List& records,
             std::string path);

  // Whether there are any.
  bool expected() const { return !bad_.empty(); }
  // Creates the dead-letter file if there are any. Once, first.
  absl::Status Begin();

  // How many of `records`, which are the next ones of the plan's file `file`,
  // come before the next bad one.
  size_t GoodOnes(std::span<const internal::RawRecord> records,
                  uint32_t file) const;
  // Writes the bad record that GoodOnes has found.
  absl::Status PassOver(const internal::RawRecord& record);
  // So many.
  uint64_t count() const { return next_; }

  // Seals the dead-letter file. kInternal: not all of the bad records were met.
  // REQUIRES: expected(), and there is a file.
  absl::StatusOr<proto::OutputFile> Finish();

 private:
  FileSystem& fs_;
  const proto::Plan& plan_;
  const std::string path_;
  std::vector<proto::BadRecord> bad_;  // In the order of the input.
  size_t next_ = 0;
  std::unique_ptr<storage::DeadLetterWriter> writer_;
};

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_BAD_RECORDS_H_
