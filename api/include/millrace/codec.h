// How keys and values become bytes, and what a type of yours needs for it.
//
// Keys are encoded so that comparing the bytes (memcmp, then length) orders
// them as their type does; Millrace sorts, groups and partitions encoded keys
// and never calls a comparator. Built in:
//
//   std::string               its bytes
//   integers, enums, bool     big-endian, sign bit flipped: 1, 2, 4 or 8 bytes
//   float, double             as integers after the usual bit trick. -0.0 is
//                             stored as 0.0, since the two are equal; all NaNs
//                             are stored as one, which sorts behind +infinity
//   std::tuple, std::pair     part by part; parts of variable length are
//   escaped Descending<T>             the bits of T's encoding inverted
//   Grouped<Group, Order>     as a pair; see millrace/types.h
//   NoValue                   nothing
//
// Values need no order. Built in: arithmetic types and enums (little-endian, at
// their own size, so an int64_t has 8 bytes), std::string, std::tuple,
// std::pair, std::vector, std::optional, NoValue, and every class with the
// SerializeToString and ParseFromArray of Protobuf messages. (Protobuf does not
// fix the order of map fields: a message with one may differ between two
// attempts, which a job that wants byte-identical output cannot use.)
//
// A type of your own opts in with a codec of two functions:
//
//   struct Version { uint16_t major, minor; };
//
//   template <>
//   struct millrace::KeyCodec<Version> {
//     // Appends. The same value must always give the same bytes, and smaller
//     // values smaller bytes.
//     static void Encode(const Version& v, std::string* bytes) {
//       millrace::AppendKey<uint16_t>(v.major, bytes);
//       millrace::AppendKey<uint16_t>(v.minor, bytes);
//     }
//     // False: these bytes are no Version. Never trusts them.
//     static bool Decode(std::string_view bytes, Version* v) {
//       return bytes.size() == 4 &&
//              millrace::DecodeKey(bytes.substr(0, 2), &v->major) &&
//              millrace::DecodeKey(bytes.substr(2), &v->minor);
//     }
//   };
//
// and ValueCodec<T> in the same way for values, with AppendValue and
// DecodeValue. Types must be default constructible. A codec whose encoding has
// always the same length may say so, which saves a copy per record:
//
//     static constexpr size_t kFixedBytes = 4;
//     static void EncodeFixed(const Version& v, char* bytes);  // For Encode.
#ifndef MILLRACE_CODEC_H_
#define MILLRACE_CODEC_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "millrace/internal/views.h"
#include "millrace/types.h"

static_assert(std::endian::native == std::endian::little,
              "millrace: intermediate records have little-endian headers");

namespace millrace {

template <typename T>
struct KeyCodec;

template <typename T>
struct ValueCodec;

// How a key or a value is handed to and from user code: std::string_view for
// std::string, arithmetic types by value, tuples and the like as tuples of
// views, other types by reference.
template <typename T>
using KeyView = typename internal::KeyViewOf<T>::type;
template <typename T>
using ValueView = typename internal::ValueViewOf<T>::type;

namespace internal {

template <typename Codec, typename View>
concept FixedCodec = requires(View view, char* out) {
  { Codec::kFixedBytes } -> std::convertible_to<size_t>;
  Codec::EncodeFixed(view, out);
};

template <typename Codec, typename View, typename T>
concept CodecOf = (FixedCodec<Codec, View> ||
                   requires(View view, std::string* out) {
                     Codec::Encode(view, out);
                   }) &&
                  requires(std::string_view bytes, T* value) {
  { Codec::Decode(bytes, value) } -> std::same_as<bool>;
};

template <typename Codec, typename View>
void AppendWith(View view, std::string* bytes) {
  if constexpr (FixedCodec<Codec, View>) {
    if constexpr (Codec::kFixedBytes != 0) {
      char fixed[Codec::kFixedBytes];
      Codec::EncodeFixed(view, fixed);
      bytes->append(fixed, Codec::kFixedBytes);
    }
  } else {
    Codec::Encode(view, bytes);
  }
}

}  // namespace internal

// Whether T can be a key, or a value.
template <typename T>
concept HasKeyCodec = internal::CodecOf<KeyCodec<T>, KeyView<T>, T>;
template <typename T>
concept HasValueCodec = internal::CodecOf<ValueCodec<T>, ValueView<T>, T>;

// Appends the encoding of a key; write the type out: AppendKey<int64_t>(5, &s).
template <typename T>
void AppendKey(std::type_identity_t<KeyView<T>> key, std::string* bytes) {
  internal::AppendWith<KeyCodec<T>, KeyView<T>>(key, bytes);
}
template <typename T>
std::string EncodeKey(std::type_identity_t<KeyView<T>> key) {
  std::string bytes;
  AppendKey<T>(key, &bytes);
  return bytes;
}
// False: the bytes are not the encoding of a T. `*key` is then unspecified.
template <typename T>
[[nodiscard]] bool DecodeKey(std::string_view bytes, T* key) {
  return KeyCodec<T>::Decode(bytes, key);
}

template <typename T>
void AppendValue(std::type_identity_t<ValueView<T>> value, std::string* bytes) {
  internal::AppendWith<ValueCodec<T>, ValueView<T>>(value, bytes);
}
template <typename T>
std::string EncodeValue(std::type_identity_t<ValueView<T>> value) {
  std::string bytes;
  AppendValue<T>(value, &bytes);
  return bytes;
}
template <typename T>
[[nodiscard]] bool DecodeValue(std::string_view bytes, T* value) {
  return ValueCodec<T>::Decode(bytes, value);
}

}  // namespace millrace

#include "millrace/internal/key_codec.h"    // IWYU pragma: export
#include "millrace/internal/value_codec.h"  // IWYU pragma: export

#endif  // MILLRACE_CODEC_H_
