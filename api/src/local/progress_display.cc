#include "api/src/local/progress_display.h"

#include <sys/ioctl.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "common/strings.h"

namespace millrace::local {
namespace {

constexpr absl::Duration kLiveInterval = absl::Milliseconds(200);
constexpr absl::Duration kPlainInterval = absl::Seconds(1);

// Tenths of the work done, maps and reduces apart: 0..20.
int Step(const ProgressSnapshot& now) {
  const auto tenths = [](const TaskCounts& counts) {
    return counts.total == 0
               ? 10
               : static_cast<int>(counts.done * 10 / counts.total);
  };
  return tenths(now.maps) + tenths(now.reduces);
}

// Of the terminal behind `out`, as wide as its window is now.
size_t Columns(std::FILE* out) {
  struct winsize size;
  const bool known =
      ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

std::string ProgressLine(const ProgressSnapshot& now, absl::Duration elapsed) {
  if (!now.planned) return "listing the input";
  std::string line = Cat("map ", now.maps.done, "/", now.maps.total);
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (now.maps.done < now.maps.total && now.input_bytes > 0) {
    line += Cat("  ", HumanBytes(now.input_bytes_done), " of ",
                HumanBytes(now.input_bytes));
    if (seconds >= 0.5 && now.input_bytes_done > 0) {
      const double rate = static_cast<double>(now.input_bytes_done) / seconds;
      line += Cat("  ", HumanBytes(static_cast<uint64_t>(rate)), "/s");
      if (now.input_bytes_done < now.input_bytes) {
        line += absl::StrFormat(
            "  %.0f s left",
            static_cast<double>(now.input_bytes - now.input_bytes_done) / rate);
      }
    }
  }
  if (now.reduces.total > 0) {
    line += Cat("  reduce ", now.reduces.done, "/", now.reduces.total);
  }
  if (now.failed_attempts > 0) {
    line += Cat("  failed attempts: ", now.failed_attempts);
  }
  return line;
}

ProgressDisplay::ProgressDisplay(std::FILE* out, bool live, std::string program,
                                 Clock& clock)
    : out_(out), live_(live), program_(std::move(program)), clock_(clock) {}

void ProgressDisplay::Update(const ProgressSnapshot& now) {
  const absl::Duration time = clock_.Monotonic();
  if (now.planned && began_ == absl::InfiniteDuration()) began_ = time;
  const absl::Duration elapsed =
      began_ == absl::InfiniteDuration() ? absl::ZeroDuration() : time - began_;
  if (live_) {
    if (time - shown_ < kLiveInterval) return;
    shown_ = time;
    std::string line = Cat(program_, ": ", ProgressLine(now, elapsed));
    // A line that wraps is one that \r does not go back to the beginning of.
    const size_t columns = Columns(out_);
    if (line.size() >= columns) line.resize(columns - 1);
    std::fprintf(out_, "\r\033[K%s", line.c_str());
    std::fflush(out_);
    line_open_ = true;
    return;
  }
  // A job of less than a second says only how it ended.
  if (!now.planned || elapsed < kPlainInterval) return;
  const int step = Step(now);
  if (step == last_step_ || time - shown_ < kPlainInterval) return;
  last_step_ = step;
  shown_ = time;
  std::fprintf(out_, "%s: %s\n", program_.c_str(),
               ProgressLine(now, elapsed).c_str());
}

void ProgressDisplay::Clear() {
  if (!line_open_) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
  line_open_ = false;
}

}  // namespace millrace::local
