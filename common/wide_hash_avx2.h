// For wide_hash.cc alone; on x86-64.
#ifndef MILLRACE_COMMON_WIDE_HASH_AVX2_H_
#define MILLRACE_COMMON_WIDE_HASH_AVX2_H_

#include <cstddef>
#include <cstdint>

namespace millrace::internal {

// REQUIRES: the machine has AVX2.
uint64_t Avx2Hash64(const void* bytes, size_t size, uint64_t seed);
void Avx2HashUpdate(void* state, const void* bytes, size_t size);

}  // namespace millrace::internal

#endif  // MILLRACE_COMMON_WIDE_HASH_AVX2_H_
