// The ports of ports.h over plain containers: what tests of user code run on.
// Written to be obviously right rather than fast. Not for job authors, who use
// millrace/testing.h.
#ifndef MILLRACE_INTERNAL_MEMORY_PORTS_H_
#define MILLRACE_INTERNAL_MEMORY_PORTS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/internal/job_definition.h"
#include "millrace/internal/ports.h"

namespace millrace::internal {

struct EncodedRecord {
  std::string key;
  std::string value;
};

// A PositionSlots with memory of its own.
class MemorySlots {
 public:
  PositionSlots slots() { return {&offset_, &ordinal_, &progress_, &value_}; }
  uint64_t offset() const { return offset_; }
  uint64_t ordinal() const { return ordinal_; }
  uint64_t progress() const { return progress_; }

 private:
  std::atomic<uint64_t> offset_{~uint64_t{0}};
  std::atomic<uint64_t> ordinal_{0};
  std::atomic<uint64_t> progress_{0};
  std::atomic<uint64_t> value_{0};
};

// Keeps records in windows of `window_bytes`, larger for a larger record.
class MemoryRecordPort final : public RecordPort {
 public:
  explicit MemoryRecordPort(size_t window_bytes = 4096)
      : window_bytes_(window_bytes) {}

  // In the order of Emit. Takes them out.
  std::vector<EncodedRecord> Take() {
    Collect();
    return std::exchange(records_, {});
  }

 protected:
  void MakeRoom(size_t need) override {
    Collect();
    window_.assign(std::max(need, window_bytes_), '\0');
    at_ = window_.data();
    limit_ = at_ + window_.size();
  }

 private:
  void Collect() {
    if (at_ == nullptr) return;
    for (const char* record = window_.data(); record != at_;) {
      uint32_t sizes[2];
      std::memcpy(sizes, record, sizeof sizes);
      record += kHeaderBytes;
      records_.push_back({std::string(record, sizes[0]),
                          std::string(record + sizes[0], sizes[1])});
      record += size_t{sizes[0]} + sizes[1];
    }
    window_.clear();
    at_ = limit_ = nullptr;
  }

  const size_t window_bytes_;
  std::string window_;
  std::vector<EncodedRecord> records_;
};

// A combiner table in a std::map. When it has more than `keys_max` keys it
// spills them, as a real one does when its memory is used up.
class MemoryCombinePort final : public CombinePort {
 public:
  MemoryCombinePort(bool inline8, size_t keys_max)
      : inline8_(inline8), keys_max_(keys_max) {}

  uint32_t Probe(const KeyBatch& batch, uint64_t** slots) override {
    if (table_.size() + batch.count > keys_max_) Spill();
    uint32_t inserted = 0;
    for (size_t i = 0; i < batch.count; ++i) {
      const size_t size = batch.sizes[i];
      const bool is_inline = size <= KeyBatch::kInlineBytes;
      const char* const data = is_inline ? batch.padded[i] : batch.data[i];
      if (is_inline && std::any_of(data + size, data + KeyBatch::kInlineBytes,
                                   [](char c) { return c != 0; })) {
        throw std::logic_error(
            "millrace: a short key is not padded with zeros");
      }
      const auto [at, is_new] =
          table_.try_emplace(std::string(data, size), uint64_t{0});
      inserted |= static_cast<uint32_t>(is_new) << i;
      slots[i] = &at->second;
    }
    return inserted;
  }

  IndirectValue* AllocateValue(size_t capacity) override {
    const size_t bytes = sizeof(IndirectValue) + capacity;
    // Of words, so that the header is aligned.
    memory_.emplace_back(new uint64_t[bytes / 8 + 1]);
    auto* const value = reinterpret_cast<IndirectValue*>(memory_.back().get());
    value->size = 0;
    value->capacity = static_cast<uint32_t>(capacity);
    return value;
  }

  // Of all spills, each in key order.
  std::vector<EncodedRecord> Take() {
    Spill();
    return std::exchange(records_, {});
  }

 private:
  void Spill() {
    for (auto& [key, slot] : table_) {
      if (inline8_) {
        const char* const bytes = reinterpret_cast<const char*>(&slot);
        records_.push_back({key, std::string(bytes, 8)});
      } else {
        auto* const value = reinterpret_cast<IndirectValue*>(slot);
        records_.push_back({key, std::string(value->bytes(), value->size)});
      }
    }
    table_.clear();
    memory_.clear();
  }

  const bool inline8_;
  const size_t keys_max_;
  std::map<std::string, uint64_t> table_;
  std::deque<std::unique_ptr<uint64_t[]>> memory_;
  std::vector<EncodedRecord> records_;
};

// A part file in a string.
class MemoryOutputPort final : public OutputPort {
 public:
  explicit MemoryOutputPort(size_t window_bytes = 4096)
      : window_bytes_(window_bytes) {}

  [[noreturn]] void Refuse(std::string_view why) override {
    throw std::runtime_error("INVALID_OUTPUT: " + std::string(why));
  }

  std::string Take() {
    Collect();
    return std::exchange(text_, {});
  }

 protected:
  void MakeRoom(size_t need) override {
    Collect();
    window_.assign(std::max(need, window_bytes_), '\0');
    at_ = window_.data();
    limit_ = at_ + window_.size();
  }

 private:
  void Collect() {
    if (at_ == nullptr) return;
    text_.append(window_.data(), static_cast<size_t>(at_ - window_.data()));
    window_.clear();
    at_ = limit_ = nullptr;
  }

  const size_t window_bytes_;
  std::string window_;
  std::string text_;
};

// Groups of records that are sorted already.
class MemoryGroupPort final : public GroupPort {
 public:
  // `records` outlives the port. `group_prefix`: as in JobDefinition.
  MemoryGroupPort(const std::vector<EncodedRecord>& records,
                  size_t (*group_prefix)(std::string_view))
      : records_(records), group_prefix_(group_prefix) {}

  bool NextGroup(std::string_view* key) override {
    Invalidate();
    if (begun_) {
      std::string_view ignored;
      while (NextInGroup(&ignored, &ignored)) {
      }
    }
    begun_ = true;
    if (at_ == records_.size()) return false;
    group_ = Prefix(records_[at_].key);
    *key = Lend(records_[at_].key);
    return true;
  }

  bool NextValue(std::string_view* key, std::string_view* value) override {
    Invalidate();
    return NextInGroup(key, value);
  }

 private:
  std::string Prefix(std::string_view key) const {
    return std::string(key.substr(
        0, group_prefix_ == nullptr ? key.size() : group_prefix_(key)));
  }
  bool NextInGroup(std::string_view* key, std::string_view* value) {
    if (at_ == records_.size() || Prefix(records_[at_].key) != group_) {
      return false;
    }
    *key = Lend(records_[at_].key);
    *value = Lend(records_[at_].value);
    ++at_;
    return true;
  }
  // Views are valid until the next call and not longer: they are given from
  // copies that are overwritten then, so that who keeps one is found out.
  std::string_view Lend(const std::string& bytes) {
    lent_.push_back(std::make_unique<std::string>(bytes));
    return *lent_.back();
  }
  void Invalidate() {
    for (auto& bytes : lent_) std::fill(bytes->begin(), bytes->end(), '\xdd');
    lent_.clear();
  }

  const std::vector<EncodedRecord>& records_;
  size_t (*const group_prefix_)(std::string_view);
  bool begun_ = false;
  size_t at_ = 0;
  std::string group_;
  std::vector<std::unique_ptr<std::string>> lent_;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_MEMORY_PORTS_H_
