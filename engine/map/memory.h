// The memory of a map-side buffer: how a budget is divided, who holds what, and
// the mapped pages themselves.
#ifndef MILLRACE_ENGINE_MAP_MEMORY_H_
#define MILLRACE_ENGINE_MAP_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/map/map_side.h"

namespace millrace::engine {

// Sum of what a buffer holds at present, and the most it ever held. Everything
// whose size grows with the input is charged here. Thread-compatible.
class MemoryAccount {
 public:
  void Add(uint64_t bytes) {
    used_ += bytes;
    peak_ = std::max(peak_, used_);
  }
  void Subtract(uint64_t bytes) { used_ -= bytes; }

  uint64_t used() const { return used_; }
  uint64_t peak() const { return peak_; }

 private:
  uint64_t used_ = 0;
  uint64_t peak_ = 0;
};

// Charges an account for as long as it lives.
class MemoryCharge {
 public:
  MemoryCharge(MemoryAccount& account, uint64_t bytes)
      : account_(account), bytes_(bytes) {
    account_.Add(bytes_);
  }
  MemoryCharge(const MemoryCharge&) = delete;
  MemoryCharge& operator=(const MemoryCharge&) = delete;
  ~MemoryCharge() { account_.Subtract(bytes_); }

 private:
  MemoryAccount& account_;
  const uint64_t bytes_;
};

// Pages straight from the kernel: zero at first, and resident only once they
// are touched, so that a mapping may be as large as the budget allows from the
// start and never has to be copied to grow. Charged in full to the account.
class MappedMemory {
 public:
  MappedMemory() = default;
  MappedMemory(MappedMemory&& other) noexcept { *this = std::move(other); }
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  ~MappedMemory() { Release(); }

  // REQUIRES: bytes > 0; `account` outlives the mapping. kResourceExhausted:
  // the system has no more.
  static absl::StatusOr<MappedMemory> Map(MemoryAccount& account,
                                          uint64_t bytes);
  // Gives the pages back. Nothing to do for an empty one.
  void Release();

  char* begin() const { return begin_; }
  char* end() const { return begin_ + bytes_; }
  uint64_t size() const { return bytes_; }

 private:
  MemoryAccount* account_ = nullptr;
  char* begin_ = nullptr;
  uint64_t bytes_ = 0;
};

// How a budget is divided while records are collected: a region that is mapped
// once, and what a writer needs when the region is full.
struct MemoryPlan {
  uint64_t total_bytes = 0;
  // Blocks of the map output: the same for all budgets from 4 MiB on, so that
  // the output of a task is the same byte for byte under any of them.
  size_t output_block_bytes = 0;
  // Blocks of spill runs: smaller, since a merge holds one or two of each run.
  size_t run_block_bytes = 0;
  uint64_t writer_bytes = 0;
  uint64_t region_bytes = 0;
};

// Budgets below 16 KiB are raised to it: a writer needs some room, too.
MemoryPlan PlanMemory(const MapSideOptions& options);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_MEMORY_H_
