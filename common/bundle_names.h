// What the files of a replay bundle are called (proto/messages/replay.proto):
// some are written by who fetches a job from a cluster, the others by the job's
// own program.
#ifndef MILLRACE_COMMON_BUNDLE_NAMES_H_
#define MILLRACE_COMMON_BUNDLE_NAMES_H_

#include <cstdint>
#include <string>

#include "common/strings.h"

namespace millrace {

inline constexpr uint32_t kBundleFormatVersion = 1;

inline constexpr char kBundleAttempt[] = "attempt";  // A ReplayBundle.
inline constexpr char kBundleProgram[] = "program";
inline constexpr char kBundlePlan[] = "plan";
inline constexpr char kBundleMapOutputs[] = "map_outputs";
inline constexpr char kBundleRun[] = "run";
inline std::string BundleInputName(uint32_t file) {
  return Cat("input-", file);
}
inline std::string BundleSideFileName(int index) { return Cat("side-", index); }

// argv[1] of a job program that is to run a bundle; its directory follows
// (api/src/replay/replay.h).
inline constexpr char kReplayArgument[] = "--millrace-replay";

}  // namespace millrace

#endif  // MILLRACE_COMMON_BUNDLE_NAMES_H_
