// Preloaded into a program: fsync of one directory fails, as on a disk that is
// ill, once a name stands in it. For what no mount option can do.
//
//   MILLRACE_FAIL_FSYNC_OF=DIRECTORY   that is not to be synced
//   MILLRACE_FAIL_FSYNC_WITH=NAME      as long as this stands in it
//   MILLRACE_FAIL_FSYNC_TIMES=N        so often
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

bool ShallFail(int fd) {
  const char* directory = std::getenv("MILLRACE_FAIL_FSYNC_OF");
  const char* name = std::getenv("MILLRACE_FAIL_FSYNC_WITH");
  const char* times = std::getenv("MILLRACE_FAIL_FSYNC_TIMES");
  if (directory == nullptr || name == nullptr || times == nullptr) return false;
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), path, sizeof(path));
  if (length < 0 ||
      std::string(path, static_cast<size_t>(length)) != directory) {
    return false;
  }
  if (access((std::string(directory) + "/" + name).c_str(), F_OK) != 0) {
    return false;
  }
  static std::atomic<int> failed{0};
  return failed++ < std::atoi(times);
}

}  // namespace

extern "C" int fsync(int fd) {
  if (ShallFail(fd)) {
    errno = EIO;
    return -1;
  }
  using Fsync = int (*)(int);
  static const auto real = reinterpret_cast<Fsync>(dlsym(RTLD_NEXT, "fsync"));
  return real(fd);
}
