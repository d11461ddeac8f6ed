// How keys and values are printed in text output: key<TAB>value<newline>.
//
// Built in: std::string raw, byte for byte (a TAB or a newline in it is not
// escaped, as in Hadoop); integers in decimal; float and double as the shortest
// text that reads back as the same number; char as a character; bool as true or
// false; enums as their number; the parts of std::tuple, std::pair and Grouped
// with TABs between them; std::vector with commas; an empty std::optional as
// nothing.
//
// A type of your own:
//
//   template <>
//   struct millrace::TextFormat<Version> {
//     static void Append(const Version& v, std::string* text) {
//       *text += std::to_string(v.major) + "." + std::to_string(v.minor);
//     }
//   };
#ifndef MILLRACE_TEXT_FORMAT_H_
#define MILLRACE_TEXT_FORMAT_H_

#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "millrace/types.h"

namespace millrace {

template <typename T>
struct TextFormat;

// Whether T can be printed.
template <typename T>
concept HasTextFormat = requires(const T& value, std::string* text) {
  TextFormat<T>::Append(value, text);
};

namespace internal {

// Numbers are printed straight into the output buffer.
template <typename T>
inline constexpr bool kPrintsAsNumber =
    (std::is_integral_v<T> ||
     std::is_floating_point_v<T>)&&!std::is_same_v<T, bool> &&
    !std::is_same_v<T, char>;

// More than any number needs: -1.7976931348623157e+308 has 24 characters, and
// long double 4 more in the exponent and mantissa together.
inline constexpr size_t kNumberTextBytes = 48;

template <typename T>
char* WriteNumber(T number, char* out) {
  return std::to_chars(out, out + kNumberTextBytes, number).ptr;
}

// Appends to_append behind a separator, but for the first.
template <typename... Ts>
void AppendJoined(std::string* text, char separator, const Ts&... parts) {
  bool first = true;
  const auto next = [&](const auto& part) {
    if (!first) text->push_back(separator);
    first = false;
    TextFormat<std::remove_cvref_t<decltype(part)>>::Append(part, text);
  };
  (next(parts), ...);
}

}  // namespace internal

template <typename T>
requires(internal::kPrintsAsNumber<T>) struct TextFormat<T> {
  static void Append(T value, std::string* text) {
    char buffer[internal::kNumberTextBytes];
    text->append(buffer, internal::WriteNumber(value, buffer));
  }
};

template <>
struct TextFormat<bool> {
  static void Append(bool value, std::string* text) {
    text->append(value ? "true" : "false");
  }
};

template <>
struct TextFormat<char> {
  static void Append(char value, std::string* text) { text->push_back(value); }
};

template <typename T>
requires(std::is_enum_v<T>) struct TextFormat<T> {
  static void Append(T value, std::string* text) {
    // + promotes: an enum of bytes is a number, not a character.
    const auto number = +static_cast<std::underlying_type_t<T>>(value);
    TextFormat<std::remove_cv_t<decltype(number)>>::Append(number, text);
  }
};

template <typename T>
requires(std::same_as<T, std::string> ||
         std::same_as<T, std::string_view>) struct TextFormat<T> {
  static void Append(std::string_view value, std::string* text) {
    text->append(value);
  }
};

template <>
struct TextFormat<NoValue> {
  static void Append(NoValue, std::string*) {}
};

template <typename... Ts>
requires(HasTextFormat<Ts>&&...) struct TextFormat<std::tuple<Ts...>> {
  static void Append(const std::tuple<Ts...>& value, std::string* text) {
    std::apply(
        [text](const auto&... parts) {
          internal::AppendJoined(text, '\t', parts...);
        },
        value);
  }
};

template <typename A, typename B>
requires(
    HasTextFormat<A>&& HasTextFormat<B>) struct TextFormat<std::pair<A, B>> {
  static void Append(const std::pair<A, B>& value, std::string* text) {
    internal::AppendJoined(text, '\t', value.first, value.second);
  }
};

template <typename T>
requires(HasTextFormat<T>) struct TextFormat<Descending<T>> {
  static void Append(const Descending<T>& value, std::string* text) {
    TextFormat<T>::Append(value.value, text);
  }
};

template <typename G, typename O>
requires(HasTextFormat<G>&& HasTextFormat<O>) struct TextFormat<Grouped<G, O>> {
  static void Append(const Grouped<G, O>& value, std::string* text) {
    internal::AppendJoined(text, '\t', value.group, value.order);
  }
};

template <typename T>
requires(HasTextFormat<T>) struct TextFormat<std::vector<T>> {
  static void Append(const std::vector<T>& values, std::string* text) {
    bool first = true;
    for (const auto& value : values) {
      if (!first) text->push_back(',');
      first = false;
      TextFormat<T>::Append(value, text);
    }
  }
};

template <typename T>
requires(HasTextFormat<T>) struct TextFormat<std::optional<T>> {
  static void Append(const std::optional<T>& value, std::string* text) {
    if (value.has_value()) TextFormat<T>::Append(*value, text);
  }
};

}  // namespace millrace

#endif  // MILLRACE_TEXT_FORMAT_H_
