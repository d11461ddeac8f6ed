#include "common/fault_point.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace {
namespace {

constexpr int kLookMs = 2;

enum class Action { kKill, kHold, kMark, kCount };

struct Fault {
  std::string arm;  // Empty: armed from the beginning.
  std::string point;
  uint64_t times = 1;  // Still to be reached; 0: it has happened.
  Action action = Action::kKill;
  std::string path;
};

struct Faults {
  absl::Mutex mu;
  std::vector<Fault> list ABSL_GUARDED_BY(mu);
};

Faults& All() {
  static Faults* faults = new Faults;  // Points are reached until the very end.
  return *faults;
}

absl::StatusOr<Fault> ParseFault(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        Av(Cat("MILLRACE_FAULT: \"", text, "\": ", why)));
  };
  Fault fault;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return wrong("no \":ACTION\"");
  std::string_view place = text.substr(0, colon);
  const std::string_view action = text.substr(colon + 1);
  if (const size_t arrow = place.find('>'); arrow != std::string_view::npos) {
    fault.arm = place.substr(0, arrow);
    place.remove_prefix(arrow + 1);
    if (fault.arm.empty()) return wrong("nothing before \">\"");
  }
  if (const size_t at = place.find('@'); at != std::string_view::npos) {
    if (!absl::SimpleAtoi(Av(place.substr(at + 1)), &fault.times) ||
        fault.times == 0) {
      return wrong("not a number of times behind \"@\"");
    }
    place = place.substr(0, at);
  }
  if (place.empty()) return wrong("no point is named");
  fault.point = place;
  constexpr std::string_view kHold = "hold=";
  constexpr std::string_view kMark = "mark=";
  constexpr std::string_view kCount = "count=";
  if (action == "kill") return fault;
  if (action.substr(0, kHold.size()) == kHold) {
    fault.action = Action::kHold;
    fault.path = action.substr(kHold.size());
  } else if (action.substr(0, kMark.size()) == kMark) {
    fault.action = Action::kMark;
    fault.path = action.substr(kMark.size());
  }
  if (action.substr(0, kCount.size()) == kCount) {
    fault.action = Action::kCount;
    fault.path = action.substr(kCount.size());
  }
  if (fault.path.empty()) {
    return wrong(
        "the action is none of kill, hold=PATH, mark=PATH, count=PATH");
  }
  return fault;
}

void Append(const std::string& path, std::string_view bytes) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  PCHECK(fd >= 0) << path;
  PCHECK(write(fd, bytes.data(), bytes.size()) >= 0) << path;
  close(fd);
}

void Happen(const Fault& fault) {
  switch (fault.action) {
    case Action::kKill:
      kill(getpid(), SIGKILL);
      for (;;) pause();  // No statement behind the point is carried out.
    case Action::kHold:
      Append(fault.path, "");
      while (access(fault.path.c_str(), F_OK) == 0) poll(nullptr, 0, kLookMs);
      break;
    case Action::kMark:
      Append(fault.path, "");
      break;
    case Action::kCount:
      Append(fault.path, ".");
      break;
  }
}

}  // namespace

namespace fault_internal {

std::atomic<bool> on = false;

void Reach(std::string_view name) {
  std::vector<Fault> due;
  {
    Faults& faults = All();
    absl::MutexLock lock(&faults.mu);
    for (Fault& fault : faults.list) {
      if (fault.arm.empty() && fault.times > 0 && fault.point == name &&
          --fault.times == 0) {
        due.push_back(fault);
        if (fault.action == Action::kCount) fault.times = 1;  // And again.
      }
      // After the above: the point that arms is none that counts.
      if (fault.arm == name) fault.arm.clear();
    }
  }
  // Without the lock: a held thread does not hold up the others.
  for (const Fault& fault : due) Happen(fault);
}

}  // namespace fault_internal

absl::Status SetFaults(std::string_view spec) {
  std::vector<Fault> list;
  for (absl::string_view text :
       absl::StrSplit(Av(spec), ';', absl::SkipEmpty())) {
    MR_ASSIGN_OR_RETURN(Fault fault, ParseFault(ToStd(text)));
    list.push_back(std::move(fault));
  }
  Faults& faults = All();
  absl::MutexLock lock(&faults.mu);
  fault_internal::on.store(!list.empty(), std::memory_order_relaxed);
  faults.list = std::move(list);
  return absl::OkStatus();
}

absl::Status TakeFaultsFromEnvironment() {
  const char* spec = std::getenv("MILLRACE_FAULT");
  return SetFaults(spec == nullptr ? "" : spec);
}

}  // namespace millrace
