// The seam between typed user code (templates in these headers) and the engine
// (compiled once, behind this file). Not for job authors: no promise is made
// about anything in millrace::internal.
//
// Records cross it in batches or through windows of memory, so that a virtual
// call is paid per batch and never per record, and what a mapper emits is
// encoded where it will stay.
#ifndef MILLRACE_INTERNAL_PORTS_H_
#define MILLRACE_INTERNAL_PORTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::internal {

// Thrown through user code when the framework cannot go on (disk full, damaged
// input). Carries nothing: whoever threw it keeps the reason, so a user's
// catch (...) loses nothing; the next call throws again.
struct Aborted {};

// ---------------------------------------------------------------- input side

// One input record where it lies in the read buffer.
struct RawRecord {
  const char* data = nullptr;  // Text: without its line end. Null: a sequence.
  size_t size = 0;
  uint64_t offset = 0;  // In the file; the number itself for a sequence.
};

// What the supervisor sees of a running task. The slots lie in shared memory.
struct PositionSlots {
  std::atomic<uint64_t>* offset;
  std::atomic<uint64_t>* ordinal;
  std::atomic<uint64_t>* progress;
  std::atomic<uint64_t>* value;  // Of a reducer: values of the key before.

  // Marks the record that user code is given next.
  void Mark(uint64_t record_offset, uint64_t record_ordinal) const {
    offset->store(record_offset, std::memory_order_relaxed);
    ordinal->store(record_ordinal, std::memory_order_relaxed);
  }
};

// ------------------------------------------------- emission, with a combiner

// Emitted keys waiting to be looked up together. A key of up to 16 bytes is
// kept padded with zeros; a longer one is copied to `overflow`, or looked up at
// once when it does not fit there.
struct KeyBatch {
  static constexpr size_t kCapacity = 32;
  static constexpr size_t kInlineBytes = 16;
  static constexpr size_t kOverflowBytes = 4096;

  size_t count = 0;
  size_t overflow_used = 0;
  alignas(64) char padded[kCapacity][kInlineBytes];
  const char* data[kCapacity];
  uint32_t sizes[kCapacity];
  char overflow[kOverflowBytes];
  // Which of them the combiner has, for the report of its crash.
  std::atomic<uint32_t> folding{0};
};

// An accumulated value that is not 8 bytes long.
struct IndirectValue {
  uint32_t size;
  uint32_t capacity;
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
};

class CombinePort {
 public:
  virtual ~CombinePort() = default;
  // Finds or makes the 8-byte value slot of each key; bit i of the result says
  // that slot i is new. Slots stay valid until the next Probe. Does not empty
  // the batch. Throws Aborted.
  virtual uint32_t Probe(const KeyBatch& batch, uint64_t** slots) = 0;
  virtual IndirectValue* AllocateValue(size_t capacity) = 0;
  // All keys of the batch have been folded: user code is no longer the
  // combiner's.
  virtual void Folded() {}
};

// ---------------------------------------------- emission, without a combiner

// A window of the record arena. A record is: u32 key size, u32 value size
// (native little endian), key, value; the next one follows without padding.
class RecordPort {
 public:
  static constexpr size_t kHeaderBytes = 8;

  virtual ~RecordPort() = default;

  // Where the caller puts key and value, one behind the other; the record
  // counts as emitted. Throws Aborted.
  char* Reserve(size_t key_size, size_t value_size) {
    const size_t need = kHeaderBytes + key_size + value_size;
    if (static_cast<size_t>(limit_ - at_) < need) [[unlikely]]
      MakeRoom(need);
    const uint32_t sizes[2] = {static_cast<uint32_t>(key_size),
                               static_cast<uint32_t>(value_size)};
    char* const record = at_;
    std::memcpy(record, sizes, sizeof sizes);
    at_ += need;
    return record + kHeaderBytes;
  }

 protected:
  // Makes limit_ - at_ >= need, or throws Aborted. Keys and values of 4 GiB and
  // more are refused here.
  virtual void MakeRoom(size_t need) = 0;

  char* at_ = nullptr;
  char* limit_ = nullptr;
};

// ------------------------------------------------------------- final output

// Bytes of the part file, formatted in place.
class OutputPort {
 public:
  virtual ~OutputPort() = default;

  // Room for `size` bytes; only what Advance is told counts. Throws Aborted.
  char* Reserve(size_t size) {
    if (static_cast<size_t>(limit_ - at_) < size) [[unlikely]]
      MakeRoom(size);
    return at_;
  }
  // `end`: behind the last byte of the record that Reserve made room for.
  void Commit(char* end) {
    at_ = end;
    ++records_;
  }
  // For records too large to be formatted in one place.
  void Append(std::string_view bytes) {
    std::memcpy(Reserve(bytes.size()), bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void CountRecord() { ++records_; }

  // Fails the attempt with INVALID_OUTPUT and throws Aborted. `why` is one
  // line.
  [[noreturn]] virtual void Refuse(std::string_view why) = 0;

  uint64_t records() const { return records_; }

 protected:
  virtual void MakeRoom(size_t need) = 0;

  char* at_ = nullptr;
  char* limit_ = nullptr;
  uint64_t records_ = 0;
};

// ------------------------------------------------------------- reduce input

// Groups of equal keys, in key order. Keys and values are encoded; views stay
// valid until the next call. Throws Aborted on damaged data.
class GroupPort {
 public:
  virtual ~GroupPort() = default;
  // Moves to the next group, passing over what is left of this one.
  virtual bool NextGroup(std::string_view* key) = 0;
  // The next value of this group; `key` is the full key it came with, which
  // differs within a group only when grouping by a prefix.
  virtual bool NextValue(std::string_view* key, std::string_view* value) = 0;
};

// ----------------------------------------------------------------- combining

// The combiner on encoded values, for merging spill runs.
class EncodedFolder {
 public:
  virtual ~EncodedFolder() = default;
  virtual void Start(std::string_view key, std::string_view value) = 0;
  virtual void Add(std::string_view value) = 0;
  // Valid until the next call of Start or Add.
  virtual std::string_view Result() = 0;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_PORTS_H_
