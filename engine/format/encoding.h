// Fixed and variable-length integers as they stand in map output files: little
// endian, and LEB128 (seven bits a byte, low bits first, no superfluous bytes).
#ifndef MILLRACE_ENGINE_FORMAT_ENCODING_H_
#define MILLRACE_ENGINE_FORMAT_ENCODING_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::engine {

// Files are written in host order below; a big-endian port has to swap here.
static_assert(std::endian::native == std::endian::little);

inline void Put32(char* to, uint32_t v) { std::memcpy(to, &v, sizeof(v)); }
inline void Put64(char* to, uint64_t v) { std::memcpy(to, &v, sizeof(v)); }
inline uint32_t Get32(const char* from) {
  uint32_t v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
inline uint64_t Get64(const char* from) {
  uint64_t v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

inline constexpr size_t kVarint32BytesMax = 5;

inline size_t Varint32Size(uint32_t v) {
  return v < (1u << 7)    ? 1
         : v < (1u << 14) ? 2
         : v < (1u << 21) ? 3
         : v < (1u << 28) ? 4
                          : 5;
}

// Returns the byte behind.
inline char* PutVarint32(char* to, uint32_t v) {
  while (v >= 0x80) {
    *to++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *to++ = static_cast<char>(v);
  return to;
}

// Returns the byte behind, or null if [from, limit) does not begin with the
// shortest form of a 32-bit number: what is read must be what was hashed.
inline const char* GetVarint32(const char* from, const char* limit,
                               uint32_t* v) {
  uint32_t result = 0;
  for (int shift = 0; shift <= 28 && from < limit; shift += 7) {
    const uint32_t byte = static_cast<unsigned char>(*from++);
    result |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift > 0) return nullptr;
      if (shift == 28 && byte > 0x0F) return nullptr;
      *v = result;
      return from;
    }
  }
  return nullptr;
}

// The first eight bytes of a key as a number whose order is memcmp's, shorter
// keys padded with zeros. Different prefixes decide a comparison; equal ones do
// not, even of short keys ("a" and "a\0").
inline uint64_t KeyPrefix(std::string_view key) {
  const char* const p = key.data();
  const size_t n = key.size();
  if (n >= 8) return __builtin_bswap64(Get64(p));
  if (n >= 4) {  // Two loads that overlap.
    return uint64_t{__builtin_bswap32(Get32(p))} << 32 |
           uint64_t{__builtin_bswap32(Get32(p + n - 4))} << (64 - 8 * n);
  }
  if (n == 0) return 0;
  const auto byte = [p](size_t i) {
    return uint64_t{static_cast<unsigned char>(p[i])} << (56 - 8 * i);
  };
  return byte(0) | byte(n / 2) | byte(n - 1);
}

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_ENCODING_H_
