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
  return Cat(text, " (record ", before + 1, ")");
}

std::string SignalText(int signal_number) {
  const char* description = sigdescr_np(signal_number);
  if (description == nullptr) return Cat("signal ", signal_number);
  return Cat("signal ", signal_number, " (", description, ")");
}

ExitVerdict JudgeExit(int wait_status, ExitMoment moment,
                      const StatusPage& page) {
  ExitVerdict verdict;
  if (WIFSIGNALED(wait_status)) {
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
