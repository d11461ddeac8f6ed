// The hashes of the tree, each fixed for ever: they stand in files, decide
// partitions, and are compared across machines and versions. Never std::hash
// (differs between standard libraries) nor absl::Hash (seeded per process).
#ifndef MILLRACE_COMMON_HASH_H_
#define MILLRACE_COMMON_HASH_H_

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

#include "common/wide_hash.h"

namespace millrace {

// XXH3-64, seed 0.
inline uint64_t Hash64(std::string_view bytes) {
  if (bytes.size() >= internal::kWideHashMin) {
    return internal::WideHash64(bytes.data(), bytes.size(), 0);
  }
  return XXH3_64bits(bytes.data(), bytes.size());
}

inline uint64_t Hash64Seeded(std::string_view bytes, uint64_t seed) {
  if (bytes.size() >= internal::kWideHashMin) {
    return internal::WideHash64(bytes.data(), bytes.size(), seed);
  }
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct Hash128Value {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Hash128Value&, const Hash128Value&) = default;
};

// XXH3-128, seed 0.
inline Hash128Value Hash128(std::string_view bytes) {
  const XXH128_hash_t h = XXH3_128bits(bytes.data(), bytes.size());
  return {h.low64, h.high64};
}

// XXH3-64 over a stream of pieces: equal to Hash64 of their concatenation.
// Thread-compatible. About 600 bytes.
class StreamHash64 {
 public:
  StreamHash64() { Reset(); }
  void Reset() { XXH3_64bits_reset(&state_); }
  void Update(std::string_view piece) {
    internal::WideHashUpdate(&state_, piece.data(), piece.size());
  }
  uint64_t Digest() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

// The built-in partitioner: partition of a key from its Hash64. Uses the high
// bits, so that a hash table may use the low ones. Version 1; a change would
// send equal keys of one job to two reducers.
inline uint32_t HashPartition(uint64_t key_hash, uint32_t num_partitions) {
  return static_cast<uint32_t>(
      (static_cast<uint64_t>(key_hash >> 32) * num_partitions) >> 32);
}

}  // namespace millrace

#endif  // MILLRACE_COMMON_HASH_H_
