// Numbers and checksums in the bytes of raft/log: little-endian, unaligned.
#ifndef MILLRACE_RAFT_LOG_ENCODING_H_
#define MILLRACE_RAFT_LOG_ENCODING_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace millrace::raft {

static_assert(std::endian::native == std::endian::little,
              "the numbers of the format are copied as they are in memory");

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// REQUIRES: out.size() >= at + sizeof value.
template <typename T>
void PutAt(std::string& out, uint64_t at, T value) {
  std::memcpy(out.data() + at, &value, sizeof value);
}

// REQUIRES: bytes.size() >= at + sizeof(T).
template <typename T>
T Get(std::string_view bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

inline bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return c == '\0'; });
}

// A checksum is never 0, so that bytes which were not written have none.
inline uint64_t NonZero(uint64_t hash) { return hash == 0 ? 1 : hash; }

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_ENCODING_H_
