// What the machine can do at best, beside what a kernel of ours does.
//
// A roofline is the least that any implementation of the kernel has to do: read
// the bytes, copy them, put the entries in their places. It is measured in the
// same run, right before the kernel, on the same data, by the CPU time of the
// same thread, so that a slow minute of the machine slows both.
#ifndef MILLRACE_BENCH_KERNELS_ROOFLINE_H_
#define MILLRACE_BENCH_KERNELS_ROOFLINE_H_

#include <benchmark/benchmark.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace millrace::bench {

struct Roofline {
  std::string what;
  double per_second = 0;  // In the unit of the kernel.
};

// How many units a second `work` handles, if one call handles `units` of them.
double RateOf(double units, const std::function<void()>& work);

// Every byte is loaded once.
Roofline ReadRoofline(std::string_view bytes);
// Every byte is copied `times` times, by memcpy, to memory that was used
// before.
Roofline CopyRoofline(std::string_view bytes, int times = 1);
// A file that is in the page cache is read from front to back in pieces of
// 1 MiB.
Roofline FileRoofline(const std::string& path);

enum class Unit { kBytes, kItems };

// Says how fast the kernel was, which share of the roofline that is, and how
// many cycles a unit took. Call once, behind the loop.
void Report(benchmark::State& state, Unit unit, double per_iteration,
            const Roofline& roofline);

}  // namespace millrace::bench

#endif  // MILLRACE_BENCH_KERNELS_ROOFLINE_H_
