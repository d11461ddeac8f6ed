#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "common/errno_status.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

// Who reads has enough, as in `millrace cat OUT | head`: the program ends as
// all do at the end of a pipe, without a word. (Broken connections to a cluster
// are errors to be read, so the signal is ignored until here.)
absl::Status CannotWrite(int error) {
  if (error == EPIPE) {
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
  }
  return ErrnoStatus(error, "write", "standard output");
}

}  // namespace

ExitCode Fail(ExitCode code, std::string_view command, std::string_view message,
              std::string_view try_this) {
  std::string line = Cat("millrace ", command, ": ", message);
  if (!try_this.empty()) line += Cat("; ", try_this);
  // File names may hold anything, and an error is one line.
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", line.c_str());
  return code;
}

ExitCode Fail(const absl::Status& status, std::string_view command,
              std::string_view try_this) {
  return Fail(ExitCodeOf(status), command, ToStd(status.message()), try_this);
}

absl::Status WriteOut(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
    return CannotWrite(errno);
  }
  return absl::OkStatus();
}

absl::Status FlushOut() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return CannotWrite(errno != 0 ? errno : EIO);
  }
  return absl::OkStatus();
}

ExitCode Print(std::string_view command, std::string_view bytes) {
  absl::Status written = WriteOut(bytes);
  if (written.ok()) written = FlushOut();
  return written.ok() ? kOk : Fail(written, command);
}

}  // namespace millrace::cli
