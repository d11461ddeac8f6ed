// The built-in key codecs: see millrace/codec.h, which includes this file.
//
// A key that is a part of a larger one must be self-delimiting: no encoding of
// a part may be a prefix of another, or the bytes behind it would decide the
// order. Fixed-length encodings are so by themselves. Others are escaped:
//
//   byte 00 -> 00 FF,   end of the part -> 00 01
//
// which keeps the order, because the end compares smaller than an escaped 00
// (01 < FF) and than any other byte (00 < 01..FF). The scheme is that of
// ordered key-value stores (CockroachDB's encodeBytesAscending). Descending
// inverts all bits, so the end marker sorts last there.
#ifndef MILLRACE_INTERNAL_KEY_CODEC_H_
#define MILLRACE_INTERNAL_KEY_CODEC_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "millrace/codec.h"

namespace millrace {
namespace internal {

inline constexpr size_t kNoLength = static_cast<size_t>(-1);

// ---------------------------------------------------------------- scalar bits

template <size_t kBytes>
using UintOf = std::conditional_t<
    kBytes == 1, uint8_t,
    std::conditional_t<kBytes == 2, uint16_t,
                       std::conditional_t<kBytes == 4, uint32_t, uint64_t>>>;

template <typename U>
U ByteSwap(U bits) {
  if constexpr (sizeof(U) == 2) bits = __builtin_bswap16(bits);
  if constexpr (sizeof(U) == 4) bits = __builtin_bswap32(bits);
  if constexpr (sizeof(U) == 8) bits = __builtin_bswap64(bits);
  return bits;
}

template <typename T>
inline constexpr bool kIsKeyScalar =
    (std::is_integral_v<T> && sizeof(T) <= 8) || std::is_same_v<T, float> ||
    std::is_same_v<T, double>;

// Unsigned integers of T's size in T's order.
template <typename T>
UintOf<sizeof(T)> OrderedBits(T value) {
  using U = UintOf<sizeof(T)>;
  constexpr U kSign = U{1} << (sizeof(T) * 8 - 1);
  if constexpr (std::is_floating_point_v<T>) {
    if (value == 0) value = 0;  // -0.0
    if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
    const U bits = std::bit_cast<U>(value);
    // Negative numbers grow with the magnitude bits: invert them all.
    return (bits & kSign) != 0 ? static_cast<U>(~bits)
                               : static_cast<U>(bits | kSign);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<U>(static_cast<U>(value) ^ kSign);
  } else {
    return static_cast<U>(value);
  }
}

template <typename T>
T FromOrderedBits(UintOf<sizeof(T)> bits) {
  using U = UintOf<sizeof(T)>;
  constexpr U kSign = U{1} << (sizeof(T) * 8 - 1);
  if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<T>((bits & kSign) != 0 ? static_cast<U>(bits ^ kSign)
                                                : static_cast<U>(~bits));
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(static_cast<U>(bits ^ kSign));
  } else {
    return static_cast<T>(bits);
  }
}

// ------------------------------------------------------------------- escaping

inline void AppendEscaped(std::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const size_t zero = bytes.find('\0');
    if (zero == std::string_view::npos) break;
    out->append(bytes.substr(0, zero));
    out->append("\0\xff", 2);
    bytes.remove_prefix(zero + 1);
  }
  out->append(bytes);
  out->append("\0\x01", 2);
}

// Length of the escaped part that `bytes` begins with, its end marker included;
// kNoLength when there is none. `flip` is 0xff inside Descending.
inline size_t EscapedLength(std::string_view bytes, unsigned char flip) {
  const char zero = static_cast<char>(flip);
  size_t at = 0;
  for (;;) {
    at = bytes.find(zero, at);
    if (at == std::string_view::npos || at + 1 >= bytes.size()) {
      return kNoLength;
    }
    const unsigned char next = static_cast<unsigned char>(bytes[at + 1]) ^ flip;
    if (next == 0x01) return at + 2;
    if (next != 0xff) return kNoLength;
    at += 2;
  }
}

// REQUIRES: EscapedLength(bytes, 0) == bytes.size().
inline void Unescape(std::string_view bytes, std::string* out) {
  out->clear();
  bytes.remove_suffix(2);
  while (!bytes.empty()) {
    const size_t zero = bytes.find('\0');
    if (zero == std::string_view::npos) break;
    out->append(bytes.substr(0, zero + 1));
    bytes.remove_prefix(zero + 2);
  }
  out->append(bytes);
}

// ---------------------------------------------------------------------- parts

template <typename T>
inline constexpr bool kFixedKey = FixedCodec<KeyCodec<T>, KeyView<T>>;

// The codec can tell where an encoding ends: Length(bytes, flip), as
// EscapedLength.
template <typename T>
concept SelfDelimitingKey = requires(std::string_view bytes) {
  KeyCodec<T>::Length(bytes, static_cast<unsigned char>(0));
};

template <typename T>
void AppendKeyPart(KeyView<T> part, std::string* out) {
  if constexpr (std::is_same_v<T, std::string>) {
    AppendEscaped(part, out);
  } else if constexpr (kFixedKey<T> || SelfDelimitingKey<T>) {
    AppendWith<KeyCodec<T>, KeyView<T>>(part, out);
  } else {
    std::string raw;
    AppendWith<KeyCodec<T>, KeyView<T>>(part, &raw);
    AppendEscaped(raw, out);
  }
}

template <typename T>
size_t KeyPartLength(std::string_view bytes, unsigned char flip) {
  if constexpr (kFixedKey<T>) {
    return bytes.size() < KeyCodec<T>::kFixedBytes ? kNoLength
                                                   : KeyCodec<T>::kFixedBytes;
  } else if constexpr (SelfDelimitingKey<T>) {
    return KeyCodec<T>::Length(bytes, flip);
  } else {
    return EscapedLength(bytes, flip);
  }
}

// Decodes the part that `*bytes` begins with and moves behind it.
template <typename T>
bool TakeKeyPart(std::string_view* bytes, T* part) {
  const size_t length = KeyPartLength<T>(*bytes, 0);
  if (length == kNoLength) return false;
  const std::string_view piece = bytes->substr(0, length);
  bytes->remove_prefix(length);
  if constexpr (std::is_same_v<T, std::string>) {
    Unescape(piece, part);
    return true;
  } else if constexpr (kFixedKey<T> || SelfDelimitingKey<T>) {
    return KeyCodec<T>::Decode(piece, part);
  } else {
    std::string raw;
    Unescape(piece, &raw);
    return KeyCodec<T>::Decode(raw, part);
  }
}

// The codec of a T made of parts: a tuple, a pair, a Grouped. Access::Apply(t,
// f) calls f with the parts of a T or of its view.
template <bool kFixed, typename Access, typename T, typename... Parts>
struct ProductKeyCodec {
  static void Encode(const KeyView<T>& view, std::string* bytes) {
    Access::Apply(view, [bytes](const auto&... parts) {
      (AppendKeyPart<Parts>(parts, bytes), ...);
    });
  }
  static bool Decode(std::string_view bytes, T* value) {
    return Access::Apply(*value, [bytes](auto&... parts) mutable {
      return (TakeKeyPart<Parts>(&bytes, &parts) && ...) && bytes.empty();
    });
  }
  static size_t Length(std::string_view bytes, unsigned char flip) {
    size_t total = 0;
    const auto add = [&total](size_t length) {
      total += length;
      return length != kNoLength;
    };
    const bool ok =
        (add(KeyPartLength<Parts>(bytes.substr(total), flip)) && ...);
    return ok ? total : kNoLength;
  }
};

// All parts have a fixed length, and so has the whole.
template <typename Access, typename T, typename... Parts>
struct ProductKeyCodec<true, Access, T, Parts...> {
  static constexpr size_t kFixedBytes =
      (KeyCodec<Parts>::kFixedBytes + ... + 0);
  static void EncodeFixed(const KeyView<T>& view, char* bytes) {
    Access::Apply(view, [bytes](const auto&... parts) mutable {
      ((KeyCodec<Parts>::EncodeFixed(parts, bytes),
        bytes += KeyCodec<Parts>::kFixedBytes),
       ...);
    });
  }
  static bool Decode(std::string_view bytes, T* value) {
    return ProductKeyCodec<false, Access, T, Parts...>::Decode(bytes, value);
  }
};

struct TupleAccess {
  template <typename Tuple, typename Fn>
  static auto Apply(Tuple& tuple, Fn fn) {
    return std::apply(fn, tuple);
  }
};

struct GroupedAccess {
  template <typename Pair, typename Fn>
  static auto Apply(Pair& pair, Fn fn) {
    return fn(pair.group, pair.order);
  }
};

template <typename Access, typename T, typename... Parts>
using ProductKeyCodecOf =
    ProductKeyCodec<(kFixedKey<Parts> && ...), Access, T, Parts...>;

template <bool kFixed, typename T>
struct DescendingKeyCodec {
  static void Encode(const KeyView<Descending<T>>& view, std::string* bytes) {
    const size_t begin = bytes->size();
    AppendKeyPart<T>(view.value, bytes);
    for (size_t i = begin; i < bytes->size(); ++i) (*bytes)[i] = ~(*bytes)[i];
  }
  static bool Decode(std::string_view bytes, Descending<T>* value) {
    std::string inverted(bytes);
    for (char& byte : inverted) byte = static_cast<char>(~byte);
    std::string_view rest = inverted;
    return TakeKeyPart<T>(&rest, &value->value) && rest.empty();
  }
  static size_t Length(std::string_view bytes, unsigned char flip) {
    return KeyPartLength<T>(bytes, static_cast<unsigned char>(~flip));
  }
};

template <typename T>
struct DescendingKeyCodec<true, T> {
  static constexpr size_t kFixedBytes = KeyCodec<T>::kFixedBytes;
  static void EncodeFixed(const KeyView<Descending<T>>& view, char* bytes) {
    KeyCodec<T>::EncodeFixed(view.value, bytes);
    for (size_t i = 0; i < kFixedBytes; ++i) bytes[i] = ~bytes[i];
  }
  static bool Decode(std::string_view bytes, Descending<T>* value) {
    if (bytes.size() != kFixedBytes) return false;
    char inverted[kFixedBytes + 1];
    for (size_t i = 0; i < kFixedBytes; ++i) inverted[i] = ~bytes[i];
    return KeyCodec<T>::Decode({inverted, kFixedBytes}, &value->value);
  }
};

}  // namespace internal

template <typename T>
requires(internal::kIsKeyScalar<T>) struct KeyCodec<T> {
  static constexpr size_t kFixedBytes = sizeof(T);
  static void EncodeFixed(T value, char* bytes) {
    const auto bits = internal::ByteSwap(internal::OrderedBits(value));
    std::memcpy(bytes, &bits, sizeof bits);
  }
  static bool Decode(std::string_view bytes, T* value) {
    internal::UintOf<sizeof(T)> bits;
    if (bytes.size() != sizeof bits) return false;
    std::memcpy(&bits, bytes.data(), sizeof bits);
    bits = internal::ByteSwap(bits);
    if (std::is_same_v<T, bool> && bits > 1) return false;
    *value = internal::FromOrderedBits<T>(bits);
    return true;
  }
};

template <typename T>
requires(std::is_enum_v<T>) struct KeyCodec<T> {
  using Number = std::underlying_type_t<T>;
  static constexpr size_t kFixedBytes = sizeof(T);
  static void EncodeFixed(T value, char* bytes) {
    KeyCodec<Number>::EncodeFixed(static_cast<Number>(value), bytes);
  }
  static bool Decode(std::string_view bytes, T* value) {
    Number number;
    if (!KeyCodec<Number>::Decode(bytes, &number)) return false;
    *value = static_cast<T>(number);
    return true;
  }
};

template <>
struct KeyCodec<std::string> {
  static void Encode(std::string_view value, std::string* bytes) {
    bytes->append(value);
  }
  static bool Decode(std::string_view bytes, std::string* value) {
    value->assign(bytes);
    return true;
  }
};

template <>
struct KeyCodec<NoValue> {
  static constexpr size_t kFixedBytes = 0;
  static void EncodeFixed(NoValue, char*) {}
  static bool Decode(std::string_view bytes, NoValue*) { return bytes.empty(); }
};

template <typename... Ts>
requires(HasKeyCodec<Ts>&&...) struct KeyCodec<std::tuple<Ts...>>
    : internal::ProductKeyCodecOf<internal::TupleAccess, std::tuple<Ts...>,
                                  Ts...> {
};

template <typename A, typename B>
requires(HasKeyCodec<A>&& HasKeyCodec<B>) struct KeyCodec<std::pair<A, B>>
    : internal::ProductKeyCodecOf<internal::TupleAccess, std::pair<A, B>, A,
                                  B> {
};

template <typename T>
requires(HasKeyCodec<T>) struct KeyCodec<Descending<T>>
    : internal::DescendingKeyCodec<internal::kFixedKey<T>, T> {
};

template <typename G, typename O>
requires(HasKeyCodec<G>&& HasKeyCodec<O>) struct KeyCodec<Grouped<G, O>>
    : internal::ProductKeyCodecOf<internal::GroupedAccess, Grouped<G, O>, G,
                                  O> {
  // Length of the part of an encoded key that a Partitioner is given.
  static size_t GroupLength(std::string_view bytes) {
    const size_t length = internal::KeyPartLength<G>(bytes, 0);
    return length == internal::kNoLength ? bytes.size() : length;
  }
  // For a Partitioner: decodes what it was given.
  static bool DecodeGroup(std::string_view bytes, G* group) {
    return internal::TakeKeyPart<G>(&bytes, group) && bytes.empty();
  }
};

}  // namespace millrace

#endif  // MILLRACE_INTERNAL_KEY_CODEC_H_
