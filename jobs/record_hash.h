// A hash of records for the checksum of teravalidate, and the random numbers of
// teragen: both fixed for ever, so that results of different versions can be
// compared.
#ifndef MILLRACE_JOBS_RECORD_HASH_H_
#define MILLRACE_JOBS_RECORD_HASH_H_

#include <cstdint>
#include <cstring>
#include <string_view>

namespace jobs {

// The output function of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014).
inline uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Element `index` of the SplitMix64 stream of `seed`, without those before it:
// who needs which element does not matter.
inline uint64_t RandomAt(uint64_t seed, uint64_t index) {
  return Mix(seed + (index + 1) * 0x9e3779b97f4a7c15u);
}

inline uint64_t HashRecord(std::string_view bytes) {
  uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t size = bytes.size() < 8 ? bytes.size() : 8;
    std::memcpy(&word, bytes.data(), size);
    bytes.remove_prefix(size);
    hash = Mix(hash ^ word) + 0x9e3779b97f4a7c15u;
  }
  return hash;
}

}  // namespace jobs

#endif  // MILLRACE_JOBS_RECORD_HASH_H_
