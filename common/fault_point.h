// Named places at which a test may have a process die or stand still: before
// and after what must be durable, what is sent, each step of an output commit.
//
//   FaultPoint("publish.after_rename");
//
// Off, a point costs one load of a flag. On, MILLRACE_FAULT says what happens:
//
//   MILLRACE_FAULT = fault [";" fault ...]
//   fault          = [ARM ">"] POINT ["@" N] ":" ACTION
//   ACTION         = "kill"         SIGKILL of this process
//                  | "hold=" PATH   makes the file PATH, waits until it is gone
//                  | "mark=" PATH   makes the file PATH
//                  | "count=" PATH  makes the file PATH a byte longer
//
// A fault happens once: when POINT is reached for the N-th time (1 if not
// given), counted from when the point ARM was first reached, if there is one.
// "count" happens that time and every time from then on.
#ifndef MILLRACE_COMMON_FAULT_POINT_H_
#define MILLRACE_COMMON_FAULT_POINT_H_

#include <atomic>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace millrace {

namespace fault_internal {
extern std::atomic<bool> on;
void Reach(std::string_view name);
}  // namespace fault_internal

// Reads MILLRACE_FAULT, if it is set; called from main before threads start. A
// program that does not call it has no faults, whatever its environment says.
// kInvalidArgument: not of the form above.
absl::Status TakeFaultsFromEnvironment();
// Replaces what was set; "" sets none. Thread-safe.
absl::Status SetFaults(std::string_view spec);

// Whether any fault is set: for points whose names have to be put together.
inline bool FaultsSet() {
  return fault_internal::on.load(std::memory_order_relaxed);
}

inline void FaultPoint(std::string_view name) {
  if (FaultsSet()) fault_internal::Reach(name);
}

}  // namespace millrace

#endif  // MILLRACE_COMMON_FAULT_POINT_H_
