// Formats one output record. Not for job authors.
#ifndef MILLRACE_INTERNAL_RECORD_TEXT_H_
#define MILLRACE_INTERNAL_RECORD_TEXT_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "millrace/internal/ports.h"
#include "millrace/text_format.h"

namespace millrace::internal {

template <typename T>
inline constexpr bool kIsNoValue =
    std::is_same_v<std::remove_cvref_t<T>, NoValue>;

// Printed straight into the output buffer, its length being known or bounded.
template <typename T>
inline constexpr bool kPrintsInPlace =
    std::is_same_v<T, std::string_view> || std::is_same_v<T, NoValue> ||
    kPrintsAsNumber<T>;

template <typename T>
size_t TextBound(const T& value) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return value.size();
  } else if constexpr (kIsNoValue<T>) {
    return 0;
  } else {
    return kNumberTextBytes;
  }
}

template <typename T>
char* WriteText(const T& value, char* out) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    if (!value.empty()) std::memcpy(out, value.data(), value.size());
    return out + value.size();
  } else if constexpr (kIsNoValue<T>) {
    return out;
  } else {
    return WriteNumber(value, out);
  }
}

// Larger records go through in pieces of this size.
inline constexpr size_t kTextPieceBytes = 64 << 10;

inline void AppendInPieces(std::string_view text, OutputPort* port) {
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, kTextPieceBytes);
    port->Append(piece);
    text.remove_prefix(piece.size());
  }
}

template <typename T>
void AppendLong(const T& value, OutputPort* port) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    AppendInPieces(value, port);
  } else {
    char number[kNumberTextBytes];
    port->Append(
        {number, static_cast<size_t>(WriteText(value, number) - number)});
  }
}

// Writes key<TAB>value<newline>; no TAB where key or value is NoValue.
template <typename Key, typename Value>
void WriteTextRecord(const Key& key, const Value& value, std::string* scratch,
                     OutputPort* port) {
  constexpr bool kTab = !kIsNoValue<Key> && !kIsNoValue<Value>;
  if constexpr (kPrintsInPlace<Key> && kPrintsInPlace<Value>) {
    const size_t bound = TextBound(key) + TextBound(value) + 2;
    if (bound <= kTextPieceBytes) [[likely]] {
      char* at = WriteText(key, port->Reserve(bound));
      if constexpr (kTab) *at++ = '\t';
      at = WriteText(value, at);
      *at++ = '\n';
      port->Commit(at);
      return;
    }
  }
  if constexpr (kPrintsInPlace<Key> && kPrintsInPlace<Value>) {
    // Too long for one piece, so one of them is text: no copy of it is made.
    AppendLong(key, port);
    if constexpr (kTab) port->Append("\t");
    AppendLong(value, port);
    port->Append("\n");
  } else {
    scratch->clear();
    TextFormat<Key>::Append(key, scratch);
    if constexpr (kTab) scratch->push_back('\t');
    TextFormat<Value>::Append(value, scratch);
    scratch->push_back('\n');
    AppendInPieces(*scratch, port);
    if (scratch->capacity() > 4 * kTextPieceBytes) std::string().swap(*scratch);
  }
  port->CountRecord();
}

template <typename T>
inline constexpr bool kIsBytes =
    std::is_same_v<std::remove_cvref_t<T>, std::string_view> || kIsNoValue<T>;

template <typename T>
std::string_view BytesOf(const T& value) {
  if constexpr (kIsNoValue<T>) {
    return {};
  } else {
    return value;
  }
}

// Writes the bytes of key and value, one behind the other.
template <typename Key, typename Value>
void WriteFixedRecord(const Key& key, const Value& value, size_t record_bytes,
                      OutputPort* port) {
  const std::string_view first = BytesOf(key);
  const std::string_view second = BytesOf(value);
  if (first.size() > record_bytes ||
      second.size() != record_bytes - first.size()) [[unlikely]] {
    port->Refuse("emitted a key of " + std::to_string(first.size()) +
                 " bytes and a value of " + std::to_string(second.size()) +
                 "; together they must have the " +
                 std::to_string(record_bytes) + " of FixedRecords<" +
                 std::to_string(record_bytes) + ">");
  }
  if (record_bytes <= kTextPieceBytes) [[likely]] {
    port->Commit(
        WriteText(second, WriteText(first, port->Reserve(record_bytes))));
    return;
  }
  AppendInPieces(first, port);
  AppendInPieces(second, port);
  port->CountRecord();
}

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_RECORD_TEXT_H_
