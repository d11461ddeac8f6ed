// Preloaded into the processes of a cluster under chaos (LD_PRELOAD): writes
// that take their time and a wall clock that jumps, as a shared page says
// (chaos/fault_page.h). Without the page it changes nothing.
//
// A wait that ends at a moment of the wall clock ends after the time that it
// would have taken: the moment is turned back into the kernel's clock when the
// wait begins. So a jump reaches who reads the clock, not who waits by it.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "chaos/fault_page.h"

namespace {

using millrace::chaos::FaultPageLayout;

constexpr int64_t kNsPerSecond = 1'000'000'000;

// All of it is made before main(), so that nothing here ever has to wait for
// another thread: not even by the futex of a guarded static.
constinit FaultPageLayout* page = nullptr;

__attribute__((constructor)) void MapPage() {
  using millrace::chaos::kFaultPageVariable;
  const char* path = std::getenv(  // tidy: getenv, because it has no arguments.
      kFaultPageVariable);
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) page = static_cast<FaultPageLayout*>(mapped);
}

// The C library's function of that name.
template <typename Function>
class Real {
 public:
  constexpr explicit Real(const char* name) : name_(name) {}
  Function get() {
    Function function = function_.load(std::memory_order_relaxed);
    if (function == nullptr) {
      function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name_));
      function_.store(function, std::memory_order_relaxed);
    }
    return function;
  }

 private:
  const char* const name_;
  std::atomic<Function> function_{nullptr};
};

int64_t Shift() { return page == nullptr ? 0 : page->clock_shift_ns.load(); }

timespec Moved(const timespec& time, int64_t by_ns) {
  const int64_t ns = time.tv_nsec + by_ns % kNsPerSecond;
  const int64_t carry = ns < 0 ? -1 : ns >= kNsPerSecond ? 1 : 0;
  return {time.tv_sec + by_ns / kNsPerSecond + carry,
          ns - carry * kNsPerSecond};
}

// A read of the wall clock.
int64_t ShiftOfRead() {
  const int64_t shift = Shift();
  if (shift != 0) ++page->clock_reads;
  return shift;
}

// Before a write or sync of a file, not of a socket or pipe.
void MaybeDelay(int fd) {
  if (page == nullptr) return;
  const int64_t delay_us = page->write_delay_us;
  if (delay_us == 0) return;
  struct stat info = {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return;
  ++page->slow_writes;
  poll(nullptr, 0, static_cast<int>(delay_us / 1000));
}

}  // namespace

extern "C" {

// ---------------------------------------------------------------- the clock

int clock_gettime(  // tidy: clock, because this is what is shifted.
    clockid_t clock, timespec* time) {
  static constinit Real<int (*)(clockid_t, timespec*)> real("clock_gettime");
  const int result = real.get()(clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) {
    *time = Moved(*time, ShiftOfRead());
  }
  return result;
}

int gettimeofday(  // tidy: clock, likewise.
    timeval* time, void* zone) {
  static constinit Real<int (*)(timeval*, void*)> real("gettimeofday");
  const int result = real.get()(time, zone);
  if (result == 0) {
    const timespec moved =
        Moved({time->tv_sec, time->tv_usec * 1000}, ShiftOfRead());
    *time = {moved.tv_sec, moved.tv_nsec / 1000};
  }
  return result;
}

time_t time(  // tidy: clock, likewise.
    time_t* out) {
  static constinit Real<time_t (*)(time_t*)> real("time");
  const time_t now = real.get()(nullptr) + ShiftOfRead() / kNsPerSecond;
  if (out != nullptr) *out = now;
  return now;
}

// Condition variables that wait by the monotonic clock are made so by an
// attribute that cannot be asked for later; their moments are small numbers.
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* until) {
  static constinit Real<int (*)(pthread_cond_t*, pthread_mutex_t*,
                                const timespec*)>
      real("pthread_cond_timedwait");
  timespec now = {};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  constexpr time_t kYears = 10L * 365 * 24 * 3600;
  const bool wall = until->tv_sec > now.tv_sec + kYears;
  const timespec moved = wall ? Moved(*until, -Shift()) : *until;
  return real.get()(condition, mutex, &moved);
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           clockid_t clock, const timespec* until) {
  static constinit Real<int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t,
                                const timespec*)>
      real("pthread_cond_clockwait");
  const timespec moved =
      clock == CLOCK_REALTIME ? Moved(*until, -Shift()) : *until;
  return real.get()(condition, mutex, clock, &moved);
}

int sem_timedwait(sem_t* semaphore, const timespec* until) {
  static constinit Real<int (*)(sem_t*, const timespec*)> real("sem_timedwait");
  const timespec moved = Moved(*until, -Shift());
  return real.get()(semaphore, &moved);
}

// Abseil waits by futex.
long syscall(long number, ...) {
  static constinit Real<long (*)(long, ...)> real("syscall");
  va_list list;
  va_start(list, number);
  long argument[6];
  for (long& each : argument) each = va_arg(list, long);
  va_end(list);
  timespec moved = {};
  if (number == SYS_futex && argument[3] != 0 &&
      (argument[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
      (argument[1] & FUTEX_CLOCK_REALTIME) != 0) {
    moved = Moved(*reinterpret_cast<const timespec*>(argument[3]), -Shift());
    argument[3] = reinterpret_cast<long>(&moved);
  }
  return real.get()(number, argument[0], argument[1], argument[2], argument[3],
                    argument[4], argument[5]);
}

// ----------------------------------------------------------------- the disk

ssize_t write(int fd, const void* bytes, size_t size) {
  static constinit Real<ssize_t (*)(int, const void*, size_t)> real("write");
  MaybeDelay(fd);
  return real.get()(fd, bytes, size);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  static constinit Real<ssize_t (*)(int, const void*, size_t, off_t)> real(
      "pwrite");
  MaybeDelay(fd);
  return real.get()(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return pwrite(fd, bytes, size, offset);
}

int fsync(int fd) {
  static constinit Real<int (*)(int)> real("fsync");
  MaybeDelay(fd);
  return real.get()(fd);
}

int fdatasync(int fd) {
  static constinit Real<int (*)(int)> real("fdatasync");
  MaybeDelay(fd);
  return real.get()(fd);
}

}  // extern "C"
