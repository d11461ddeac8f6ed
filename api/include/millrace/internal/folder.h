// The combiner, seen from the table and from the merge of spill runs. Not for
// job authors.
#ifndef MILLRACE_INTERNAL_FOLDER_H_
#define MILLRACE_INTERNAL_FOLDER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "millrace/codec.h"
#include "millrace/internal/combine_batch.h"
#include "millrace/internal/ports.h"

namespace millrace::internal {

// Folds a batch of emitted values into the table's slots, with a combiner C
// whose type is known, so that its Combine is inlined.
template <typename C>
class TableFolder {
 public:
  using V = typename C::Value;

  // A CombineBatch::FoldFn; `self` is the TableFolder.
  static void Fold(void* self, CombineBatch& batch, uint64_t** slots,
                   uint32_t inserted) {
    auto& folder = *static_cast<TableFolder*>(self);
    const size_t count = batch.count();
    for (size_t i = 0; i < count; ++i) {
      const bool is_new = ((inserted >> i) & 1) != 0;
      if constexpr (IsInline8<V>()) {
        if (is_new) {
          *slots[i] = batch.value8(i);
        } else {
          batch.MarkFolding(i);
          V accumulated{};
          V value{};
          FromSlot<V>(*slots[i], &accumulated);
          FromSlot<V>(batch.value8(i), &value);
          folder.combiner_.C::Combine(accumulated, value);
          *slots[i] = ToSlot<V>(accumulated);
        }
      } else if (is_new) {
        folder.Store(batch.value(i), batch.port(), /*capacity=*/0, slots[i]);
      } else {
        batch.MarkFolding(i);
        folder.FoldIndirect(batch.value(i), batch.port(), slots[i]);
      }
    }
  }

 private:
  void FoldIndirect(std::string_view encoded, CombinePort& port,
                    uint64_t* slot) {
    auto* const kept = reinterpret_cast<IndirectValue*>(*slot);
    if (!DecodeValue<V>({kept->bytes(), kept->size}, &accumulated_) ||
        !DecodeValue<V>(encoded, &value_)) {
      ThrowUndecodable("value");
    }
    combiner_.C::Combine(accumulated_, value_);
    encoded_.clear();
    AppendValue<V>(accumulated_, &encoded_);
    if (encoded_.size() <= kept->capacity) {
      std::memcpy(kept->bytes(), encoded_.data(), encoded_.size());
      kept->size = static_cast<uint32_t>(encoded_.size());
      return;
    }
    // A value that grows once will grow again: twice the room, so that n bytes
    // cost O(n) to arrive at.
    Store(encoded_, port, encoded_.size() * 2, slot);
  }

  static void Store(std::string_view encoded, CombinePort& port,
                    size_t capacity, uint64_t* slot) {
    constexpr size_t kMax = std::numeric_limits<uint32_t>::max();
    if (encoded.size() > kMax) {
      throw std::length_error("millrace: a combined value of 4 GiB or more");
    }
    capacity = std::min(kMax, std::max(capacity, encoded.size()));
    IndirectValue* const value = port.AllocateValue(capacity);
    if (!encoded.empty()) {
      std::memcpy(value->bytes(), encoded.data(), encoded.size());
    }
    value->size = static_cast<uint32_t>(encoded.size());
    *slot = reinterpret_cast<uint64_t>(value);
  }

  C combiner_;
  V accumulated_{};
  V value_{};
  std::string encoded_;
};

// The same on encoded values.
template <typename C>
class RunFolder final : public EncodedFolder {
 public:
  using V = typename C::Value;

  void Start(std::string_view, std::string_view value) override {
    encoded_.assign(value);
    is_encoded_ = true;
    is_decoded_ = false;
  }
  void Add(std::string_view value) override {
    if (!is_decoded_ && !DecodeValue<V>(encoded_, &accumulated_)) {
      ThrowUndecodable("value");
    }
    is_decoded_ = true;
    is_encoded_ = false;
    if (!DecodeValue<V>(value, &value_)) ThrowUndecodable("value");
    combiner_.C::Combine(accumulated_, value_);
  }
  // A value that met no other is returned as it came.
  std::string_view Result() override {
    if (!is_encoded_) {
      encoded_.clear();
      AppendValue<V>(accumulated_, &encoded_);
      is_encoded_ = true;
    }
    return encoded_;
  }

 private:
  C combiner_;
  bool is_encoded_ = false;
  bool is_decoded_ = false;
  V accumulated_{};
  V value_{};
  std::string encoded_;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_FOLDER_H_
