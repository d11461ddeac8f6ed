// What `millrace cluster up --chaos SPEC` takes: which faults are to happen to
// a local cluster, how often and for how long.
//
//   SPEC  = item ["," item ...]
//   item  = KIND [":" PARAM "=" VALUE ...] | "all" [":" ...] | "quiet=" TIME
//   PARAM = "every"  mean time between two faults of the kind
//         | "for"    how long each lasts, or until what was killed is started
//                    again: between a half and the whole of it
//         | "by"     delay-link, slow-disk: of each message or write;
//                    shift-clock: so far, forth or back
//         | "of"     the one process that it is done to: worker-2
//
//   kill-worker:every=20s,stop-worker:for=5s,cut-link,quiet=5m
//
// "all" stands for every kind; an item behind it changes one of them. From
// "quiet" on no fault begins. KindTable() has the kinds.
#ifndef MILLRACE_CHAOS_SPEC_H_
#define MILLRACE_CHAOS_SPEC_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace millrace::chaos {

enum class FaultKind {
  kKillWorker,
  kKillMaster,
  kKillTask,
  kStopWorker,
  kStopMaster,
  kStopTask,
  kCutLink,
  kStallLink,
  kDelayLink,
  kCorruptLink,
  kFlipBit,
  kTruncateOutput,
  kSwapOutputs,
  kFlipSpill,
  kDeleteSpool,
  kFullDisk,
  kReadOnlyDisk,
  kSlowDisk,
  kShiftClock,
};
inline constexpr int kFaultKinds = 19;

// Of whom a kind of fault has its victims.
enum class VictimRole { kWorker, kMaster, kAny };

struct KindInfo {
  FaultKind kind;
  std::string_view name;
  VictimRole victims;
  absl::Duration every;  // Defaults.
  absl::Duration length;
  absl::Duration by;      // Zero: the kind has none.
  std::string_view help;  // A line.
};

// All kinds, in the order of the enumeration.
std::span<const KindInfo> KindTable();
const KindInfo& InfoOf(FaultKind kind);

struct FaultRate {
  FaultKind kind = FaultKind::kKillWorker;
  absl::Duration every;
  absl::Duration length;
  absl::Duration by;
  std::string of;  // "": anyone.
};

struct ChaosSpec {
  std::vector<FaultRate> rates;  // By kind, each at most once.
  absl::Duration quiet_after = absl::InfiniteDuration();

  // Whether a kind needs something that has to be there before the cluster's
  // processes are started: a proxy before each, spools on a small file system
  // of their own, a library that is loaded into each.
  bool needs_proxies() const;
  bool needs_small_disks() const;
  bool needs_preload() const;
};

// kInvalidArgument: not of the form above; the message says where.
absl::StatusOr<ChaosSpec> ParseSpec(std::string_view text);

// The grammar and the table of kinds, for --help.
std::string SpecHelp();

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_SPEC_H_
