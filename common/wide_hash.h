// XXH3 of long inputs with the widest instructions that are worth it: AVX2,
// where the machine has them and the program was not compiled for them anyway.
// The values are the same with any.
#ifndef MILLRACE_COMMON_WIDE_HASH_H_
#define MILLRACE_COMMON_WIDE_HASH_H_

#include <cstddef>
#include <cstdint>

namespace millrace::internal {

// Below this XXH3 has formulas of its own, without wide instructions.
inline constexpr size_t kWideHashMin = 241;

// XXH3-64 with this seed.
uint64_t WideHash64(const void* bytes, size_t size, uint64_t seed);
// XXH3_64bits_update of `state`, an XXH3_state_t.
void WideHashUpdate(void* state, const void* bytes, size_t size);

// What they are without AVX2.
uint64_t PlainHash64(const void* bytes, size_t size, uint64_t seed);
void PlainHashUpdate(void* state, const void* bytes, size_t size);

}  // namespace millrace::internal

#endif  // MILLRACE_COMMON_WIDE_HASH_H_
