// The values of one key, as a reducer sees them.
#ifndef MILLRACE_VALUES_H_
#define MILLRACE_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "millrace/codec.h"
#include "millrace/internal/combine_batch.h"
#include "millrace/internal/ports.h"

namespace millrace {
namespace internal {

// Tells the supervisor which value of a key the reducer has, and now and then
// how many it has read.
class ValueProgress {
 public:
  explicit ValueProgress(const PositionSlots& slots)
      : progress_(slots.progress), value_(slots.value) {}
  void BeginKey() {
    at_ = 0;
    value_->store(0, std::memory_order_relaxed);
  }
  // The next value was read.
  void StepValue() {
    value_->store(at_++, std::memory_order_relaxed);
    Step();
  }
  void Step() {
    if (++pending_ == kStep) [[unlikely]]
      Publish();
  }
  void Publish() {
    // This process is the only writer.
    progress_->store(progress_->load(std::memory_order_relaxed) + pending_,
                     std::memory_order_relaxed);
    pending_ = 0;
  }

 private:
  static constexpr uint64_t kStep = 256;
  std::atomic<uint64_t>* progress_;
  std::atomic<uint64_t>* value_;
  uint64_t at_ = 0;
  uint64_t pending_ = 0;
};

class ValuesAccess;

}  // namespace internal

// A range to be read once, front to back:
//
//   for (int64_t value : values) total += value;
//
// The values of a key arrive in a fixed order (map task, then order of Emit)
// and are never in memory together: there may be more than fit. A value is
// valid until the iterator moves. Reading on after a break is not possible, and
// what was not read is passed over.
template <typename V, typename K>
class Values {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = V;
    using difference_type = std::ptrdiff_t;
    using reference = ValueView<V>;
    using pointer = void;

    reference operator*() const {
      if constexpr (std::is_same_v<V, std::string>) {
        return values_->value_bytes_;
      } else {
        return values_->value_;
      }
    }
    Iterator& operator++() {
      values_->Advance();
      return *this;
    }
    void operator++(int) { values_->Advance(); }
    bool operator==(std::default_sentinel_t) const {
      return !values_->has_value_;
    }

   private:
    friend class Values;
    explicit Iterator(Values* values) : values_(values) {}
    Values* values_;
  };

  Values() = default;
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

  // Throws std::logic_error when called twice for one key.
  Iterator begin() {
    if (begun_) {
      throw std::logic_error(
          "millrace: the values of a key can be read only once: keep what is "
          "needed a second time");
    }
    begun_ = true;
    Advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

  // The key that the current value was emitted with. It differs from the key
  // that Reduce was given only for Grouped keys: its order part is this
  // value's. REQUIRES: an iterator stands on a value.
  KeyView<K> key() {
    if constexpr (std::is_same_v<K, std::string>) {
      return key_bytes_;
    } else {
      if (!DecodeKey<K>(key_bytes_, &key_)) internal::ThrowUndecodable("key");
      return key_;
    }
  }

 private:
  friend class internal::ValuesAccess;

  void Advance() {
    has_value_ = groups_->NextValue(&key_bytes_, &value_bytes_);
    if (!has_value_) return;
    if constexpr (!std::is_same_v<V, std::string>) {
      if (!DecodeValue<V>(value_bytes_, &value_)) {
        internal::ThrowUndecodable("value");
      }
    }
    progress_->StepValue();
  }

  internal::GroupPort* groups_ = nullptr;
  internal::ValueProgress* progress_ = nullptr;
  bool begun_ = false;
  bool has_value_ = false;
  std::string_view key_bytes_;
  std::string_view value_bytes_;
  V value_{};
  K key_{};
};

namespace internal {

class ValuesAccess {
 public:
  // Makes `values` those of the group that `groups` stands on.
  template <typename V, typename K>
  static void Begin(Values<V, K>* values, GroupPort* groups,
                    ValueProgress* progress) {
    values->groups_ = groups;
    values->progress_ = progress;
    values->begun_ = false;
    values->has_value_ = false;
    progress->BeginKey();
  }
};

}  // namespace internal
}  // namespace millrace

#endif  // MILLRACE_VALUES_H_
