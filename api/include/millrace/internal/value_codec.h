// The built-in value codecs: see millrace/codec.h, which includes this file.
//
// A value that is a part of a larger one stands there as it is when its length
// is fixed, else behind its length as a varint (7 bits a byte, low bits first,
// high bit: more follow).
#ifndef MILLRACE_INTERNAL_VALUE_CODEC_H_
#define MILLRACE_INTERNAL_VALUE_CODEC_H_

#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "millrace/codec.h"

namespace millrace {
namespace internal {

template <typename T>
inline constexpr bool kFixedValue = FixedCodec<ValueCodec<T>, ValueView<T>>;

// Protobuf messages, and what serialises like them.
template <typename T>
concept MessageLike = requires(const T& message, T* mutable_message,
                               std::string* bytes, const void* data) {
  { message.AppendToString(bytes) } -> std::convertible_to<bool>;
  { message.SerializeToString(bytes) } -> std::convertible_to<bool>;
  { mutable_message->ParseFromArray(data, 1) } -> std::convertible_to<bool>;
};

// Writes to at most 10 bytes; returns how many.
inline size_t WriteVarint(uint64_t number, char* out) {
  size_t size = 0;
  while (number >= 0x80) {
    out[size++] = static_cast<char>(number | 0x80);
    number >>= 7;
  }
  out[size++] = static_cast<char>(number);
  return size;
}

inline bool TakeVarint(std::string_view* bytes, uint64_t* number) {
  *number = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const unsigned char byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *number |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

template <typename T>
void AppendValuePart(ValueView<T> part, std::string* out) {
  if constexpr (!kFixedValue<T>) {
    char length[10];
    if constexpr (std::is_same_v<T, std::string>) {
      out->append(length, WriteVarint(part.size(), length));
    } else {
      // The length is known only when the part is there.
      const size_t begin = out->size();
      AppendWith<ValueCodec<T>, ValueView<T>>(part, out);
      const size_t size = WriteVarint(out->size() - begin, length);
      out->insert(begin, length, size);
      return;
    }
  }
  AppendWith<ValueCodec<T>, ValueView<T>>(part, out);
}

template <typename T>
bool TakeValuePart(std::string_view* bytes, T* part) {
  uint64_t length = 0;
  if constexpr (kFixedValue<T>) {
    length = ValueCodec<T>::kFixedBytes;
  } else {
    if (!TakeVarint(bytes, &length)) return false;
  }
  if (length > bytes->size()) return false;
  const std::string_view piece = bytes->substr(0, length);
  bytes->remove_prefix(length);
  return ValueCodec<T>::Decode(piece, part);
}

template <bool kFixed, typename T, typename... Parts>
struct ProductValueCodec {
  static void Encode(const T& value, std::string* bytes) {
    std::apply(
        [bytes](const auto&... parts) {
          (AppendValuePart<Parts>(parts, bytes), ...);
        },
        value);
  }
  static bool Decode(std::string_view bytes, T* value) {
    return std::apply(
        [bytes](auto&... parts) mutable {
          return (TakeValuePart<Parts>(&bytes, &parts) && ...) && bytes.empty();
        },
        *value);
  }
};

// All parts have a fixed length, and so has the whole.
template <typename T, typename... Parts>
struct ProductValueCodec<true, T, Parts...> {
  static constexpr size_t kFixedBytes =
      (ValueCodec<Parts>::kFixedBytes + ... + 0);
  static void EncodeFixed(const T& value, char* bytes) {
    std::apply(
        [bytes](const auto&... parts) mutable {
          ((ValueCodec<Parts>::EncodeFixed(parts, bytes),
            bytes += ValueCodec<Parts>::kFixedBytes),
           ...);
        },
        value);
  }
  static bool Decode(std::string_view bytes, T* value) {
    return ProductValueCodec<false, T, Parts...>::Decode(bytes, value);
  }
};

}  // namespace internal

template <typename T>
requires(std::is_arithmetic_v<T> && sizeof(T) <= 8) struct ValueCodec<T> {
  static constexpr size_t kFixedBytes = sizeof(T);
  static void EncodeFixed(T value, char* bytes) {
    std::memcpy(bytes, &value, sizeof value);
  }
  static bool Decode(std::string_view bytes, T* value) {
    if (bytes.size() != sizeof *value) return false;
    if constexpr (std::is_same_v<T, bool>) {
      if (static_cast<unsigned char>(bytes[0]) > 1) return false;
    }
    std::memcpy(value, bytes.data(), sizeof *value);
    return true;
  }
};

template <typename T>
requires(std::is_enum_v<T>) struct ValueCodec<T> {
  using Number = std::underlying_type_t<T>;
  static constexpr size_t kFixedBytes = sizeof(T);
  static void EncodeFixed(T value, char* bytes) {
    ValueCodec<Number>::EncodeFixed(static_cast<Number>(value), bytes);
  }
  static bool Decode(std::string_view bytes, T* value) {
    Number number;
    if (!ValueCodec<Number>::Decode(bytes, &number)) return false;
    *value = static_cast<T>(number);
    return true;
  }
};

template <>
struct ValueCodec<std::string> {
  static void Encode(std::string_view value, std::string* bytes) {
    bytes->append(value);
  }
  static bool Decode(std::string_view bytes, std::string* value) {
    value->assign(bytes);
    return true;
  }
};

template <>
struct ValueCodec<NoValue> {
  static constexpr size_t kFixedBytes = 0;
  static void EncodeFixed(NoValue, char*) {}
  static bool Decode(std::string_view bytes, NoValue*) { return bytes.empty(); }
};

template <typename... Ts>
requires(HasValueCodec<Ts>&&...) struct ValueCodec<std::tuple<Ts...>>
    : internal::ProductValueCodec<(internal::kFixedValue<Ts> && ...),
                                  std::tuple<Ts...>, Ts...> {
};

template <typename A, typename B>
requires(HasValueCodec<A>&& HasValueCodec<B>) struct ValueCodec<std::pair<A, B>>
    : internal::ProductValueCodec<internal::kFixedValue<A> &&
                                      internal::kFixedValue<B>,
                                  std::pair<A, B>, A, B> {
};

// Number of elements as a varint, then the elements.
template <typename T>
requires(HasValueCodec<T>) struct ValueCodec<std::vector<T>> {
  static void Encode(const std::vector<T>& values, std::string* bytes) {
    char count[10];
    bytes->append(count, internal::WriteVarint(values.size(), count));
    for (const auto& value : values) {
      internal::AppendValuePart<T>(value, bytes);
    }
  }
  static bool Decode(std::string_view bytes, std::vector<T>* values) {
    values->clear();
    uint64_t count = 0;
    if (!internal::TakeVarint(&bytes, &count)) return false;
    // An element without bytes would let a few bytes claim any number of them.
    if constexpr (std::is_same_v<T, NoValue>) {
      if (count > std::numeric_limits<uint32_t>::max()) return false;
      values->resize(count);
    } else {
      if (count > bytes.size()) return false;
      for (uint64_t i = 0; i < count; ++i) {
        T value{};
        if (!internal::TakeValuePart<T>(&bytes, &value)) return false;
        values->push_back(std::move(value));
      }
    }
    return bytes.empty();
  }
};

// A byte that says whether a value follows.
template <typename T>
requires(HasValueCodec<T>) struct ValueCodec<std::optional<T>> {
  static void Encode(const std::optional<T>& value, std::string* bytes) {
    bytes->push_back(value.has_value() ? '\1' : '\0');
    if (value.has_value()) AppendValue<T>(*value, bytes);
  }
  static bool Decode(std::string_view bytes, std::optional<T>* value) {
    value->reset();
    if (bytes.empty()) return false;
    if (bytes.front() == '\0') return bytes.size() == 1;
    return bytes.front() == '\1' &&
           ValueCodec<T>::Decode(bytes.substr(1), &value->emplace());
  }
};

template <typename T>
requires(internal::MessageLike<T>) struct ValueCodec<T> {
  static void Encode(const T& message, std::string* bytes) {
    if (!message.AppendToString(bytes)) {
      throw std::length_error("millrace: a message could not be serialised");
    }
  }
  static bool Decode(std::string_view bytes, T* message) {
    return bytes.size() <=
               static_cast<size_t>(std::numeric_limits<int>::max()) &&
           message->ParseFromArray(bytes.data(),
                                   static_cast<int>(bytes.size()));
  }
};

}  // namespace millrace

#endif  // MILLRACE_INTERNAL_VALUE_CODEC_H_
