// Signs of life from long loops that call no user code.
#ifndef MILLRACE_ENGINE_PROGRESS_H_
#define MILLRACE_ENGINE_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <utility>

namespace millrace::engine {

// Calls a function about once per millisecond of work. The engine has no clock,
// so work is counted instead: the unit is roughly a nanosecond of one core, and
// being wrong by a factor of three does no harm. Thread-compatible.
class Progress {
 public:
  // What one record costs to handle, besides its bytes.
  static constexpr uint64_t kRecordCost = 64;

  // `report` may be empty.
  explicit Progress(std::function<void()> report)
      : report_(std::move(report)) {}

  void Tick(uint64_t cost) {
    pending_ += cost;
    if (pending_ >= kReportEvery) Report();
  }

 private:
  static constexpr uint64_t kReportEvery = 1 << 19;

  void Report() {
    pending_ = 0;
    if (report_) report_();
  }

  const std::function<void()> report_;
  uint64_t pending_ = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_PROGRESS_H_
