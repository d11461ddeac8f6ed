#include "engine/map/memory.h"

#include <sys/mman.h>

#include <bit>
#include <utility>

#include "common/errno_status.h"
#include "common/strings.h"
#include "engine/format/map_output_writer.h"

namespace millrace::engine {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = 2 << 20;
// Smaller mappings would mostly waste what a huge page zeroes.
constexpr uint64_t kHugeFrom = 8 << 20;

constexpr uint64_t kMemoryMin = 32 << 10;
constexpr uint64_t kBlockMin = 1 << 10;
constexpr uint64_t kBlockMax = 256 << 10;

}  // namespace

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  if (this == &other) return *this;
  Release();
  account_ = std::exchange(other.account_, nullptr);
  begin_ = std::exchange(other.begin_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

absl::StatusOr<MappedMemory> MappedMemory::Map(MemoryAccount& account,
                                               uint64_t bytes) {
  const bool huge = bytes >= kHugeFrom;
  const uint64_t size = (bytes + kPage - 1) / kPage * kPage;
  // Huge pages lie at multiples of their size, so there is a margin to cut to.
  const uint64_t span = size + (huge ? kHugePage : 0);
  void* mapped = mmap(nullptr, span, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return NoMemoryError(
        Cat("map ", HumanBytes(bytes), " of memory: no more to be had"));
  }
  char* begin = static_cast<char*>(mapped);
  if (huge) {
    const uint64_t address = reinterpret_cast<uint64_t>(begin);
    const uint64_t head = (kHugePage - address % kHugePage) % kHugePage;
    if (head > 0) munmap(begin, head);
    begin += head;
    if (head < kHugePage) munmap(begin + size, kHugePage - head);
    // A wish: without huge pages everything works, only slower.
    (void)madvise(begin, size, MADV_HUGEPAGE);
  }
  MappedMemory memory;
  memory.account_ = &account;
  memory.begin_ = begin;
  memory.bytes_ = size;
  account.Add(size);
  return memory;
}

void MappedMemory::Release() {
  if (begin_ == nullptr) return;
  munmap(begin_, bytes_);
  account_->Subtract(bytes_);
  begin_ = nullptr;
  bytes_ = 0;
}

MemoryPlan PlanMemory(const MapSideOptions& options) {
  MemoryPlan plan;
  plan.total_bytes = std::max(options.memory_bytes, kMemoryMin);
  plan.output_block_bytes = std::clamp<uint64_t>(
      std::bit_floor(plan.total_bytes / 16), kBlockMin, kBlockMax);
  plan.run_block_bytes =
      std::min(plan.output_block_bytes, ChooseBlockBytes(plan.total_bytes));
  MapOutputWriterOptions writer;
  writer.num_partitions = options.num_partitions;
  writer.codec = options.codec;
  writer.block_bytes = plan.output_block_bytes;
  plan.writer_bytes = MapOutputWriter::WriterMemoryBytes(writer);
  // Where the index of very many partitions takes all, some is left anyway.
  const uint64_t rest = plan.total_bytes > plan.writer_bytes
                            ? plan.total_bytes - plan.writer_bytes
                            : 0;
  plan.region_bytes = std::max(rest, plan.total_bytes / 4) / kPage * kPage;
  return plan;
}

}  // namespace millrace::engine
