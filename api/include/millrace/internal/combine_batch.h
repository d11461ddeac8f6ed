// What a mapper has emitted and the combiner has not yet seen: up to 32 keys
// with their values, handed to the table together. Not for job authors.
#ifndef MILLRACE_INTERNAL_COMBINE_BATCH_H_
#define MILLRACE_INTERNAL_COMBINE_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "millrace/codec.h"
#include "millrace/internal/padded_key.h"
#include "millrace/internal/ports.h"

namespace millrace::internal {

// Bytes that a codec does not accept. They have passed a checksum, so the codec
// is what is wrong: its Decode refuses what its Encode wrote.
[[noreturn]] inline void ThrowUndecodable(const char* what) {
  throw std::runtime_error(std::string("millrace: the codec of the ") + what +
                           " type does not decode what it encoded");
}

// The encoding is always 8 bytes: the table's slot holds the value itself.
template <typename V>
constexpr bool IsInline8() {
  if constexpr (HasValueCodec<V>) {
    if constexpr (FixedCodec<ValueCodec<V>, ValueView<V>>) {
      return ValueCodec<V>::kFixedBytes == 8;
    }
  }
  return false;
}

template <typename V>
uint64_t ToSlot(ValueView<V> value) {
  char bytes[8];
  ValueCodec<V>::EncodeFixed(value, bytes);
  uint64_t slot;
  std::memcpy(&slot, bytes, 8);
  return slot;
}

template <typename V>
void FromSlot(uint64_t slot, V* value) {
  char bytes[8];
  std::memcpy(bytes, &slot, 8);
  if (!ValueCodec<V>::Decode({bytes, 8}, value)) ThrowUndecodable("value");
}

class CombineBatch {
 public:
  // Folds the values of the batch into their slots; knows the types.
  using FoldFn = void (*)(void* folder, CombineBatch& batch, uint64_t** slots,
                          uint32_t inserted);

  // Encoded values wait in memory; more than this and the batch is handed on
  // before it is full.
  static constexpr size_t kValueBytesMax = 64 << 10;

  void Attach(CombinePort* port, FoldFn fold, void* folder) {
    port_ = port;
    fold_ = fold;
    folder_ = folder;
  }

  // A record is added in three steps: PlaceKey, then its value at index count()
  // or behind value_bytes(), then Commit with what PlaceKey returned: false
  // means that the key lies where the caller has it and must be looked up at
  // once. If the middle step throws, nothing has been added.
  bool PlaceKey(std::string_view key) {
    if (key.size() > KeyBatch::kInlineBytes) [[unlikely]] {
      return PlaceLongKey(key);
    }
    const size_t at = keys_.count;
    keys_.sizes[at] = static_cast<uint32_t>(key.size());
    StorePadded(key.data(), key.size(), keys_.padded[at]);
    return true;
  }
  void SetValue8(uint64_t value) { values_[keys_.count] = value; }
  std::string* value_bytes() { return &value_bytes_; }
  void Commit8(bool key_placed) {
    if (++keys_.count == KeyBatch::kCapacity || !key_placed) [[unlikely]] {
      Flush();
    }
  }
  void CommitBytes(bool key_placed) {
    value_ends_[keys_.count] = value_bytes_.size();
    Commit8(key_placed && value_bytes_.size() < kValueBytesMax);
  }

  // Rethrows what an earlier flush threw, if user code caught it: records were
  // lost then, and the attempt must not succeed.
  [[gnu::noinline]] void Flush() {
    if (failure_ != nullptr) {
      Clear();
      std::rethrow_exception(failure_);
    }
    if (keys_.count == 0) return;
    try {
      uint64_t* slots[KeyBatch::kCapacity];
      const uint32_t inserted = port_->Probe(keys_, slots);
      fold_(folder_, *this, slots, inserted);
      port_->Folded();
    } catch (...) {
      failure_ = std::current_exception();
      Clear();
      throw;
    }
    Clear();
  }

  // For FoldFn.
  size_t count() const { return keys_.count; }
  void MarkFolding(size_t i) {
    keys_.folding.store(static_cast<uint32_t>(i), std::memory_order_relaxed);
  }
  CombinePort& port() { return *port_; }
  uint64_t value8(size_t i) const { return values_[i]; }
  std::string_view value(size_t i) const {
    const size_t begin = i == 0 ? 0 : value_ends_[i - 1];
    return std::string_view(value_bytes_).substr(begin, value_ends_[i] - begin);
  }

 private:
  [[gnu::noinline]] bool PlaceLongKey(std::string_view key) {
    if (key.size() > std::numeric_limits<uint32_t>::max()) {
      throw std::length_error("millrace: a key of 4 GiB or more");
    }
    if (key.size() > KeyBatch::kOverflowBytes - keys_.overflow_used) Flush();
    const size_t at = keys_.count;
    keys_.sizes[at] = static_cast<uint32_t>(key.size());
    if (key.size() > KeyBatch::kOverflowBytes) {
      keys_.data[at] = key.data();
      return false;
    }
    char* const copy = keys_.overflow + keys_.overflow_used;
    std::memcpy(copy, key.data(), key.size());
    keys_.data[at] = copy;
    keys_.overflow_used += key.size();
    return true;
  }

  void Clear() {
    keys_.count = 0;
    keys_.overflow_used = 0;
    value_bytes_.clear();
    // A huge value must not stay allocated for the rest of the task.
    if (value_bytes_.capacity() > 4 * kValueBytesMax) {
      std::string().swap(value_bytes_);
    }
  }

  KeyBatch keys_;
  uint64_t values_[KeyBatch::kCapacity];
  size_t value_ends_[KeyBatch::kCapacity];
  std::string value_bytes_;
  CombinePort* port_ = nullptr;
  FoldFn fold_ = nullptr;
  void* folder_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_COMBINE_BATCH_H_
