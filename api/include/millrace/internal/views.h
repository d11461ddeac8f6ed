// What user code gets and gives in place of a key or value of type T. Not for
// job authors; see KeyView and ValueView in millrace/codec.h.
#ifndef MILLRACE_INTERNAL_VIEWS_H_
#define MILLRACE_INTERNAL_VIEWS_H_

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "millrace/types.h"

namespace millrace::internal {

template <typename T>
inline constexpr bool kPassedByValue =
    std::is_arithmetic_v<T> || std::is_enum_v<T>;

// `type` is the parameter; `element` what stands for T within a tuple of views,
// where a reference could dangle after a conversion.
template <typename T>
struct KeyViewOf {
  using type = std::conditional_t<kPassedByValue<T>, T, const T&>;
  using element = T;
};
template <>
struct KeyViewOf<NoValue> {
  using type = NoValue;
  using element = NoValue;
};
template <>
struct KeyViewOf<std::string> {
  using type = std::string_view;
  using element = std::string_view;
};
template <typename... Ts>
struct KeyViewOf<std::tuple<Ts...>> {
  using type = std::tuple<typename KeyViewOf<Ts>::element...>;
  using element = type;
};
template <typename A, typename B>
struct KeyViewOf<std::pair<A, B>> {
  using type = std::pair<typename KeyViewOf<A>::element,  //
                         typename KeyViewOf<B>::element>;
  using element = type;
};
template <typename T>
struct KeyViewOf<Descending<T>> {
  using type = Descending<typename KeyViewOf<T>::element>;
  using element = type;
};
template <typename G, typename O>
struct KeyViewOf<Grouped<G, O>> {
  using type = Grouped<typename KeyViewOf<G>::element,  //
                       typename KeyViewOf<O>::element>;
  using element = type;
};

template <typename T>
struct ValueViewOf {
  using type = std::conditional_t<kPassedByValue<T>, T, const T&>;
};
template <>
struct ValueViewOf<NoValue> {
  using type = NoValue;
};
template <>
struct ValueViewOf<std::string> {
  using type = std::string_view;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_VIEWS_H_
