// The templates between user code and the engine, on ports made of containers.
#include "millrace/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/millrace.h"
#include "millrace/testing.h"

namespace millrace {
namespace {

using ::millrace::testing::JobInput;
using ::millrace::testing::JobResult;
using ::millrace::testing::MapDriver;
using ::millrace::testing::ReduceDriver;
using ::millrace::testing::RunJob;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::ThrowsMessage;

// ------------------------------------------------------------------ word count

class Tokenize : public Mapper<TextLine, std::string, int64_t> {
 public:
  void Map(const TextLine& line, Output& out) override {
    for (std::string_view word : SplitWords(line.text)) out.Emit(word, 1);
  }
};

class Add : public Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    int64_t sum = 0;
    for (int64_t value : values) sum += value;
    out.Emit(key, sum);
  }
};

// What word count must print, from a std::map.
std::string CountSlowly(const JobInput& input) {
  std::map<std::string, int64_t> counts;
  for (const auto& [name, text] : input.files) {
    for (std::string_view word : SplitWords(text)) {
      ++counts[std::string(word)];
    }
  }
  std::string result;
  for (const auto& [word, count] : counts) {
    result += word + "\t" + std::to_string(count) + "\n";
  }
  return result;
}

// The lines of all parts, in order of their bytes up to the TAB.
std::string SortedLines(const JobResult& result) {
  std::map<std::string, std::string> lines;
  for (const std::string& part : result.parts) {
    for (size_t begin = 0; begin < part.size();) {
      const size_t end = part.find('\n', begin) + 1;
      const std::string line = part.substr(begin, end - begin);
      EXPECT_TRUE(lines.emplace(line.substr(0, line.find('\t')), line).second);
      begin = end;
    }
  }
  std::string text;
  for (const auto& [key, line] : lines) text += line;
  return text;
}

// Words of all lengths around what a batch treats differently: 16 bytes inline,
// 4096 bytes of overflow.
JobInput RandomText(uint32_t seed) {
  std::mt19937 random(seed);
  JobInput input;
  for (const char* name : {"a", "b", "c"}) {
    std::string& text = input.files[name];
    const size_t words = random() % 400;
    for (size_t i = 0; i < words; ++i) {
      size_t length = 1 + random() % 4;
      if (random() % 4 == 0) length = 14 + random() % 6;
      if (random() % 16 == 0) length = 500 + random() % 2;
      if (random() % 64 == 0) length = 4095 + random() % 4;
      text.append(length, static_cast<char>('a' + random() % 3));
      text += " \n"[random() % 2];
    }
  }
  input.reducers = 1 + static_cast<int>(random() % 3);
  return input;
}

TEST(WordCountTest, EqualsReferenceWithAndWithoutCombiner) {
  const auto combined = Job("combined")
                            .Map<Tokenize>()
                            .Combine<Sum<int64_t>>()
                            .Reduce<Sum<int64_t>>()
                            .Definition();
  const auto plain = Job("plain").Map<Tokenize>().Reduce<Add>().Definition();
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    JobInput input = RandomText(seed);
    const std::string expected = CountSlowly(input);
    EXPECT_EQ(SortedLines(RunJob(plain, input)), expected);
    // From a table that holds everything to one that spills at each batch.
    for (size_t keys_max : {1000, 40, 1}) {
      input.combiner_keys_max = keys_max;
      EXPECT_EQ(SortedLines(RunJob(combined, input)), expected);
    }
  }
}

TEST(WordCountTest, DefinitionSaysWhatItIs) {
  const internal::JobDefinition job = Job("wordcount")
                                          .Map<Tokenize>()
                                          .Combine<Sum<int64_t>>()
                                          .Reduce<Sum<int64_t>>()
                                          .Reducers(7);
  EXPECT_EQ(job.name, "wordcount");
  EXPECT_EQ(job.types.input, "TextLine");
  EXPECT_EQ(job.types.key, "string");
  EXPECT_EQ(job.types.value, "int64");
  EXPECT_EQ(job.types.output_key, "string");
  EXPECT_EQ(job.types.output_value, "int64");
  EXPECT_EQ(job.input, internal::InputKind::kTextLine);
  EXPECT_EQ(job.output, internal::OutputKind::kText);
  EXPECT_EQ(job.default_reducers, 7u);
  EXPECT_TRUE(job.combine_exact);
  EXPECT_TRUE(job.combine_inline8);
  EXPECT_TRUE(job.make_folder != nullptr);
  EXPECT_TRUE(job.make_partitioner == nullptr);
  EXPECT_TRUE(job.group_prefix == nullptr);
  EXPECT_FALSE(job.total_order);
}

// ------------------------------------------------------------- secondary sort

// "user time page" lines to each user's pages, latest first.
class Visits
    : public Mapper<TextLine, Grouped<std::string, Descending<int64_t>>,
                    std::string> {
 public:
  void Map(const TextLine& line, Output& out) override {
    std::vector<std::string_view> words;
    for (std::string_view word : SplitWords(line.text)) words.push_back(word);
    out.Emit({words[0], std::stoll(std::string(words[1]))}, words[2]);
  }
};

class History : public Reducer<Grouped<std::string, Descending<int64_t>>,
                               std::string, std::string, std::string> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    std::string pages;
    for (std::string_view page : values) {
      pages += " " + std::string(page) + "@" +
               std::to_string(values.key().order.value);
    }
    out.Emit(key.group, std::to_string(key.order.value) + pages);
  }
};

TEST(GroupedTest, OneCallForEachGroupWithValuesInOrder) {
  const internal::JobDefinition job =
      Job("visits").Map<Visits>().Reduce<History>();
  EXPECT_EQ(job.types.key, "Grouped<string, Descending<int64>>");
  ASSERT_TRUE(job.group_prefix != nullptr);
  const JobResult result =
      RunJob(job, {.files = {{"a", "ann 3 x\nbob 1 y\nann 7 z\n"},
                             {"b", "ann 5 v\nbob 9 w\n"}},
                   .reducers = 2});
  EXPECT_EQ(SortedLines(result), "ann\t7 z@7 v@5 x@3\nbob\t9 w@9 y@1\n");
}

TEST(GroupedTest, DescendingKeysComeLargestFirst) {
  class ByLength : public Mapper<TextLine, Descending<int32_t>, std::string> {
   public:
    void Map(const TextLine& line, Output& out) override {
      out.Emit(static_cast<int32_t>(line.text.size()), line.text);
    }
  };
  class Print : public Reducer<Descending<int32_t>, std::string> {
   public:
    void Reduce(KeyView key, Values& values, Output& out) override {
      for (std::string_view value : values) out.Emit(key, value);
    }
  };
  EXPECT_THAT(RunJob(Job("longest").Map<ByLength>().Reduce<Print>(),
                     {.files = {{"a", "bb\na\nccc\r\nb"}}})
                  .parts,
              ElementsAre("3\tccc\n2\tbb\n1\ta\n1\tb\n"));
}

// -------------------------------------------------------------- reading values

class ReadsTwice : public Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView, Values& values, Output&) override {
    for ([[maybe_unused]] int64_t value : values) {
    }
    for ([[maybe_unused]] int64_t value : values) {
    }
  }
};

class ReadsOne : public Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    if (key == "skip") return;  // Reads none.
    for (int64_t value : values) {
      out.Emit(key, value);
      break;
    }
  }
};

TEST(ValuesTest, CanBeReadOnce) {
  EXPECT_THAT(
      [] {
        RunJob(Job("twice").Map<Tokenize>().Reduce<ReadsTwice>(),
               {.files = {{"a", "word"}}});
      },
      ThrowsMessage<std::logic_error>(HasSubstr("only once")));
}

TEST(ValuesTest, WhatIsNotReadIsPassedOver) {
  EXPECT_THAT(RunJob(Job("one").Map<Tokenize>().Reduce<ReadsOne>(),
                     {.files = {{"a", "b a b skip skip b c"}}})
                  .parts,
              ElementsAre("a\t1\nb\t1\nc\t1\n"));
}

// -------------------------------------------------------------------- input

class Chunks : public Mapper<FixedRecord<4>, std::string, uint64_t> {
 public:
  void Map(const FixedRecord<4>& record, Output& out) override {
    out.Emit(record.bytes, record.offset);
  }
};

TEST(InputTest, FixedRecordsHaveTheirOffset) {
  const internal::JobDefinition job = Job("chunks").Map<Chunks>();
  EXPECT_EQ(job.types.input, "FixedRecord<4>");
  EXPECT_EQ(job.input_record_bytes, 4u);
  EXPECT_THAT(RunJob(job, {.files = {{"a", "abcd\nfgh"}}}).parts,
              ElementsAre("abcd\t0\n\nfgh\t4\n"));
  EXPECT_THROW(RunJob(job, {.files = {{"a", "abc"}}}), std::invalid_argument);
}

// ------------------------------------------------- partitions and total order

class ByFirstLetter : public Partitioner {
 public:
  int Partition(std::string_view key, int num_partitions) const override {
    return key.empty() ? 0 : (key[0] - 'a') % num_partitions;
  }
};

TEST(PartitionTest, JobsOwnPartitionerDecides) {
  const JobInput input{.files = {{"a", "a b c d e"}}, .reducers = 2};
  const std::vector<std::string> expected = {"a\t1\nc\t1\ne\t1\n",
                                             "b\t1\nd\t1\n"};
  EXPECT_EQ(
      RunJob(Job("p").Map<Tokenize>().Reduce<Add>().Partition<ByFirstLetter>(),
             input)
          .parts,
      expected);
  EXPECT_EQ(RunJob(Job("p").Map<Tokenize>().Reduce<Add>().Partition(
                       [] { return RangePartitioner::Create({"c"}).value(); }),
                   input)
                .parts,
            (std::vector<std::string>{"a\t1\nb\t1\n", "c\t1\nd\t1\ne\t1\n"}));
}

TEST(PartitionTest, TotalOrderIsOrderAcrossParts) {
  const internal::JobDefinition job =
      Job("t").Map<Tokenize>().Reduce<Add>().TotalOrder();
  EXPECT_TRUE(job.total_order);
  const JobResult result =
      RunJob(job, {.files = {{"a", "q w e r t y u i o p"}}, .reducers = 3});
  EXPECT_EQ(result.parts[0] + result.parts[1] + result.parts[2],
            "e\t1\ni\t1\no\t1\np\t1\nq\t1\nr\t1\nt\t1\nu\t1\nw\t1\ny\t1\n");
  EXPECT_FALSE(result.parts[1].empty());
}

TEST(PartitionerTest, RangeTakesSplitKeysAsSmallestOfTheirPartition) {
  const auto range = RangePartitioner::Create({"b", "m"}).value();
  EXPECT_EQ(range->Partition("", 3), 0);
  EXPECT_EQ(range->Partition("azzz", 3), 0);
  EXPECT_EQ(range->Partition("b", 3), 1);
  EXPECT_EQ(range->Partition(std::string_view("b\0", 2), 3), 1);
  EXPECT_EQ(range->Partition("m", 3), 2);
  EXPECT_EQ(range->Partition("\xff", 3), 2);
  const auto whole = RangePartitioner::Create({}).value();
  EXPECT_EQ(whole->Partition("x", 1), 0);
}

TEST(PartitionerTest, RangeRefusesKeysOutOfOrder) {
  for (const char* second : {"a", "b"}) {
    const absl::Status status =
        RangePartitioner::Create({"b", second}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("split key 1"));
  }
}

TEST(PartitionerTest, HashIsFixedForEver) {
  const HashPartitioner hash;
  // From XXH3_64bits of each key: the high 32 bits times 1000, divided by 2^32.
  EXPECT_EQ(hash.Partition("", 1000), 175);
  EXPECT_EQ(hash.Partition("a", 1000), 901);
  EXPECT_EQ(hash.Partition("the", 1000), 793);
  EXPECT_EQ(hash.Partition("the", 1), 0);
}

// ------------------------------------------------------ context and life cycle

class Watcher : public Mapper<TextLine, std::string, std::string> {
 public:
  void Setup(Context& context) override {
    context_ = &context;
    lines_ = &context.counter("watch", "LINES");
  }
  void Map(const TextLine&, Output& out) override {
    lines_->Increment();
    out.Emit(std::string(context_->input_file()) + ":" +
                 std::to_string(context_->input_offset()),
             context_->arguments().at(0));
  }
  void Cleanup(Output& out) override {
    context_->counter("watch", "TASKS").Increment();
    out.Emit("end", std::to_string(context_->task_index()));
  }

 private:
  Context* context_ = nullptr;
  Counter* lines_ = nullptr;
};

class WatcherReducer : public Reducer<std::string, std::string> {
 public:
  void Setup(Context& context) override { partition_ = context.task_index(); }
  void Reduce(KeyView key, Values& values, Output& out) override {
    for (std::string_view value : values) out.Emit(key, value);
  }
  void Cleanup(Output& out) override {
    out.Emit("partition", std::to_string(partition_));
  }

 private:
  int partition_ = -1;
};

TEST(ContextTest, SetupMapCleanupInOrderWithContextAndCounters) {
  const auto job =
      Job("watch").Map<Watcher>().Reduce<WatcherReducer>().Arguments("WORD");
  const JobResult result = RunJob(
      job, {.files = {{"f", "x\nyy\n"}, {"g", "z"}}, .arguments = {"arg"}});
  EXPECT_THAT(result.parts,
              ElementsAre("end\t0\nend\t1\nf:0\targ\nf:2\targ\ng:0\targ\n"
                          "partition\t0\n"));
  EXPECT_THAT(result.counters, ElementsAre(Pair(Pair("watch", "LINES"), 3),
                                           Pair(Pair("watch", "TASKS"), 2)));
}

TEST(ArgumentsTest, CheckRunsFirst) {
  const internal::JobDefinition job = Job("args").Map<Tokenize>().Arguments(
      "PATTERN", [](const std::vector<std::string>& arguments) {
        return arguments.size() == 1
                   ? absl::OkStatus()
                   : absl::InvalidArgumentError("one PATTERN, please");
      });
  EXPECT_EQ(job.arguments_usage, "PATTERN");
  EXPECT_THAT([&] { RunJob(job, {}); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("one PATTERN")));
  EXPECT_TRUE(RunJob(job, {.arguments = {"x"}}).parts.empty());
}

// -------------------------------------------------------------------- drivers

TEST(DriverTest, MapDriverReturnsWhatWasEmitted) {
  MapDriver<Watcher> driver;
  driver.context().program_arguments = {"arg"};
  driver.context().file = "f";
  driver.Map("abc");
  driver.Map("de");
  EXPECT_THAT(
      driver.Finish(),
      ElementsAre(Pair("f:0", "arg"), Pair("f:4", "arg"), Pair("end", "0")));
}

TEST(DriverTest, ReduceDriverReturnsWhatWasEmitted) {
  ReduceDriver<History> driver;
  driver.Reduce({{{"ann", 9}, "x"}, {{"ann", 4}, "y"}});
  driver.Reduce({"bob", 1}, {"z"});
  EXPECT_THAT(driver.Finish(),
              ElementsAre(Pair("ann", "9 x@9 y@4"), Pair("bob", "1 z@1")));
}

}  // namespace
}  // namespace millrace
