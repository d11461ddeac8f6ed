#include "cli/job_report.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "common/counted.h"
#include "common/strings.h"
#include "supervisor/failure_advice.h"

namespace millrace::cli {
namespace {

// The end of a log is where its reason stands.
constexpr size_t kLogLinesShown = 20;

// A job whose inputs cannot be listed names something that is not there.
bool IsPlan(const proto::JobFailure& failure) {
  return failure.attempt().task().kind() == proto::PLAN_TASK;
}

}  // namespace

std::string SuccessSummary(const proto::GetJobReply& job) {
  const proto::JobStatus& status = job.status();
  const bool map_only = status.reduces().total() == 0;
  const uint32_t files =
      map_only ? status.maps().total() : status.reduces().total();
  // From the submit: what a person has waited for.
  const double seconds = std::max<double>(
      static_cast<double>(status.finished_at_ms() - status.submitted_at_ms()) /
          1000,
      0);
  std::string text = absl::StrFormat(
      "%s: %s, %s in %s in %s, %.2f s\n", Printable(status.name()),
      Counted(status.output_records(), "record"),
      HumanBytes(status.output_bytes()), Counted(files, "file"),
      Printable(status.output(), 4096), seconds);
  if (status.input_bytes() > 0) {
    text += Cat("  input        ", HumanBytes(status.input_bytes()));
    if (seconds > 0) {
      text += Cat(", ",
                  HumanBytes(static_cast<uint64_t>(
                      static_cast<double>(status.input_bytes()) / seconds)),
                  "/s");
    }
    text += "\n";
  }
  if (status.shuffle_bytes_total() > 0) {
    text +=
        Cat("  shuffle      ", HumanBytes(status.shuffle_bytes_total()), "\n");
  }
  text += Cat("  tasks        ", Counted(status.maps().total(), "map"), ", ",
              Counted(status.reduces().total(), "reduce"));
  if (status.attempts().failed() > 0) {
    text += Cat(", ", Counted(status.attempts().failed(), "failed attempt"),
                " repeated");
  }
  if (status.attempts().lost() > 0) {
    text += Cat(", ", status.attempts().lost(), " lost and repeated");
  }
  text += "\n";
  text += SizesText(job);
  for (const proto::Counter& counter : job.counters()) {
    if (counter.value() == 0 && counter.group() == "millrace") continue;
    text += absl::StrFormat("  %-12s %s  %d\n", Printable(counter.group()),
                            Printable(counter.name()), counter.value());
  }
  return text;
}

std::string FailureLine(const proto::JobStatus& status) {
  const proto::JobFailure& failure = status.failure();
  std::string line = Cat("job ", ShortId(status.job_id()), " (",
                         Printable(status.name()), ") ");
  if (status.state() == proto::KILLED) {
    line += "was killed";
    if (!failure.message().empty()) {
      line += Cat(": ", OneLine(failure.message()));
    }
    return line;
  }
  line += "failed: ";
  if (failure.has_attempt()) {
    line += AttemptText(failure.attempt());
    if (!failure.worker().empty()) {
      line += Cat(" on ", Printable(failure.worker()));
    }
    line += ": ";
  }
  line += Cat(proto::FailureCause_Name(failure.cause()), ": ",
              failure.message().empty() ? "no reason given"
                                        : OneLine(failure.message(), 2000));
  const std::string_view advice =
      supervisor::AdviceFor(failure.cause(), supervisor::RanOn::kCluster);
  if (!advice.empty()) line += Cat("; ", advice);
  return line;
}

std::string FailureDetails(const proto::JobFailure& failure) {
  std::string text;
  for (const absl::string_view line :
       absl::StrSplit(failure.stack(), '\n', absl::SkipEmpty())) {
    text += Cat("  ", Printable(ToStd(line), 400), "\n");
  }
  std::vector<absl::string_view> log =
      absl::StrSplit(failure.log_tail(), '\n', absl::SkipEmpty());
  if (log.empty()) return text;
  const size_t first =
      log.size() > kLogLinesShown ? log.size() - kLogLinesShown : 0;
  text += first > 0 ? "  the end of what it printed:\n" : "  it printed:\n";
  for (size_t i = first; i < log.size(); ++i) {
    text += Cat("    ", Printable(ToStd(log[i]), 400), "\n");
  }
  return text;
}

ExitCode ExitCodeOfJob(const proto::JobStatus& status) {
  if (status.state() == proto::SUCCEEDED) return kOk;
  if (status.state() == proto::KILLED) return kKilled;
  switch (status.failure().cause()) {
    case proto::INPUT_INVALID:
      return IsPlan(status.failure()) ? kNotFound : kFailed;
    case proto::INPUT_UNREADABLE:
    case proto::INPUT_UNFIT:
      return IsPlan(status.failure()) ? kRefused : kFailed;
    case proto::OUTPUT_EXISTS:
      return kRefused;
    case proto::OUTPUT_FAILED:
      // Seen before any work was done: the directory is not there, or closed.
      return IsPlan(status.failure()) ? kRefused : kFailed;
    default:
      return kFailed;
  }
}

ExitCode ReportEnd(std::string_view command, const proto::GetJobReply& job) {
  const proto::JobStatus& status = job.status();
  const ExitCode code = ExitCodeOfJob(status);
  if (code == kOk) {
    std::fputs(SuccessSummary(job).c_str(), stderr);
    return kOk;
  }
  Fail(code, command, FailureLine(status));
  std::fputs(FailureDetails(status.failure()).c_str(), stderr);
  return code;
}

}  // namespace millrace::cli
