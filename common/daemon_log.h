// The log of a daemon in a file that does not grow without end.
#ifndef MILLRACE_COMMON_DAEMON_LOG_H_
#define MILLRACE_COMMON_DAEMON_LOG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace millrace {

// Bytes of a log from which on it is put aside.
inline constexpr uint64_t kDaemonLogBytes = 64 << 20;

// Leads descriptors of this process, by default stdout and stderr, so that what
// libraries print and a crash leaves behind are in it too, to a file that is
// appended to. Once it is large it becomes FILE.1, in place of an older one,
// and FILE is begun anew. Without a file it does nothing: the log goes where
// who started the process has led it. Thread-compatible; others may write to
// the descriptors meanwhile.
class DaemonLog {
 public:
  explicit DaemonLog(uint64_t bytes_max = kDaemonLogBytes,
                     std::vector<int> descriptors = {1, 2})
      : bytes_max_(bytes_max), descriptors_(std::move(descriptors)) {}

  // `path`, "": none. A file that cannot be opened leaves the descriptors as
  // they are.
  absl::Status Open(const std::string& path);

  // Looks at the size; called from time to time, and between two calls there
  // may come more. An error, for which the log goes on where it is, is logged.
  void PutAsideIfLarge();

 private:
  absl::Status LeadToNewFile();

  const uint64_t bytes_max_;
  const std::vector<int> descriptors_;
  std::string path_;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_DAEMON_LOG_H_
