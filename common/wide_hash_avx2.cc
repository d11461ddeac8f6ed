// Compiled for AVX2. It must include nothing that has inline functions which
// others have, too: the linker might take this copy for them.
#include "common/wide_hash_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::internal {

uint64_t Avx2Hash64(const void* bytes, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, size, seed);
}

void Avx2HashUpdate(void* state, const void* bytes, size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state), bytes, size);
}

}  // namespace millrace::internal
