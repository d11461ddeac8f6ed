// Names of types for people: `--describe` and messages. Not for job authors.
#ifndef MILLRACE_INTERNAL_TYPE_NAME_H_
#define MILLRACE_INTERNAL_TYPE_NAME_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include "millrace/input.h"
#include "millrace/types.h"

namespace millrace::internal {

// As the compiler spells it.
template <typename T>
std::string CompilerTypeName() {
  // GCC: "... [with T = int; std::string = ...]", Clang: "... [T = int]".
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("T = ") + 4;
  size_t end = begin;
  for (int depth = 0; end < text.size(); ++end) {
    const char c = text[end];
    if (c == '<' || c == '(' || c == '[') ++depth;
    if (depth == 0 && (c == ';' || c == ']')) break;
    if (c == '>' || c == ')' || c == ']') --depth;
  }
  return std::string(text.substr(begin, end - begin));
}

template <typename T>
struct TypeName {
  static std::string Get() {
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, char>) {
      return CompilerTypeName<T>();
    } else if constexpr (std::is_integral_v<T>) {
      return (std::is_signed_v<T> ? "int" : "uint") +
             std::to_string(sizeof(T) * 8);
    } else {
      return CompilerTypeName<T>();
    }
  }
};
template <>
struct TypeName<std::string> {
  static std::string Get() { return "string"; }
};
template <>
struct TypeName<NoValue> {
  static std::string Get() { return "NoValue"; }
};
template <>
struct TypeName<TextLine> {
  static std::string Get() { return "TextLine"; }
};
template <>
struct TypeName<Sequence> {
  static std::string Get() { return "Sequence"; }
};
template <size_t N>
struct TypeName<FixedRecord<N>> {
  static std::string Get() { return "FixedRecord<" + std::to_string(N) + ">"; }
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_TYPE_NAME_H_
