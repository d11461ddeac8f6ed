// The compile-time checks of a job: what does not fit does not compile, and the
// message says what and what to do. Not for job authors.
#ifndef MILLRACE_INTERNAL_JOB_CHECKS_H_
#define MILLRACE_INTERNAL_JOB_CHECKS_H_

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "millrace/codec.h"
#include "millrace/internal/record_text.h"
#include "millrace/internal/tasks.h"
#include "millrace/partitioner.h"
#include "millrace/text_format.h"

namespace millrace::internal {

// A false that depends on a template argument.
template <typename T>
inline constexpr bool kNever = false;

struct PartitionByHash {};
struct PartitionByTotalOrder {};

// ------------------------------------------------------------- what things are

template <typename In, typename K, typename V>
std::true_type IsMapperTest(const Mapper<In, K, V>*);
std::false_type IsMapperTest(const void*);
template <typename K, typename V, typename OK, typename OV>
std::true_type IsReducerTest(const Reducer<K, V, OK, OV>*);
std::false_type IsReducerTest(const void*);
template <typename V>
std::true_type IsCombinerTest(const Combiner<V>*);
std::false_type IsCombinerTest(const void*);

template <typename T>
inline constexpr bool kIsMapper =
    decltype(IsMapperTest(static_cast<T*>(nullptr)))::value;
template <typename T>
inline constexpr bool kIsReducer =
    decltype(IsReducerTest(static_cast<T*>(nullptr)))::value;
template <typename T>
inline constexpr bool kIsCombiner =
    decltype(IsCombinerTest(static_cast<T*>(nullptr)))::value;

template <typename R, typename K, bool kFolds = kIsCombiner<R>>
struct ReducerOfImpl {
  using type = R;
};
template <typename C, typename K>
struct ReducerOfImpl<C, K, true> {
  using type = FoldReducer<C, K>;
};
// The reducer that R stands for: itself, or one that folds with it.
template <typename R, typename K>
using ReducerOf = typename ReducerOfImpl<R, K>::type;

// --------------------------------------------------------------------- checks

template <typename M>
constexpr void CheckMapper() {
  static_assert(kIsMapper<M>,
                "millrace: Map<T>: T is not derived from "
                "millrace::Mapper<Input, Key, Value>");
  if constexpr (kIsMapper<M>) {
    static_assert(InputTraits<typename M::Input>::kIsInput,
                  "millrace: the mapper's input type is none of TextLine, "
                  "FixedRecord<N> and Sequence (millrace/input.h)");
    static_assert(!std::is_abstract_v<M>,
                  "millrace: the mapper does not override "
                  "Map(const Input&, Output&)");
    static_assert(std::is_abstract_v<M> || std::is_default_constructible_v<M>,
                  "millrace: the mapper is not default constructible: what it "
                  "needs to know it can learn in Setup(Context&)");
    static_assert(
        std::is_abstract_v<M> ||
            requires(M & m, const typename M::Input& in,
                     typename M::Output& out) { m.M::Map(in, out); },
        "millrace: the mapper's Map(const Input&, Output&) is not public");
  }
}

template <typename C, typename V>
constexpr void CheckCombiner() {
  static_assert(kIsCombiner<C>,
                "millrace: Combine<T>: T is not derived from "
                "millrace::Combiner<Value>");
  if constexpr (kIsCombiner<C>) {
    static_assert(std::is_same_v<typename C::Value, V>,
                  "millrace: the combiner's value type differs from the "
                  "mapper's output value type: make it Combiner<that type>");
    static_assert(!std::is_abstract_v<C>,
                  "millrace: the combiner does not override "
                  "Combine(Value&, const Value&)");
    static_assert(std::is_abstract_v<C> || std::is_default_constructible_v<C>,
                  "millrace: the combiner is not default constructible");
    static_assert(
        std::is_abstract_v<C> ||
            requires(C & c, typename C::Value & a, const typename C::Value& b) {
              c.C::Combine(a, b);
            },
        "millrace: the combiner's Combine(Value&, const Value&) is not public");
  }
}

template <typename R, typename K, typename V>
constexpr void CheckReducer() {
  static_assert(kIsReducer<R> || kIsCombiner<R>,
                "millrace: Reduce<T>: T is derived neither from "
                "millrace::Reducer<Key, Value, ...> nor from "
                "millrace::Combiner<Value>");
  if constexpr (kIsCombiner<R>) {
    static_assert(std::is_same_v<typename R::Value, V>,
                  "millrace: the reducer's value type differs from the "
                  "mapper's output value type: make it Combiner<that type>");
    static_assert(!std::is_abstract_v<R>,
                  "millrace: the combiner does not override "
                  "Combine(Value&, const Value&)");
    static_assert(std::is_abstract_v<R> || std::is_default_constructible_v<R>,
                  "millrace: the combiner is not default constructible");
  } else if constexpr (kIsReducer<R>) {
    static_assert(std::is_same_v<typename R::Key, K>,
                  "millrace: the reducer's key type differs from the mapper's "
                  "output key type: make them the same, in Mapper<Input, Key, "
                  "Value> and Reducer<Key, Value, ...>");
    static_assert(std::is_same_v<typename R::Value, V>,
                  "millrace: the reducer's value type differs from the "
                  "mapper's output value type: make them the same, in "
                  "Mapper<Input, Key, Value> and Reducer<Key, Value, ...>");
    static_assert(!std::is_abstract_v<R>,
                  "millrace: the reducer does not override "
                  "Reduce(KeyView, Values&, Output&)");
    static_assert(std::is_abstract_v<R> || std::is_default_constructible_v<R>,
                  "millrace: the reducer is not default constructible: what "
                  "it needs to know it can learn in Setup(Context&)");
    static_assert(
        std::is_abstract_v<R> ||
            requires(R & r, typename R::KeyView key,
                     typename R::Values & values, typename R::Output & out) {
              r.R::Reduce(key, values, out);
            },
        "millrace: the reducer's Reduce(KeyView, Values&, Output&) is not "
        "public");
  }
}

template <typename P>
constexpr void CheckPartitionUnset() {
  static_assert(std::is_same_v<P, PartitionByHash>,
                "millrace: a job has one way of partitioning: .Partition<>() "
                "and .TotalOrder() exclude each other and themselves");
}

template <typename NewP, typename P>
constexpr void CheckPartitioner() {
  CheckPartitionUnset<P>();
  static_assert(std::is_base_of_v<Partitioner, NewP>,
                "millrace: Partition<T>: T is not derived from "
                "millrace::Partitioner");
  static_assert(std::is_default_constructible_v<NewP>,
                "millrace: the partitioner is not default constructible: give "
                ".Partition() a function that makes one");
}

template <typename M, typename C, typename R, typename P>
constexpr void CheckStages() {
  constexpr bool kMapOnly = std::is_same_v<R, NoReducer>;
  static_assert(!kMapOnly || std::is_same_v<C, NoCombiner>,
                "millrace: .Combine<>() without .Reduce<>(): a job without a "
                "reduce phase has nothing to combine for");
  static_assert(!kMapOnly || std::is_same_v<P, PartitionByHash>,
                "millrace: .Partition<>() or .TotalOrder() without "
                ".Reduce<>(): a job without a reduce phase has no partitions");
  if constexpr (!kMapOnly) {
    static_assert(HasKeyCodec<typename M::Key>,
                  "millrace: the mapper's output key type has no key codec: "
                  "specialise millrace::KeyCodec<T> with Encode and Decode "
                  "(millrace/codec.h)");
    static_assert(HasValueCodec<typename M::Value>,
                  "millrace: the mapper's output value type has no value "
                  "codec: specialise millrace::ValueCodec<T> with Encode and "
                  "Decode (millrace/codec.h)");
    static_assert(std::is_default_constructible_v<typename M::Key> &&
                      std::is_default_constructible_v<typename M::Value>,
                  "millrace: keys and values must be default constructible");
  }
}

template <typename K, typename V, uint32_t record_bytes>
constexpr void CheckOutput() {
  if constexpr (record_bytes == 0) {
    static_assert(HasTextFormat<std::remove_cvref_t<KeyView<K>>>,
                  "millrace: the output key type has no text format: "
                  "specialise millrace::TextFormat<T> with Append "
                  "(millrace/text_format.h)");
    static_assert(HasTextFormat<std::remove_cvref_t<ValueView<V>>>,
                  "millrace: the output value type has no text format: "
                  "specialise millrace::TextFormat<T> with Append "
                  "(millrace/text_format.h)");
  } else {
    static_assert(kIsBytes<KeyView<K>> && kIsBytes<ValueView<V>>,
                  "millrace: FixedRecords output takes keys and values of "
                  "type std::string or NoValue");
  }
}

template <typename K>
struct GroupPrefix {
  static constexpr size_t (*kFn)(std::string_view) = nullptr;
};
template <typename G, typename O>
struct GroupPrefix<Grouped<G, O>> {
  static constexpr size_t (*kFn)(std::string_view) =
      &KeyCodec<Grouped<G, O>>::GroupLength;
};
template <typename K>
constexpr auto GroupPrefixOf() {
  return GroupPrefix<K>::kFn;
}

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_JOB_CHECKS_H_
