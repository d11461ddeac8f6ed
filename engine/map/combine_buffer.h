// Map side with a combiner: a bounded hash table of key -> accumulated value.
//
// Records are not buffered at all: a key's value is folded into its entry as it
// is emitted, and only distinct keys are ever sorted. Keys come in batches of
// up to 32, so that the table can hash and prefetch all of them before it looks
// at the first (the misses overlap instead of queueing up).
#ifndef MILLRACE_ENGINE_MAP_COMBINE_BUFFER_H_
#define MILLRACE_ENGINE_MAP_COMBINE_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/map/map_side.h"

namespace millrace::engine {

// Thread-compatible.
class CombineBuffer {
 public:
  static constexpr size_t kBatch = 32;
  static constexpr size_t kInlineKeyBytes = 16;

  // How an entry's 8-byte slot holds its value.
  enum class ValueKind {
    kInline8,  // The slot is the encoded value: always 8 bytes.
    kIndirect  // The slot is a pointer from AllocateValue.
  };

  // A batch of emitted keys, as plain arrays: the caller's batch structure is
  // laid out so. Key i has sizes[i] bytes; up to 16 bytes they are in
  // padded[i], followed by zeros; longer ones are at data[i], valid during the
  // call.
  struct Batch {
    size_t count = 0;  // At most kBatch.
    const char (*padded)[kInlineKeyBytes] = nullptr;
    const char* const* data = nullptr;
    const uint32_t* sizes = nullptr;
  };

  // An indirect value: `size` bytes follow the header, with room for
  // `capacity`.
  struct IndirectValue {
    uint32_t size;
    uint32_t capacity;
    char* bytes() { return reinterpret_cast<char*>(this + 1); }
  };

  // REQUIRES: options.folder != nullptr.
  static absl::StatusOr<std::unique_ptr<CombineBuffer>> Create(
      const MapSideOptions& options, ValueKind kind);
  virtual ~CombineBuffer() = default;

  // Finds or makes the entry of each key. slots[i] is the entry's 8-byte value
  // slot, valid until the next call of Probe; bit i of `*inserted` says that
  // the entry is new and its slot is for the caller to fill. A key that stands
  // twice in the batch has one slot, and only its first place has the bit.
  // Counts batch.count emitted records. Spills first if there might not be
  // room.
  virtual absl::Status Probe(const Batch& batch, uint64_t** slots,
                             uint32_t* inserted) = 0;

  // Room for an indirect value. Never spills, so that slots stay valid; the
  // next Probe sees what it cost.
  virtual IndirectValue* AllocateValue(size_t capacity) = 0;

  // Writes the map output file. Call once, last.
  virtual absl::StatusOr<MapSideResult> Finish() = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_COMBINE_BUFFER_H_
