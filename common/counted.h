// Numbers of things, for people.
#ifndef MILLRACE_COMMON_COUNTED_H_
#define MILLRACE_COMMON_COUNTED_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "common/strings.h"

namespace millrace {

// "1 file", "12 files". `noun` takes an s.
inline std::string Counted(uint64_t n, std::string_view noun) {
  return Cat(n, " ", noun, n == 1 ? "" : "s");
}

}  // namespace millrace

#endif  // MILLRACE_COMMON_COUNTED_H_
