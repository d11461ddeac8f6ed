// User classes behind the type-erased interfaces of job_definition.h. Not for
// job authors.
//
// User code is called by its class's own name (task.M::Map(...)), never through
// the table of virtual functions: the concrete type is known here, so Map and
// Combine are inlined into the loops over records.
#ifndef MILLRACE_INTERNAL_TASKS_H_
#define MILLRACE_INTERNAL_TASKS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>

#include "millrace/combiner.h"
#include "millrace/internal/folder.h"
#include "millrace/internal/job_definition.h"
#include "millrace/mapper.h"
#include "millrace/reducer.h"

namespace millrace::internal {

struct NoCombiner {};
struct NoReducer {};

// ---------------------------------------------------------------------- input

template <typename In>
struct InputTraits {
  static constexpr bool kIsInput = false;
};
template <>
struct InputTraits<TextLine> {
  static constexpr bool kIsInput = true;
  static constexpr InputKind kKind = InputKind::kTextLine;
  static constexpr uint32_t kRecordBytes = 0;
  static TextLine Make(const RawRecord& raw) {
    return {std::string_view(raw.data, raw.size), raw.offset};
  }
};
template <size_t N>
struct InputTraits<FixedRecord<N>> {
  static constexpr bool kIsInput = true;
  static constexpr InputKind kKind = InputKind::kFixedRecord;
  static constexpr uint32_t kRecordBytes = N;
  static FixedRecord<N> Make(const RawRecord& raw) {
    return {std::string_view(raw.data, N), raw.offset};
  }
};
template <>
struct InputTraits<Sequence> {
  static constexpr bool kIsInput = true;
  static constexpr InputKind kKind = InputKind::kSequence;
  static constexpr uint32_t kRecordBytes = 0;
  static Sequence Make(const RawRecord& raw) { return {raw.offset}; }
};

// ------------------------------------------------------------------------ map

template <typename C>
struct FolderOfImpl {
  using type = TableFolder<C>;
};
template <>
struct FolderOfImpl<NoCombiner> {
  using type = NoCombiner;
};
template <typename C>
using FolderOf = typename FolderOfImpl<C>::type;

// `record_bytes`: of the output format of a map-only job; 0: text.
template <typename M, typename C, uint32_t record_bytes>
class TypedMapTask final : public MapTask {
 public:
  using In = typename M::Input;
  using Base = Mapper<In, typename M::Key, typename M::Value>;

  void Setup(Context& context, const MapPorts& ports) override {
    if (ports.records != nullptr) {
      OutputAccess::ToRecords(&output_, ports.records);
    } else if (ports.output != nullptr) {
      OutputAccess::ToFile(&output_, ports.output, record_bytes);
    } else if constexpr (!std::is_same_v<C, NoCombiner>) {
      OutputAccess::ToCombiner(&output_, ports.combine, &TableFolder<C>::Fold,
                               &folder_);
    }
    static_cast<Base&>(mapper_).Setup(context);
  }

  void Map(const RawRecord* records, size_t count, uint64_t ordinal,
           const PositionSlots& slots) override {
    for (size_t i = 0; i < count; ++i) {
      slots.Mark(records[i].offset, ordinal + i);
      const In record = InputTraits<In>::Make(records[i]);
      mapper_.M::Map(record, output_);
    }
  }

  void Cleanup() override {
    static_cast<Base&>(mapper_).Cleanup(output_);
    Flush();
  }

  void Flush() override { OutputAccess::Flush(&output_); }

 private:
  M mapper_;
  [[no_unique_address]] FolderOf<C> folder_;
  typename M::Output output_;
};

// --------------------------------------------------------------------- reduce

// A combiner as reducer: folds all values of a key into one.
template <typename C, typename K>
class FoldReducer final
    : public Reducer<K, typename C::Value, K, typename C::Value> {
 public:
  using V = typename C::Value;
  using Base = Reducer<K, V, K, V>;

  void Reduce(typename Base::KeyView key, typename Base::Values& values,
              typename Base::Output& out) override {
    bool first = true;
    for (ValueView<V> value : values) {
      if (first) {
        accumulated_ = V(value);
        first = false;
      } else if constexpr (std::is_same_v<V, std::string>) {
        value_.assign(value);
        combiner_.C::Combine(accumulated_, value_);
      } else {
        combiner_.C::Combine(accumulated_, value);
      }
    }
    out.Emit(key, accumulated_);
  }

 private:
  C combiner_;
  V accumulated_{};
  V value_{};
};

template <typename R, uint32_t record_bytes>
class TypedReduceTask final : public ReduceTask {
 public:
  using K = typename R::Key;
  using V = typename R::Value;
  using Base = Reducer<K, V, typename R::OutputKey, typename R::OutputValue>;

  void Setup(Context& context, OutputPort* output) override {
    OutputAccess::ToFile(&output_, output, record_bytes);
    static_cast<Base&>(reducer_).Setup(context);
  }

  void Reduce(GroupPort& groups, const PositionSlots& slots,
              const std::function<void(std::string_view)>& on_group) override {
    ValueProgress progress(slots);
    std::string_view encoded_key;
    for (uint64_t ordinal = 0; groups.NextGroup(&encoded_key); ++ordinal) {
      slots.ordinal->store(ordinal, std::memory_order_relaxed);
      if (on_group) on_group(encoded_key);
      // A copy: the view ends with the first value.
      if (!DecodeKey<K>(encoded_key, &key_)) ThrowUndecodable("key");
      ValuesAccess::Begin(&values_, &groups, &progress);
      reducer_.R::Reduce(key_, values_, output_);
      progress.Step();
    }
    progress.Publish();
  }

  void Cleanup() override { static_cast<Base&>(reducer_).Cleanup(output_); }

 private:
  R reducer_;
  K key_{};
  typename Base::Values values_;
  typename Base::Output output_;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_TASKS_H_
