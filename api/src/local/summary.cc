#include "api/src/local/summary.h"

#include <string_view>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/counted.h"
#include "common/file_system.h"
#include "common/skew.h"
#include "common/strings.h"
#include "supervisor/failure_advice.h"

namespace millrace::local {
namespace {

// The end of a log is where its reason stands.
constexpr size_t kLogLinesShown = 20;

// What was chosen for the job, why, and how to choose otherwise.
std::string SizingLines(const storage::Sizing& sizing, const JobFlags& flags) {
  std::string text = Cat("  sizes        ", storage::WhyMaps(sizing), "\n");
  if (sizing.reduces > 0) {
    text += Cat("               ", storage::WhyReduces(sizing), "\n");
  }
  return text + Cat("               ", HumanBytes(flags.memory_bytes),
                    " of memory a task (--memory), intermediate data ",
                    flags.codec == "none" ? "uncompressed" : flags.codec,
                    " (--codec)\n");
}

}  // namespace

std::string SuccessSummary(const LocalJob& job, const JobFlags& flags,
                           const JobPaths& paths, absl::Duration elapsed) {
  const storage::Manifest& manifest = job.manifest();
  uint64_t bytes = 0;
  uint64_t records = 0;
  for (const storage::ManifestFile& file : manifest.files) {
    bytes += file.bytes;
    records += file.records;
  }
  const double seconds = absl::ToDoubleSeconds(elapsed);
  std::string text =
      absl::StrFormat("%s: %s, %s in %s in %s, %.2f s\n", manifest.job_name,
                      Counted(records, "record"), HumanBytes(bytes),
                      Counted(manifest.files.size(), "file"),
                      Printable(paths.output, 4096), seconds);
  if (manifest.input_files > 0) {
    text += absl::StrFormat(
        "  input        %s, %s, %s/s\n", Counted(manifest.input_files, "file"),
        HumanBytes(manifest.input_bytes),
        HumanBytes(static_cast<uint64_t>(
            static_cast<double>(manifest.input_bytes) / seconds)));
  }
  const proto::TaskDone& plan = job.core().plan();
  if (plan.hidden_skipped() + plan.symlinks_skipped() > 0) {
    text += Cat("  passed over  ",
                plan.hidden_skipped() == 1
                    ? "1 name that begins"
                    : Cat(plan.hidden_skipped(), " names that begin"),
                " with . or _, ",
                Counted(plan.symlinks_skipped(), "symbolic link"), "\n");
  }
  const AttemptCounts& attempts = job.core().attempts();
  text += Cat("  tasks        ", Counted(manifest.maps, "map"), ", ",
              Counted(manifest.partitions, "reduce"));
  if (attempts.failed > 0) {
    text += Cat(", ", Counted(attempts.failed, "failed attempt"), " repeated");
  }
  text += "\n" + SizingLines(job.sizing(), flags);
  if (!manifest.dead_letters.empty()) {
    text +=
        Cat("  passed over  ", Counted(job.core().bad_records(), "bad record"),
            ", kept in ",
            Printable(JoinPath(paths.output, "_dead_letter-*"), 4096), "\n");
  }
  if (std::string skew = SkewText(job.core().largest_reduce()); !skew.empty()) {
    text += Cat("  skew         ", skew, "\n");
  }
  for (const auto& [group, counters] : manifest.counters) {
    for (const auto& [name, value] : counters) {
      if (value == 0 && group == "millrace") continue;
      text += absl::StrFormat("  %-12s %s  %d\n", Printable(group),
                              Printable(name), value);
    }
  }
  return text;
}

std::string FailureLine(const JobFailure& failure, int max_attempts) {
  std::string line =
      Cat(failure.task.has_value() ? ToString(*failure.task) : "the job",
          " failed: ",
          failure.failure.message.empty() ? "no reason given"
                                          : failure.failure.message);
  if (failure.failure.retryable && max_attempts > 1 &&
      (failure.failure.cause == proto::USER_EXCEPTION ||
       failure.failure.cause == proto::CRASHED ||
       failure.failure.cause == proto::EXITED)) {
    line += Cat(" (", max_attempts, " attempts)");
  }
  const std::string_view advice = supervisor::AdviceFor(
      failure.failure.cause, supervisor::RanOn::kThisMachine);
  if (!advice.empty()) line += Cat("; ", advice);
  return line;
}

std::string FailureDetails(const JobFailure& failure) {
  std::string text;
  for (const absl::string_view line :
       absl::StrSplit(failure.failure.stack, '\n', absl::SkipEmpty())) {
    text += Cat("  ", ToStd(line), "\n");
  }
  std::vector<absl::string_view> log =
      absl::StrSplit(failure.failure.log, '\n', absl::SkipEmpty());
  if (log.empty()) return text;
  const size_t first =
      log.size() > kLogLinesShown ? log.size() - kLogLinesShown : 0;
  text += first > 0 ? "  the end of what it printed:\n" : "  it printed:\n";
  for (size_t i = first; i < log.size(); ++i) {
    text += Cat("    ", Printable(ToStd(log[i]), 400), "\n");
  }
  return text;
}

}  // namespace millrace::local
