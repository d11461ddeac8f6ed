// Copies a short key into 16 bytes, padded with zeros, in a handful of
// instructions: this runs once per emitted record.
#ifndef MILLRACE_INTERNAL_PADDED_KEY_H_
#define MILLRACE_INTERNAL_PADDED_KEY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MILLRACE_INTERNAL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define MILLRACE_INTERNAL_SANITIZED 1
#endif
#endif

#if defined(__SSE2__) && !defined(MILLRACE_INTERNAL_SANITIZED)
#define MILLRACE_INTERNAL_WIDE_KEY_LOAD 1
#include <emmintrin.h>
#endif

namespace millrace::internal {

// 16 times FF, then 16 times 00: at 16 - n begins the mask that keeps n bytes.
alignas(32) inline constexpr unsigned char kKeepBytes[32] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0};

// REQUIRES: size <= 16; `out` has 16 bytes, 16-byte aligned.
inline void StorePadded(const char* data, size_t size, char* out) {
#ifdef MILLRACE_INTERNAL_WIDE_KEY_LOAD
  // Reads 16 bytes whatever the size: harmless to the machine as long as the
  // load stays within a page, since the page of the key's first byte is mapped.
  // (An empty view may point anywhere, also to null.) The compiler must not
  // see where the pointer comes from, or it would reason that the object is
  // larger than it is. Sanitizers would rightly object, and get the other way.
  constexpr uintptr_t kPage = 4096;  // The smallest page of any machine.
  if (size != 0 && (reinterpret_cast<uintptr_t>(data) & (kPage - 1)) <=
                       kPage - 16) [[likely]] {
    asm("" : "+r"(data));
    const __m128i wide =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
    const __m128i keep = _mm_loadu_si128(
        reinterpret_cast<const __m128i*>(kKeepBytes + 16 - size));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_and_si128(wide, keep));
    return;
  }
#endif
  std::memset(out, 0, 16);
  if (size != 0) std::memcpy(out, data, size);
}

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_PADDED_KEY_H_
