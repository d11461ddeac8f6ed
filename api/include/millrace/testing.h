// Runs user code in a unit test: no files, no processes, no Main(). Include it
// in tests alone; millrace.h does not.
//
//   TEST(TokenizeTest, SplitsAtWhiteSpace) {
//     millrace::testing::MapDriver<Tokenize> driver;
//     driver.Map("a b a");
//     EXPECT_THAT(driver.Finish(), ElementsAre(Pair("a", 1), Pair("b", 1),
//                                              Pair("a", 1)));
//   }
//
//   TEST(WordCountTest, CountsWords) {
//     const auto result = millrace::testing::RunJob(
//         WordCountJob(), {.files = {{"1.txt", "to be or"}, {"2.txt", "or"}}});
//     EXPECT_EQ(result.parts[0], "be\t1\nor\t2\nto\t1\n");
//   }
//
// What user code throws comes out of these calls.
#ifndef MILLRACE_TESTING_H_
#define MILLRACE_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/context.h"
#include "millrace/internal/memory_ports.h"
#include "millrace/internal/tasks.h"
#include "millrace/job.h"
#include "millrace/mapper.h"
#include "millrace/partitioner.h"
#include "millrace/reducer.h"

namespace millrace::testing {

using CounterName = std::pair<std::string, std::string>;  // Group, name.

// A Context whose answers a test sets.
class FakeContext final : public Context {
 public:
  std::string_view job_name() const override { return "test"; }
  std::string_view job_id() const override { return kId; }
  int task_index() const override { return task; }
  int attempt() const override { return 0; }
  std::string_view attempt_uid() const override { return kId; }
  int num_partitions() const override { return partitions; }
  const std::vector<std::string>& arguments() const override {
    return program_arguments;
  }
  std::string_view input_file() const override { return file; }
  uint64_t input_offset() const override { return slots.offset(); }
  Counter& counter(std::string_view group, std::string_view name) override {
    std::unique_ptr<Counter>& counter =
        counters[{std::string(group), std::string(name)}];
    if (counter == nullptr) counter = std::make_unique<Counter>();
    return *counter;
  }
  uint64_t seed() const override {
    return 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(task) + 1);
  }
  absl::StatusOr<std::string> side_file(std::string_view name) const override {
    const auto at = side_files.find(std::string(name));
    if (at != side_files.end()) return at->second;
    return absl::NotFoundError("no side file " + std::string(name));
  }
  void Progress() override {}

  int task = 0;
  int partitions = 1;
  std::vector<std::string> program_arguments;
  std::string file;
  std::map<std::string, std::string> side_files;  // Name to path.
  std::map<CounterName, std::unique_ptr<Counter>> counters;
  internal::MemorySlots slots;

 private:
  static constexpr std::string_view kId = "00000000000000000000000000000000";
};

// Gives a mapper records, and has what it emits.
template <typename M>
class MapDriver {
 public:
  using Key = typename M::Key;
  using Value = typename M::Value;

  // To be set before the first record.
  FakeContext& context() { return context_; }

  // A line, a record's bytes or nothing, as the mapper's input type says.
  // Offsets grow as if the records stood in one file.
  void Map(std::string_view bytes) {
    Begin();
    const internal::RawRecord record{bytes.data(), bytes.size(), offset_};
    task_.Map(&record, 1, ordinal_, context_.slots.slots());
    ++ordinal_;
    offset_ += bytes.size() + 1;
  }
  void MapNumber(uint64_t number) {
    Begin();
    const internal::RawRecord record{nullptr, 0, number};
    task_.Map(&record, 1, ordinal_++, context_.slots.slots());
  }

  // Calls Cleanup; returns all that was emitted, in order.
  std::vector<std::pair<Key, Value>> Finish() {
    Begin();
    task_.Cleanup();
    std::vector<std::pair<Key, Value>> result;
    for (const internal::EncodedRecord& record : port_.Take()) {
      auto& [key, value] = result.emplace_back();
      if (!DecodeKey<Key>(record.key, &key)) internal::ThrowUndecodable("key");
      if (!DecodeValue<Value>(record.value, &value)) {
        internal::ThrowUndecodable("value");
      }
    }
    return result;
  }

 private:
  void Begin() {
    if (begun_) return;
    begun_ = true;
    task_.Setup(context_, {.records = &port_});
  }

  FakeContext context_;
  internal::MemoryRecordPort port_;
  internal::TypedMapTask<M, internal::NoCombiner, 0> task_;
  bool begun_ = false;
  uint64_t ordinal_ = 0;
  uint64_t offset_ = 0;
};

// Gives a reducer groups, and has what it emits. Output types need codecs.
template <typename R>
class ReduceDriver {
 public:
  using Key = typename R::Key;
  using Value = typename R::Value;
  using OutputKey = typename R::OutputKey;
  using OutputValue = typename R::OutputValue;

  // To be set before the first group.
  FakeContext& context() { return context_; }

  // One group. Of Grouped keys each value may have its own.
  void Reduce(const Key& key, const std::vector<Value>& values) {
    std::vector<std::pair<Key, Value>> records;
    for (const Value& value : values) records.emplace_back(key, value);
    Reduce(records);
  }
  void Reduce(const std::vector<std::pair<Key, Value>>& records) {
    Begin();
    std::vector<internal::EncodedRecord> encoded;
    for (const auto& [key, value] : records) {
      encoded.push_back({EncodeKey<Key>(key), EncodeValue<Value>(value)});
    }
    internal::MemoryGroupPort port(encoded, internal::GroupPrefixOf<Key>());
    internal::ValueProgress progress(context_.slots.slots());
    std::string_view group_key;
    while (port.NextGroup(&group_key)) {
      Key key{};
      if (!DecodeKey<Key>(group_key, &key)) internal::ThrowUndecodable("key");
      typename R::Values values;
      internal::ValuesAccess::Begin(&values, &port, &progress);
      reducer_.R::Reduce(key, values, output_);
    }
  }

  // Calls Cleanup; returns all that was emitted, in order.
  std::vector<std::pair<OutputKey, OutputValue>> Finish() {
    Begin();
    base().Cleanup(output_);
    std::vector<std::pair<OutputKey, OutputValue>> result;
    for (const internal::EncodedRecord& record : port_.Take()) {
      auto& [key, value] = result.emplace_back();
      if (!DecodeKey<OutputKey>(record.key, &key)) {
        internal::ThrowUndecodable("output key");
      }
      if (!DecodeValue<OutputValue>(record.value, &value)) {
        internal::ThrowUndecodable("output value");
      }
    }
    return result;
  }

 private:
  using Base = Reducer<Key, Value, OutputKey, OutputValue>;
  Base& base() { return reducer_; }

  void Begin() {
    if (begun_) return;
    begun_ = true;
    internal::OutputAccess::ToRecords(&output_, &port_);
    base().Setup(context_);
  }

  FakeContext context_;
  internal::MemoryRecordPort port_;
  R reducer_;
  typename R::Output output_;
  bool begun_ = false;
};

struct JobInput {
  // Name and contents; one map task each, in the order of the names.
  std::map<std::string, std::string> files = {};
  uint64_t rows = 0;  // For Sequence input, in one map task.
  std::vector<std::string> arguments = {};
  int reducers = 1;
  // A combiner is made to spill when it holds more keys than this.
  size_t combiner_keys_max = 1000;
};

struct JobResult {
  std::vector<std::string> parts;  // Contents of the part files, in order.
  std::map<CounterName, int64_t> counters;
};

// Runs a whole job on input in memory: all that Main() would do to the records,
// done plainly. Throws std::invalid_argument when the job refuses its arguments
// or the input does not fit it.
JobResult RunJob(const internal::JobDefinition& job, const JobInput& input);

}  // namespace millrace::testing

#include "millrace/internal/memory_job.h"  // IWYU pragma: export

#endif  // MILLRACE_TESTING_H_
