// The one place where std:: text meets Abseil's.
//
// Debian's Abseil has a string_view of its own that neither converts to nor
// from the standard one. Signatures in this tree use std::string_view; a call
// into Abseil wraps its arguments in Av(), a result is taken back with ToStd(),
// and messages are built with Cat().
#ifndef MILLRACE_COMMON_STRINGS_H_
#define MILLRACE_COMMON_STRINGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace millrace {

inline absl::string_view Av(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

inline std::string_view ToStd(absl::string_view text) {
  return std::string_view(text.data(), text.size());
}

namespace strings_internal {

template <typename T>
decltype(auto) Piece(const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return Av(std::string_view(value));
  } else {
    return (value);
  }
}

}  // namespace strings_internal

// absl::StrCat that takes standard string views too.
template <typename... Args>
std::string Cat(const Args&... args) {
  return absl::StrCat(strings_internal::Piece(args)...);
}

// "1.3 GiB", "512 KiB", "17 B": for people; machines get the integer.
std::string HumanBytes(uint64_t bytes);

// Control characters, quotes and backslashes escaped, so that a hostile file
// name or key cannot break a log line or a terminal. At most `max_bytes` of
// `text` are shown, then "...".
std::string Printable(std::string_view text, size_t max_bytes = 200);

// A message that somebody else made, as part of a line: control characters are
// escaped, quotes and backslashes are not, since it has its own. At most
// `max_bytes` of it, then "...".
std::string OneLine(std::string_view text, size_t max_bytes = 1000);

// Whether the bytes are UTF-8 as RFC 3629 has it. Protobuf's `string` and JSON
// take nothing else.
bool IsUtf8(std::string_view text);

// Lower-case hexadecimal.
std::string HexEncode(std::string_view bytes);

}  // namespace millrace

#endif  // MILLRACE_COMMON_STRINGS_H_
