// The directory of an attempt that can be run again
// (proto/messages/replay.proto says what is in it).
#ifndef MILLRACE_API_SRC_REPLAY_BUNDLE_H_
#define MILLRACE_API_SRC_REPLAY_BUNDLE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/bundle_names.h"
#include "common/file_system.h"
#include "proto/messages/replay.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::replay {

// Thread-compatible.
class Bundle {
 public:
  // `directory` is absolute, and exists when something is written.
  explicit Bundle(std::string directory) : directory_(std::move(directory)) {}
  // Reads what Save has written.
  //   kNotFound   the directory is none, or no bundle
  //   kDataLoss   of another version, or damaged
  static absl::StatusOr<Bundle> Open(FileSystem& fs, std::string directory);

  // Writes the message, which makes the directory a bundle; replaces an earlier
  // one.
  absl::Status Save(FileSystem& fs) const;

  proto::ReplayBundle& head() { return head_; }
  const proto::ReplayBundle& head() const { return head_; }

  const std::string& directory() const { return directory_; }
  std::string Attempt() const { return JoinPath(directory_, kBundleAttempt); }
  std::string Program() const { return JoinPath(directory_, kBundleProgram); }
  std::string Plan() const { return JoinPath(directory_, kBundlePlan); }
  std::string MapOutputs() const {
    return JoinPath(directory_, kBundleMapOutputs);
  }
  std::string Run() const { return JoinPath(directory_, kBundleRun); }
  std::string Input(uint32_t file) const;
  std::string SideFile(int index) const;
  // What the task writes: a part file or a map output, below Run().
  std::string Output() const;

  // For a process that runs the attempt, with all paths filled in.
  proto::Configure Configure() const;
  proto::RunTask Task() const;

 private:
  std::string directory_;
  proto::ReplayBundle head_;
};

// Copies files that may be large, byte for byte; `executable`: may be run.
absl::Status CopyFile(FileSystem& fs, const std::string& from,
                      const std::string& to, bool executable);

}  // namespace millrace::replay

#endif  // MILLRACE_API_SRC_REPLAY_BUNDLE_H_
