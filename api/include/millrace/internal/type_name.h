// Names of types for people: `--describe` and messages. Not for job authors.
#ifndef MILLRACE_INTERNAL_TYPE_NAME_H_
#define MILLRACE_INTERNAL_TYPE_NAME_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

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

// "pair<string, int64>".
template <typename... Ts>
std::string NameOfTemplate(std::string_view name) {
  std::string text(name);
  char separator = '<';
  const auto add = [&](const std::string& part) {
    text += separator;
    if (separator == ',') text += ' ';
    separator = ',';
    text += part;
  };
  (add(TypeName<Ts>::Get()), ...);
  return text + (sizeof...(Ts) == 0 ? "<>" : ">");
}
template <typename... Ts>
struct TypeName<std::tuple<Ts...>> {
  static std::string Get() { return NameOfTemplate<Ts...>("tuple"); }
};
template <typename A, typename B>
struct TypeName<std::pair<A, B>> {
  static std::string Get() { return NameOfTemplate<A, B>("pair"); }
};
template <typename T>
struct TypeName<std::vector<T>> {
  static std::string Get() { return NameOfTemplate<T>("vector"); }
};
template <typename T>
struct TypeName<std::optional<T>> {
  static std::string Get() { return NameOfTemplate<T>("optional"); }
};
template <typename T>
struct TypeName<Descending<T>> {
  static std::string Get() { return NameOfTemplate<T>("Descending"); }
};
template <typename G, typename O>
struct TypeName<Grouped<G, O>> {
  static std::string Get() { return NameOfTemplate<G, O>("Grouped"); }
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_TYPE_NAME_H_
