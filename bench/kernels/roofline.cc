#include "bench/kernels/roofline.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "common/logging.h"

namespace millrace::bench {
namespace {

constexpr size_t kCalls = 7;
// Less is not measured at once: the clock has its own cost.
constexpr double kSecondsMin = 0.001;
constexpr size_t kPieceBytes = 1 << 20;

double ThreadSeconds() {
  timespec now;
  // tidy: clock, because nothing is decided by it.
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);  // tidy: clock
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

double SecondsOf(const std::function<void()>& work, size_t times) {
  const double began = ThreadSeconds();
  for (size_t i = 0; i < times; ++i) work();
  return ThreadSeconds() - began;
}

// Of this processor at present: an addition that waits for the one before takes
// a cycle.
double ClockHertz() {
  constexpr uint64_t kAdditions = 4'000'000;
  return RateOf(static_cast<double>(kAdditions), [] {
    uint64_t sum = 1;
    for (uint64_t i = 0; i < kAdditions; ++i) {
      sum += i;
      benchmark::DoNotOptimize(sum);
    }
  });
}

}  // namespace

double RateOf(double units, const std::function<void()>& work) {
  size_t times = 1;  // The first calls also bring the data into the caches.
  while (SecondsOf(work, times) < kSecondsMin) times *= 2;
  std::vector<double> seconds(kCalls);
  for (double& s : seconds) s = SecondsOf(work, times);
  std::nth_element(seconds.begin(), seconds.begin() + kCalls / 2,
                   seconds.end());
  return units * static_cast<double>(times) / seconds[kCalls / 2];
}

Roofline ReadRoofline(std::string_view bytes) {
  const double rate = RateOf(static_cast<double>(bytes.size()), [bytes] {
    constexpr size_t kLanes = 8;  // Independent, or additions were the limit.
    uint64_t sums[kLanes] = {};
    const char* p = bytes.data();
    const char* const end = p + bytes.size() / sizeof(sums) * sizeof(sums);
    for (; p < end; p += sizeof(sums)) {
      uint64_t words[kLanes];
      std::memcpy(words, p, sizeof(words));
      for (size_t i = 0; i < kLanes; ++i) sums[i] += words[i];
    }
    benchmark::DoNotOptimize(sums);
  });
  return {"loads of the same bytes", rate};
}

Roofline CopyRoofline(std::string_view bytes, int times) {
  const auto to = std::make_unique<char[]>(bytes.size());
  const double rate = RateOf(static_cast<double>(bytes.size()), [&] {
    std::memcpy(to.get(), bytes.data(), bytes.size());
    benchmark::ClobberMemory();
  });
  return {times == 1 ? "memcpy of the same bytes"
                     : "memcpy of the same bytes, twice",
          rate / times};
}

Roofline FileRoofline(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK_GE(fd, 0) << path;
  const auto to = std::make_unique<char[]>(kPieceBytes);
  const auto read_all = [&] {
    off_t at = 0;
    while (true) {
      const ssize_t got = pread(fd, to.get(), kPieceBytes, at);
      CHECK_GE(got, 0) << path;
      if (got == 0) return at;
      at += got;
    }
  };
  const double rate =
      RateOf(static_cast<double>(read_all()), [&] { read_all(); });
  close(fd);
  return {"read() of the page cache", rate};
}

void Report(benchmark::State& state, Unit unit, double per_iteration,
            const Roofline& roofline) {
  using benchmark::Counter;
  static const double hertz = ClockHertz();
  const double total = per_iteration * static_cast<double>(state.iterations());
  if (unit == Unit::kBytes) {
    state.SetBytesProcessed(static_cast<int64_t>(total));
  } else {
    state.SetItemsProcessed(static_cast<int64_t>(total));
  }
  state.counters["roofline"] = roofline.per_second;
  state.counters["share"] =
      Counter(total / roofline.per_second, Counter::kIsRate);
  state.counters["cycles"] =
      Counter(total / hertz, Counter::kIsRate | Counter::kInvert);
  state.SetLabel(roofline.what);
}

}  // namespace millrace::bench
