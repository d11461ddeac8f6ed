#include "common/wide_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/wide_hash_avx2.h"

namespace millrace::internal {
namespace {

bool HasAvx2() {
#ifdef MILLRACE_WIDE_HASH_AVX2
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2;
#else
  return false;
#endif
}

}  // namespace

uint64_t PlainHash64(const void* bytes, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, size, seed);
}

void PlainHashUpdate(void* state, const void* bytes, size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state), bytes, size);
}

uint64_t WideHash64(const void* bytes, size_t size, uint64_t seed) {
  return HasAvx2() ? Avx2Hash64(bytes, size, seed)
                   : PlainHash64(bytes, size, seed);
}

void WideHashUpdate(void* state, const void* bytes, size_t size) {
  if (HasAvx2()) {
    Avx2HashUpdate(state, bytes, size);
  } else {
    PlainHashUpdate(state, bytes, size);
  }
}

}  // namespace millrace::internal
