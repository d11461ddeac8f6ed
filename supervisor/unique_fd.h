// A file descriptor with an owner.
#ifndef MILLRACE_SUPERVISOR_UNIQUE_FD_H_
#define MILLRACE_SUPERVISOR_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace millrace::supervisor {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_UNIQUE_FD_H_
