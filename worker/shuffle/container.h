// Where fetched sections lie: a file in memory, or one on disk. Job processes
// open it by its path.
#ifndef MILLRACE_WORKER_SHUFFLE_CONTAINER_H_
#define MILLRACE_WORKER_SHUFFLE_CONTAINER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace::worker {

// Thread-safe; sections of one container are written at the same time.
class Container {
 public:
  // A memfd; its path goes through /proc and is good while this object lives.
  static absl::StatusOr<std::shared_ptr<Container>> InMemory();
  // A new file. It is not removed here: its directory goes with the attempt.
  static absl::StatusOr<std::shared_ptr<Container>> OnDisk(
      const std::string& path);

  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  // kResourceExhausted: no space, or no memory.
  absl::Status WriteAt(uint64_t offset, std::string_view bytes);

  const std::string& path() const { return path_; }

 private:
  Container(int fd, std::string path);

  const int fd_;
  const std::string path_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_CONTAINER_H_
