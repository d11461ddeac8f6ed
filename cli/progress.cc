#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

constexpr absl::Duration kLiveInterval = absl::Milliseconds(200);
constexpr absl::Duration kPlainInterval = absl::Seconds(1);
constexpr absl::Duration kWindow = absl::Seconds(10);
constexpr absl::Duration kWindowMin = absl::Milliseconds(500);

// Of a terminal whose width cannot be told.
constexpr size_t kWidthDefault = 80;

bool MapsRun(const proto::JobStatus& status) {
  return status.maps().done() < status.maps().total();
}

uint64_t Tenths(const proto::TaskTotals& totals) {
  return totals.total() == 0 ? 10
                             : uint64_t{10} * totals.done() / totals.total();
}

// What makes a plain line worth printing: state, phase in tenths, trouble.
std::string StepOf(const proto::JobStatus& status) {
  return Cat(static_cast<int>(status.state()), " ", status.planned() ? 1 : 0,
             " ", Tenths(status.maps()), " ", Tenths(status.reduces()), " ",
             status.attempts().failed(), " ", status.epoch(), " ",
             status.waiting_for());
}

std::string RunningLine(const proto::JobStatus& status,
                        std::optional<double> bytes_per_second) {
  const uint64_t input = status.input_bytes();
  const uint64_t done = status.input_bytes_done();
  std::string line =
      Cat("map ", status.maps().done(), "/", status.maps().total());
  if (MapsRun(status) && input > 0) {
    line += Cat("  ", HumanBytes(done), " of ", HumanBytes(input));
    if (bytes_per_second.has_value() && *bytes_per_second >= 1) {
      line +=
          Cat("  ", HumanBytes(static_cast<uint64_t>(*bytes_per_second)), "/s");
      if (done < input) {
        line +=
            absl::StrFormat("  %.0f s left", static_cast<double>(input - done) /
                                                 *bytes_per_second);
      }
    }
  }
  if (status.reduces().total() > 0) {
    line += Cat("  reduce ", status.reduces().done(), "/",
                status.reduces().total());
  }
  if (status.shuffle_bytes_total() > 0 &&
      status.reduces().done() < status.reduces().total()) {
    line += Cat("  shuffle ", HumanBytes(status.shuffle_bytes_done()));
    // While maps run nobody knows of how much.
    if (!MapsRun(status)) {
      line += Cat(" of ", HumanBytes(status.shuffle_bytes_total()));
    }
  }
  return line;
}

}  // namespace

bool IsLiveTerminal(int fd) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') &&
         (term == nullptr || std::strcmp(term, "dumb") != 0);
}

void RateMeter::Add(absl::Duration time, uint64_t bytes) {
  // Less than before: maps were lost and run again.
  if (!samples_.empty() && bytes < samples_.back().bytes) samples_.clear();
  samples_.push_back({time, bytes});
  while (samples_.size() > 2 && time - samples_[1].time >= kWindow) {
    samples_.pop_front();
  }
}

std::optional<double> RateMeter::BytesPerSecond() const {
  if (samples_.size() < 2) return std::nullopt;
  const Sample& first = samples_.front();
  const Sample& last = samples_.back();
  if (last.time - first.time < kWindowMin) return std::nullopt;
  return static_cast<double>(last.bytes - first.bytes) /
         absl::ToDoubleSeconds(last.time - first.time);
}

std::string ProgressLine(const proto::JobStatus& status,
                         std::optional<double> bytes_per_second) {
  std::string line;
  switch (status.state()) {
    case proto::QUEUED:
      line = "queued";
      break;
    case proto::RUNNING:
      line = status.planned() ? RunningLine(status, bytes_per_second)
                              : "listing the input";
      break;
    case proto::COMMITTING:
      line = "publishing the output";
      break;
    default:
      line = proto::JobState_Name(status.state());
  }
  if (status.attempts().failed() > 0) {
    line += Cat("  failed attempts: ", status.attempts().failed());
  }
  if (status.attempts().lost() > 0) {
    line += Cat("  lost: ", status.attempts().lost());
  }
  if (!status.waiting_for().empty()) {
    line += Cat("  waiting for: ", Printable(status.waiting_for(), 300));
  }
  return line;
}

ProgressDisplay::ProgressDisplay(std::FILE* out, bool live, std::string prefix,
                                 Clock& clock)
    : out_(out), live_(live), prefix_(std::move(prefix)), clock_(clock) {}

void ProgressDisplay::Update(const proto::JobStatus& status) {
  const absl::Duration time = clock_.Monotonic();
  if (status.planned()) rate_.Add(time, status.input_bytes_done());
  if (status.state() != proto::QUEUED && status.state() != proto::RUNNING &&
      status.state() != proto::COMMITTING) {
    return;
  }
  const std::string line = ProgressLine(status, rate_.BytesPerSecond());
  if (!live_) return ShowPlain(status, Cat(prefix_, ": ", line), time);
  if (time - shown_ < kLiveInterval) return;
  shown_ = time;
  ShowLive(line);
}

void ProgressDisplay::ShowLive(const std::string& line) {
  winsize size{};
  const size_t width =
      ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1
          ? size.ws_col
          : kWidthDefault;
  // A line that wraps cannot be rewritten. It is short: nobody has to be told
  // whose it is, and what matters is to be seen in 80 columns.
  std::fprintf(out_, "\r\033[K%s", line.substr(0, width - 1).c_str());
  std::fflush(out_);
  line_open_ = true;
}

void ProgressDisplay::ShowPlain(const proto::JobStatus& status,
                                const std::string& line, absl::Duration time) {
  if (began_ == absl::InfiniteDuration()) began_ = time;
  // A job of less than a second says only how it ended.
  if (time - began_ < kPlainInterval && status.waiting_for().empty()) return;
  const std::string step = StepOf(status);
  if (step == last_step_ || time - shown_ < kPlainInterval) return;
  last_step_ = step;
  shown_ = time;
  std::fprintf(out_, "%s\n", line.c_str());
  std::fflush(out_);
}

void ProgressDisplay::Clear() {
  if (!line_open_) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
  line_open_ = false;
}

}  // namespace millrace::cli
