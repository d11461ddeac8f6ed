// A page of memory that millrace-chaos shares with the library preloaded into a
// process of the cluster (chaos/preload): what it is to do, and how often it
// has.
//
// A file of one page, mapped by both sides. All fields are numbers that are
// read and written one at a time.
#ifndef MILLRACE_CHAOS_FAULT_PAGE_H_
#define MILLRACE_CHAOS_FAULT_PAGE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace millrace::chaos {

// The variable that names the file; the library does nothing without it.
inline constexpr char kFaultPageVariable[] = "MILLRACE_CHAOS_PAGE";

struct FaultPageLayout {
  std::atomic<int64_t> clock_shift_ns;  // Added to the wall clock.
  std::atomic<int64_t> write_delay_us;  // Before each write and sync of a file.
  std::atomic<uint64_t> clock_reads;    // That were shifted.
  std::atomic<uint64_t> slow_writes;    // That were delayed.
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

// The side of millrace-chaos.
class FaultPage {
 public:
  // Makes the file anew.
  static absl::StatusOr<std::unique_ptr<FaultPage>> Create(
      const std::string& path);
  ~FaultPage();
  FaultPage(const FaultPage&) = delete;
  FaultPage& operator=(const FaultPage&) = delete;

  const std::string& path() const { return path_; }
  FaultPageLayout& operator*() const { return *layout_; }
  FaultPageLayout* operator->() const { return layout_; }

 private:
  FaultPage(std::string path, FaultPageLayout* layout);

  const std::string path_;
  FaultPageLayout* const layout_;
};

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_FAULT_PAGE_H_
