// Takes the exact input of an attempt into its bundle.
#ifndef MILLRACE_API_SRC_REPLAY_CAPTURE_H_
#define MILLRACE_API_SRC_REPLAY_CAPTURE_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "api/src/replay/bundle.h"
#include "common/file_system.h"
#include "proto/messages/task.pb.h"

namespace millrace::replay {

// Of a map whose plan is in the bundle: copies the records of its split from
// the job's input files. The message of the bundle changes; save it.
//   kAborted  a file is not the one of the plan any more: INPUT_CHANGED
absl::Status CaptureSplit(FileSystem& fs, Bundle* bundle);

// Appends a reduce's partition of map outputs to its bundle, one after the
// other, in any order. Thread-compatible.
class MapOutputCapture {
 public:
  // `bundle` outlives it; its task is a reduce.
  static absl::StatusOr<std::unique_ptr<MapOutputCapture>> Create(
      FileSystem& fs, Bundle* bundle);

  // A whole map output file, or a section of a file. What is wrong with a file
  // is kDataLoss.
  absl::Status Add(const proto::MapOutputRef& ref);
  // Call last; the message of the bundle changes; save it.
  absl::Status Finish();

 private:
  MapOutputCapture(FileSystem& fs, Bundle* bundle,
                   std::unique_ptr<WriteFile> file)
      : fs_(fs), bundle_(bundle), file_(std::move(file)) {}

  FileSystem& fs_;
  Bundle* const bundle_;
  const std::unique_ptr<WriteFile> file_;
  uint64_t bytes_ = 0;
};

// The file system of a task that runs from a bundle: `fs`, but for the input
// files of the plan, whose copies stand in their place with the size, time and
// inode that the plan says. What was not copied reads as zeros; the readers of
// a split do not look at it. `fs` outlives it.
absl::StatusOr<std::unique_ptr<FileSystem>> MakeReplayFileSystem(
    FileSystem& fs, const Bundle& bundle);

}  // namespace millrace::replay

#endif  // MILLRACE_API_SRC_REPLAY_CAPTURE_H_
