#include "chaos/spec.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "common/flag_kinds.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

constexpr std::array<KindInfo, kFaultKinds> kKinds = {{
    {FaultKind::kKillWorker,
     "kill-worker",
     VictimRole::kWorker,
     absl::Seconds(20),
     absl::Seconds(2),
     {},
     "SIGKILL of a worker; started again after `for`"},
    {FaultKind::kKillMaster,
     "kill-master",
     VictimRole::kMaster,
     absl::Seconds(30),
     absl::Seconds(2),
     {},
     "SIGKILL of a master; started again after `for`"},
    {FaultKind::kKillTask,
     "kill-task",
     VictimRole::kWorker,
     absl::Seconds(10),
     {},
     {},
     "SIGKILL of a job process of a worker"},
    {FaultKind::kStopWorker,
     "stop-worker",
     VictimRole::kWorker,
     absl::Seconds(30),
     absl::Seconds(5),
     {},
     "SIGSTOP of a worker, SIGCONT after `for`"},
    {FaultKind::kStopMaster,
     "stop-master",
     VictimRole::kMaster,
     absl::Seconds(30),
     absl::Seconds(3),
     {},
     "SIGSTOP of a master, SIGCONT after `for`"},
    {FaultKind::kStopTask,
     "stop-task",
     VictimRole::kWorker,
     absl::Seconds(20),
     absl::Seconds(3),
     {},
     "SIGSTOP of a job process, SIGCONT after `for`"},
    {FaultKind::kCutLink,
     "cut-link",
     VictimRole::kAny,
     absl::Seconds(20),
     absl::Seconds(2),
     {},
     "connections to a process are reset and new ones refused"},
    {FaultKind::kStallLink,
     "stall-link",
     VictimRole::kAny,
     absl::Seconds(20),
     absl::Seconds(3),
     {},
     "nothing passes to or from a process, nobody is told"},
    {FaultKind::kDelayLink, "delay-link", VictimRole::kAny, absl::Seconds(15),
     absl::Seconds(5), absl::Milliseconds(100),
     "what passes to and from a process comes later"},
    {FaultKind::kCorruptLink,
     "corrupt-link",
     VictimRole::kWorker,
     absl::Seconds(10),
     absl::Seconds(2),
     {},
     "a bit of the intermediate data that a worker sends is flipped"},
    {FaultKind::kFlipBit,
     "flip-bit",
     VictimRole::kWorker,
     absl::Seconds(10),
     {},
     {},
     "a bit of a map output on a worker's disk is flipped"},
    {FaultKind::kTruncateOutput,
     "truncate-output",
     VictimRole::kWorker,
     absl::Seconds(15),
     {},
     {},
     "the end of a map output is cut off"},
    {FaultKind::kSwapOutputs,
     "swap-outputs",
     VictimRole::kWorker,
     absl::Seconds(15),
     {},
     {},
     "two map outputs on a worker's disk change places"},
    {FaultKind::kFlipSpill,
     "flip-spill",
     VictimRole::kWorker,
     absl::Seconds(10),
     {},
     {},
     "a bit of what a running task has spilled or fetched to disk is flipped"},
    {FaultKind::kDeleteSpool,
     "delete-spool",
     VictimRole::kWorker,
     absl::Seconds(30),
     {},
     {},
     "all intermediate data of a worker are deleted under it"},
    {FaultKind::kFullDisk,
     "full-disk",
     VictimRole::kWorker,
     absl::Seconds(30),
     absl::Seconds(3),
     {},
     "the disk of a worker's spool is full"},
    {FaultKind::kReadOnlyDisk,
     "read-only-disk",
     VictimRole::kWorker,
     absl::Seconds(30),
     absl::Seconds(3),
     {},
     "the disk of a worker's spool refuses writes"},
    {FaultKind::kSlowDisk, "slow-disk", VictimRole::kWorker, absl::Seconds(30),
     absl::Seconds(5), absl::Milliseconds(20),
     "each write and sync of a worker takes longer"},
    {FaultKind::kShiftClock, "shift-clock", VictimRole::kAny, absl::Seconds(20),
     absl::Seconds(5), absl::Hours(24),
     "the wall clock of a process jumps, and back after `for`"},
}};

absl::Status Wrong(std::string_view item, std::string_view why) {
  return absl::InvalidArgumentError(
      Av(Cat("\"", Printable(item), "\": ", why)));
}

// Splits off what stands before the first `mark`.
std::string_view TakeUntil(std::string_view& rest, char mark) {
  const std::string_view head = rest.substr(0, rest.find(mark));
  rest.remove_prefix(std::min(rest.size(), head.size() + 1));
  return head;
}

// "20s", "100ms", "1h".
std::optional<absl::Duration> ParseTime(std::string_view text) {
  absl::Duration time;
  if (absl::ParseDuration(Av(text), &time)) {
    if (time < absl::ZeroDuration() || time > absl::Hours(24 * 366)) {
      return std::nullopt;
    }
    return time;
  }
  return ParseSeconds(std::string(text));
}

absl::Status SetParameter(std::string_view item, const KindInfo& info,
                          std::string_view name, std::string_view value,
                          FaultRate& rate) {
  if (name == "of") {
    if (value.empty()) return Wrong(item, "of= names a process: worker-1");
    rate.of = std::string(value);
    return absl::OkStatus();
  }
  if (name != "every" && name != "for" && name != "by") {
    return Wrong(item, Cat("\"", Printable(name),
                           "\" is none of every=, for=, by=, of="));
  }
  const std::optional<absl::Duration> time = ParseTime(value);
  if (!time.has_value()) {
    return Wrong(item, Cat(name, "= takes a time: 500ms, 20s, 5m"));
  }
  if (name == "every") {
    if (*time < absl::Milliseconds(10)) {
      return Wrong(item, "every= is at least 10ms");
    }
    rate.every = *time;
  } else if (name == "for") {
    if (info.length == absl::ZeroDuration()) {
      return Wrong(item, Cat(info.name, " has no length, so no for="));
    }
    rate.length = *time;
  } else {
    if (info.by == absl::ZeroDuration()) {
      return Wrong(item, Cat(info.name, " has no by="));
    }
    rate.by = *time;
  }
  return absl::OkStatus();
}

FaultRate DefaultRate(const KindInfo& info) {
  return {info.kind, info.every, info.length, info.by, ""};
}

absl::Status AddItem(std::string_view item, ChaosSpec& spec) {
  std::string_view rest = item;
  const std::string_view name = TakeUntil(rest, ':');
  if (name.substr(0, 6) == "quiet=") {
    const auto time = ParseTime(name.substr(6));
    if (!time.has_value() || !rest.empty()) {
      return Wrong(item, "quiet= takes a time: quiet=5m");
    }
    spec.quiet_after = *time;
    return absl::OkStatus();
  }
  bool known = false;
  for (const KindInfo& info : kKinds) {
    if (name != "all" && name != info.name) continue;
    known = true;
    auto at = std::find_if(
        spec.rates.begin(), spec.rates.end(),
        [&](const FaultRate& rate) { return rate.kind >= info.kind; });
    if (at == spec.rates.end() || at->kind != info.kind) {
      at = spec.rates.insert(at, DefaultRate(info));
    }
    for (std::string_view parameters = rest; !parameters.empty();) {
      const std::string_view parameter = TakeUntil(parameters, ':');
      const size_t equals = parameter.find('=');
      if (equals == std::string_view::npos) {
        return Wrong(item, "a parameter is NAME=VALUE");
      }
      // What a kind does not have, "all" does not set.
      const std::string_view key = parameter.substr(0, equals);
      if (name == "all" &&
          ((key == "for" && info.length == absl::ZeroDuration()) ||
           (key == "by" && info.by == absl::ZeroDuration()))) {
        continue;
      }
      const absl::Status set =
          SetParameter(item, info, key, parameter.substr(equals + 1), *at);
      if (!set.ok()) return set;
    }
  }
  if (!known) {
    std::string names = "all";
    for (const KindInfo& info : kKinds) names += Cat(", ", info.name);
    return Wrong(item, Cat("no such fault; there are: ", names));
  }
  return absl::OkStatus();
}

bool HasKind(const ChaosSpec& spec, FaultKind from, FaultKind to) {
  return std::any_of(spec.rates.begin(), spec.rates.end(),
                     [&](const FaultRate& rate) {
                       return rate.kind >= from && rate.kind <= to;
                     });
}

}  // namespace

std::span<const KindInfo> KindTable() { return kKinds; }

const KindInfo& InfoOf(FaultKind kind) {
  return kKinds.at(static_cast<size_t>(kind));
}

bool ChaosSpec::needs_proxies() const {
  return HasKind(*this, FaultKind::kCutLink, FaultKind::kCorruptLink);
}

bool ChaosSpec::needs_small_disks() const {
  return HasKind(*this, FaultKind::kFullDisk, FaultKind::kReadOnlyDisk);
}

bool ChaosSpec::needs_preload() const {
  return HasKind(*this, FaultKind::kSlowDisk, FaultKind::kShiftClock);
}

absl::StatusOr<ChaosSpec> ParseSpec(std::string_view text) {
  ChaosSpec spec;
  if (text.empty()) return absl::InvalidArgumentError("it names no fault");
  while (!text.empty()) {
    const std::string_view item = TakeUntil(text, ',');
    if (item.empty()) continue;
    const absl::Status added = AddItem(item, spec);
    if (!added.ok()) return added;
  }
  if (spec.rates.empty())
    return absl::InvalidArgumentError("it names no fault");
  return spec;
}

std::string SpecHelp() {
  std::string help =
      "SPEC is a list of faults: KIND[:every=TIME][:for=TIME][:by=TIME]"
      "[:of=PROCESS],...\n"
      "every: mean time between two; for: how long one lasts; of: to whom "
      "alone\n"
      "\"all\" is every kind; quiet=TIME: from then on none begins\n";
  for (const KindInfo& info : kKinds) {
    std::string defaults =
        Cat("every=", ToStd(absl::FormatDuration(info.every)));
    if (info.length > absl::ZeroDuration()) {
      defaults += Cat(":for=", ToStd(absl::FormatDuration(info.length)));
    }
    if (info.by > absl::ZeroDuration()) {
      defaults += Cat(":by=", ToStd(absl::FormatDuration(info.by)));
    }
    help += Cat("  ", info.name, std::string(17 - info.name.size(), ' '),
                info.help, " (", defaults, ")\n");
  }
  return help;
}

}  // namespace millrace::chaos
