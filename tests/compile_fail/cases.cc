// Jobs whose parts do not fit. Each case is compiled alone, with CASE_<name>
// defined, and must fail with the message of its comment; without any of them
// the file compiles. CMakeLists.txt makes one test of each.
#include <string>
#include <vector>

#include "millrace/millrace.h"

namespace {

using millrace::Job;
using millrace::internal::JobDefinition;

// What the cases are put together from; these fit each other.
class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    out.Emit(line.text, 1);
  }
};
class Add : public millrace::Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView key, Values&, Output& out) override { out.Emit(key, 1); }
};
class First : public millrace::Partitioner {
 public:
  int Partition(std::string_view, int) const override { return 0; }
};
struct Opaque {};

// A mapper and a reducer of any types that do nothing.
template <typename K, typename V>
class MapTo : public millrace::Mapper<millrace::TextLine, K, V> {
 public:
  void Map(const millrace::TextLine&, millrace::Output<K, V>&) override {}
};
template <typename K, typename V, typename OutK = K, typename OutV = V>
class ReduceTo : public millrace::Reducer<K, V, OutK, OutV> {
 public:
  using Base = millrace::Reducer<K, V, OutK, OutV>;
  void Reduce(typename Base::KeyView, typename Base::Values&,
              typename Base::Output&) override {}
};

[[maybe_unused]] JobDefinition Fits() {
  return Job("fits")
      .Map<Tokenize>()
      .Combine<millrace::Sum<int64_t>>()
      .Reduce<Add>()
      .Partition<First>();
}

#if defined(CASE_no_mapper)
// EXPECT: millrace: the job has no mapper
JobDefinition Case() { return Job("x"); }

#elif defined(CASE_mapper_is_no_mapper)
// EXPECT: millrace: Map<T>: T is not derived from millrace::Mapper<Input, Key,
// Value>
JobDefinition Case() { return Job("x").Map<Add>(); }

#elif defined(CASE_mapper_input)
// EXPECT: millrace: the mapper's input type is none of TextLine, FixedRecord<N>
// and Sequence
class Mine : public millrace::Mapper<std::string, std::string, int64_t> {
 public:
  void Map(const std::string&, Output&) override {}
};
JobDefinition Case() { return Job("x").Map<Mine>(); }

#elif defined(CASE_mapper_without_map)
// EXPECT: millrace: the mapper does not override Map(const Input&, Output&)
class Mine : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
};
JobDefinition Case() { return Job("x").Map<Mine>(); }

#elif defined(CASE_mapper_constructor)
// EXPECT: millrace: the mapper is not default constructible
class Mine : public Tokenize {
 public:
  explicit Mine(int) {}
};
JobDefinition Case() { return Job("x").Map<Mine>(); }

#elif defined(CASE_mapper_private_map)
// EXPECT: millrace: the mapper's Map(const Input&, Output&) is not public
class Mine : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
  void Map(const millrace::TextLine&, Output&) override {}
};
JobDefinition Case() { return Job("x").Map<Mine>(); }

#elif defined(CASE_combiner_is_no_combiner)
// EXPECT: millrace: Combine<T>: T is not derived from millrace::Combiner<Value>
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Combine<Add>().Reduce<Add>();
}

#elif defined(CASE_combiner_value)
// EXPECT: millrace: the combiner's value type differs from the mapper's output
// value type
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Combine<millrace::Sum<int>>().Reduce<Add>();
}

#elif defined(CASE_combiner_without_combine)
// EXPECT: millrace: the combiner does not override Combine(Value&, const
// Value&)
class Mine : public millrace::Combiner<int64_t> {};
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Combine<Mine>().Reduce<Add>();
}

#elif defined(CASE_combiner_without_reducer)
// EXPECT: millrace: .Combine<>() without .Reduce<>()
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Combine<millrace::Sum<int64_t>>();
}

#elif defined(CASE_reducer_is_no_reducer)
// EXPECT: millrace: Reduce<T>: T is derived neither from millrace::Reducer<Key,
// Value, ...> nor from millrace::Combiner<Value>
JobDefinition Case() { return Job("x").Map<Tokenize>().Reduce<Tokenize>(); }

#elif defined(CASE_reducer_key)
// EXPECT: millrace: the reducer's key type differs from the mapper's output key
// type
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Reduce<ReduceTo<int64_t, int64_t>>();
}

#elif defined(CASE_reducer_value)
// EXPECT: millrace: the reducer's value type differs from the mapper's output
// value type
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Reduce<ReduceTo<std::string, double>>();
}

#elif defined(CASE_folding_reducer_value)
// EXPECT: millrace: the reducer's value type differs from the mapper's output
// value type
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Reduce<millrace::Sum<double>>();
}

#elif defined(CASE_reducer_without_reduce)
// EXPECT: millrace: the reducer does not override Reduce(KeyView, Values&,
// Output&)
class Mine : public millrace::Reducer<std::string, int64_t> {};
JobDefinition Case() { return Job("x").Map<Tokenize>().Reduce<Mine>(); }

#elif defined(CASE_partitioned_twice)
// EXPECT: millrace: a job has one way of partitioning
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Reduce<Add>().Partition<First>().TotalOrder();
}

#elif defined(CASE_partitioner_is_no_partitioner)
// EXPECT: millrace: Partition<T>: T is not derived from millrace::Partitioner
JobDefinition Case() {
  return Job("x").Map<Tokenize>().Reduce<Add>().Partition<Opaque>();
}

#elif defined(CASE_partitioner_constructor)
// EXPECT: millrace: the partitioner is not default constructible
JobDefinition Case() {
  return Job("x")
      .Map<Tokenize>()
      .Reduce<Add>()
      .Partition<millrace::RangePartitioner>();
}

#elif defined(CASE_partitions_without_reducer)
// EXPECT: millrace: .Partition<>() or .TotalOrder() without .Reduce<>()
JobDefinition Case() { return Job("x").Map<Tokenize>().TotalOrder(); }

#elif defined(CASE_key_without_codec)
// EXPECT: millrace: the mapper's output key type has no key codec
JobDefinition Case() {
  return Job("x")
      .Map<MapTo<Opaque, int64_t>>()
      .Reduce<ReduceTo<Opaque, int64_t, std::string, int64_t>>();
}

#elif defined(CASE_value_without_codec)
// EXPECT: millrace: the mapper's output value type has no value codec
JobDefinition Case() {
  return Job("x")
      .Map<MapTo<int64_t, Opaque>>()
      .Reduce<ReduceTo<int64_t, Opaque, std::string, int64_t>>();
}

#elif defined(CASE_key_without_text)
// EXPECT: millrace: the output key type has no text format
JobDefinition Case() {
  return Job("x")
      .Map<Tokenize>()
      .Reduce<ReduceTo<std::string, int64_t, Opaque, int64_t>>();
}

#elif defined(CASE_value_without_text)
// EXPECT: millrace: the output value type has no text format
JobDefinition Case() { return Job("x").Map<MapTo<std::string, Opaque>>(); }

#elif defined(CASE_fixed_records_of_numbers)
// EXPECT: millrace: FixedRecords output takes keys and values of type
// std::string or NoValue
JobDefinition Case() {
  return Job("x").Map<Tokenize>().OutputFormat<millrace::FixedRecords<8>>();
}

#elif defined(CASE_sum_of_text)
// EXPECT: millrace: Sum<T> adds numbers
JobDefinition Case() {
  return Job("x")
      .Map<MapTo<std::string, std::string>>()
      .Reduce<millrace::Sum<std::string>>();
}

#endif

}  // namespace
