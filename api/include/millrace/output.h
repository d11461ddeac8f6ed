// Where mappers and reducers put their results.
#ifndef MILLRACE_OUTPUT_H_
#define MILLRACE_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "millrace/codec.h"
#include "millrace/internal/combine_batch.h"
#include "millrace/internal/ports.h"
#include "millrace/internal/record_text.h"
#include "millrace/text_format.h"

namespace millrace {
namespace internal {
class OutputAccess;
}  // namespace internal

// Takes the records that a mapper or reducer emits. Made by the framework, one
// for each attempt. Confined to the thread that user code is called on.
template <typename K, typename V>
class Output {
 public:
  Output() = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Emits a record. Key and value are copied before Emit returns; no allocation
  // takes place for text and numbers. The place decides what becomes of it:
  //   * in a mapper with a combiner, the value is folded into the one
  //     accumulated for this key;
  //   * in a mapper without, the record is kept to be sorted;
  //   * in a reducer, and in a mapper of a job without one, the record is
  //     appended to the part file in the job's output format.
  // Ends the attempt by throwing when that is impossible (disk full, a record
  // that the format cannot hold). Do not catch what you did not throw.
  void Emit(KeyView<K> key, ValueView<V> value) {
    if constexpr (kHasCodecs) {
      if (target_ == Target::kCombine) {
        EmitCombine(key, value);
        return;
      }
      if (target_ == Target::kRecords) {
        EmitRecord(key, value);
        return;
      }
    }
    EmitOutput(key, value);
  }

  // A record that is a key alone.
  void Emit(KeyView<K> key) requires(std::is_same_v<V, NoValue>) {
    Emit(key, NoValue{});
  }

 private:
  friend class internal::OutputAccess;
  enum class Target { kNone, kCombine, kRecords, kText, kFixedRecord };
  // A map-only job needs no codec, and intermediate types no text format.
  static constexpr bool kHasCodecs = HasKeyCodec<K> && HasValueCodec<V>;

  // The encoded bytes of a key or value: where they lie already, in `fixed`, or
  // in `scratch`.
  template <typename Codec, typename View>
  struct Encoded {
    static constexpr size_t FixedBytes() {
      if constexpr (internal::FixedCodec<Codec, View>) {
        return Codec::kFixedBytes;
      }
      return 0;
    }
    char fixed[FixedBytes() == 0 ? 1 : FixedBytes()];

    std::string_view Bytes(View view, std::string* scratch) {
      if constexpr (std::is_same_v<View, std::string_view>) {
        return view;
      } else if constexpr (internal::FixedCodec<Codec, View>) {
        if constexpr (FixedBytes() == 0) {
          return {};
        } else {
          Codec::EncodeFixed(view, fixed);
          return {fixed, FixedBytes()};
        }
      } else {
        scratch->clear();
        Codec::Encode(view, scratch);
        return *scratch;
      }
    }
  };

  void EmitCombine(KeyView<K> key, ValueView<V> value) {
    Encoded<KeyCodec<K>, KeyView<K>> encoded;
    const bool placed = batch_.PlaceKey(encoded.Bytes(key, &key_scratch_));
    if constexpr (internal::IsInline8<V>()) {
      batch_.SetValue8(internal::ToSlot<V>(value));
      batch_.Commit8(placed);
    } else {
      AppendValue<V>(value, batch_.value_bytes());
      batch_.CommitBytes(placed);
    }
  }

  void EmitRecord(KeyView<K> key, ValueView<V> value) {
    Encoded<KeyCodec<K>, KeyView<K>> encoded_key;
    Encoded<ValueCodec<V>, ValueView<V>> encoded_value;
    const std::string_view k = encoded_key.Bytes(key, &key_scratch_);
    const std::string_view v = encoded_value.Bytes(value, &value_scratch_);
    char* const at = records_->Reserve(k.size(), v.size());
    if (!k.empty()) std::memcpy(at, k.data(), k.size());
    if (!v.empty()) std::memcpy(at + k.size(), v.data(), v.size());
  }

  [[gnu::noinline]] void EmitOutput(KeyView<K> key, ValueView<V> value) {
    using Key = std::remove_cvref_t<KeyView<K>>;
    using Value = std::remove_cvref_t<ValueView<V>>;
    if (target_ == Target::kText) {
      if constexpr (HasTextFormat<Key> && HasTextFormat<Value>) {
        internal::WriteTextRecord<Key, Value>(key, value, &value_scratch_,
                                              port_);
        return;
      }
    } else if (target_ == Target::kFixedRecord) {
      if constexpr (internal::kIsBytes<Key> && internal::kIsBytes<Value>) {
        internal::WriteFixedRecord<Key, Value>(key, value, record_bytes_,
                                               port_);
        return;
      }
    }
    // The job builder admits no other combination.
    throw std::logic_error("millrace: Emit on an Output that leads nowhere");
  }

  Target target_ = Target::kNone;
  uint32_t record_bytes_ = 0;
  internal::RecordPort* records_ = nullptr;
  internal::OutputPort* port_ = nullptr;
  std::string key_scratch_;
  std::string value_scratch_;
  internal::CombineBatch batch_;
};

namespace internal {

// Connects an Output; for the framework and for test drivers.
class OutputAccess {
 public:
  template <typename K, typename V>
  static void ToCombiner(Output<K, V>* output, CombinePort* port,
                         CombineBatch::FoldFn fold, void* folder) {
    output->batch_.Attach(port, fold, folder);
    output->target_ = Output<K, V>::Target::kCombine;
  }
  template <typename K, typename V>
  static void ToRecords(Output<K, V>* output, RecordPort* port) {
    output->records_ = port;
    output->target_ = Output<K, V>::Target::kRecords;
  }
  // `record_bytes`: of fixed-length output; 0: text.
  template <typename K, typename V>
  static void ToFile(Output<K, V>* output, OutputPort* port,
                     uint32_t record_bytes) {
    using Target = typename Output<K, V>::Target;
    output->port_ = port;
    output->record_bytes_ = record_bytes;
    output->target_ = record_bytes == 0 ? Target::kText : Target::kFixedRecord;
  }
  template <typename K, typename V>
  static void Flush(Output<K, V>* output) {
    output->batch_.Flush();
  }
};

}  // namespace internal
}  // namespace millrace

#endif  // MILLRACE_OUTPUT_H_
