#include "supervisor/exit_message.h"

#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "absl/strings/str_format.h"
#include "common/strings.h"

namespace millrace::supervisor {
namespace {

constexpr size_t kPathShownBytes = 4096;
constexpr size_t kKeyShownBytes = 64;
// They are kept by the masters for as long as the job runs.
constexpr size_t kBadRecordMessageBytesMax = 1024;
constexpr size_t kBadRecordStackBytesMax = 2048;

// What a message can carry: not too long, whole lines if there are several, and
// UTF-8.
std::string Bounded(const std::string& text, size_t bytes_max) {
  std::string cut = text.substr(0, bytes_max);
  const size_t line_end = cut.rfind('\n');
  if (cut.size() < text.size() && line_end != std::string::npos) {
    cut.resize(line_end + 1);
  }
  for (size_t half = 0; half < 4 && half < cut.size(); ++half) {
    const std::string whole = cut.substr(0, cut.size() - half);
    if (IsUtf8(whole)) return whole;  // Without half a character.
  }
  return Printable(cut, bytes_max / 4);
}

// The task itself is not at fault when nothing says so: who else kills?
std::string KilledText(int signal_number) {
  std::string text =
      Cat("task process was killed: ", SignalText(signal_number));
  if (signal_number == SIGKILL) {
    text +=
        " from outside; the system does that when memory runs out (see dmesg)";
  }
  return text;
}

std::string CrashText(int signal_number, const StatusPage& page) {
  std::string text = Cat("task process crashed: ", SignalText(signal_number));
  if (page.crash_signal.load(std::memory_order_acquire) != signal_number) {
    return text;
  }
  const uint64_t address = page.crash_address.load(std::memory_order_relaxed);
  if ((signal_number == SIGSEGV || signal_number == SIGBUS) &&
      address != kNoCrashAddress) {
    text += absl::StrFormat(" at address 0x%x", address);
  }
  if (page.crash_overflow.load(std::memory_order_relaxed) != 0) {
    text += " (stack overflow)";
  }
  return text;
}

bool IsCrash(int signal_number) {
  switch (signal_number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
      return true;
    default:
      return false;
  }
}

const char* MomentText(ExitMoment moment) {
  switch (moment) {
    case ExitMoment::kBeforeReady:
      return " before it was ready";
    case ExitMoment::kInTask:
      return " before its task was done";
    case ExitMoment::kBetweenTasks:
      return " between two tasks";
  }
  return "";
}

}  // namespace

std::string PositionSuffix(const StatusPage& page) {
  const TaskPhase phase = page.phase.load(std::memory_order_relaxed);
  std::string text;
  // A plan is one phase, and its task is called so already.
  if (phase != TaskPhase::kIdle && phase != TaskPhase::kPlan) {
    text = Cat(", in ", TaskPhaseName(phase));
  }
  const std::string file = page.file.Get();
  const std::string key = page.key.Get();
  const uint64_t value = page.value_ordinal.load(std::memory_order_relaxed);
  if (phase == TaskPhase::kCombine) {
    // Whatever record the mapper has by now, it is not the one that this value
    // came from.
    if (!key.empty()) {
      text += Cat(", key \"", Printable(key, kKeyShownBytes), "\"");
    }
    const bool emitted =
        page.value_is_emitted.load(std::memory_order_relaxed) != 0;
    return Cat(text, emitted ? ", emitted record " : ", value ", value + 1);
  }
  if (!file.empty()) {
    text += Cat(", ", Printable(file, kPathShownBytes));
    const uint64_t offset = page.record_offset.load(std::memory_order_relaxed);
    if (offset != ~uint64_t{0}) text += Cat(" offset ", offset);
  } else if (!key.empty()) {
    text += Cat(", key \"", Printable(key, kKeyShownBytes), "\"");
  } else {
    return text;
  }
  const uint64_t before = page.record_ordinal.load(std::memory_order_relaxed);
  if (file.empty()) {
    return Cat(text, " (group ", before + 1, "), value ", value + 1);
  }
  return Cat(text, " (record ", before + 1, ")");
}

bool EndedByItself(int wait_status, const StatusPage& page) {
  if (page.supervisor_stopped.load(std::memory_order_acquire) != 0) {
    return false;
  }
  if (WIFEXITED(wait_status)) return true;
  return IsCrash(page.crash_signal.load(std::memory_order_acquire)) ||
         (WIFSIGNALED(wait_status) && IsCrash(WTERMSIG(wait_status)));
}

std::optional<proto::BadRecord> RecordAtFault(const StatusPage& page,
                                              proto::FailureCause cause,
                                              const std::string& message,
                                              const std::string& stack) {
  const uint64_t offset = page.record_offset.load(std::memory_order_relaxed);
  if (page.phase.load(std::memory_order_relaxed) != TaskPhase::kMap ||
      offset == ~uint64_t{0}) {
    return std::nullopt;
  }
  proto::BadRecord record;
  record.set_file(page.record_file.load(std::memory_order_relaxed));
  record.set_offset(offset);
  record.set_cause(cause);
  record.set_message(Bounded(message, kBadRecordMessageBytesMax));
  record.set_stack(Bounded(stack, kBadRecordStackBytesMax));
  return record;
}

std::string SignalText(int signal_number) {
  const char* description = sigdescr_np(signal_number);
  if (description == nullptr) return Cat("signal ", signal_number);
  return Cat("signal ", signal_number, " (", description, ")");
}

ExitVerdict JudgeExit(int wait_status, ExitMoment moment,
                      const StatusPage& page) {
  ExitVerdict verdict;
  if (page.supervisor_stopped.load(std::memory_order_acquire) != 0) {
    verdict.cause = proto::WORKER_LOST;
    verdict.message = Cat(
        "task process ended by itself: its worker was stopped for ",
        page.supervisor_stop_limit_ms.load(std::memory_order_relaxed), " ms");
  } else if (WIFSIGNALED(wait_status)) {
    // The handler may have been ended by its own alarm; what it wrote is why.
    const int seen = page.crash_signal.load(std::memory_order_acquire);
    const int signal_number = IsCrash(seen) ? seen : WTERMSIG(wait_status);
    verdict.cause = proto::CRASHED;
    verdict.message = IsCrash(signal_number) ? CrashText(signal_number, page)
                                             : KilledText(signal_number);
    if (moment != ExitMoment::kInTask) verdict.message += MomentText(moment);
  } else {
    verdict.cause = moment == ExitMoment::kBeforeReady ? proto::SPAWN_FAILED
                                                       : proto::EXITED;
    verdict.message = Cat("task process exited with status ",
                          WEXITSTATUS(wait_status), MomentText(moment));
  }
  if (moment == ExitMoment::kInTask) verdict.message += PositionSuffix(page);
  return verdict;
}

}  // namespace millrace::supervisor
