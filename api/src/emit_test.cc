// What becomes of emitted records: batches for the combiner, text, fixed
// records; on ports made of containers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "millrace/millrace.h"
#include "millrace/testing.h"

namespace millrace {
namespace {

using ::millrace::testing::JobInput;
using ::millrace::testing::JobResult;
using ::millrace::testing::RunJob;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// ------------------------------------------------------------------- key types

// Emits keys that end where the next page cannot be read.
class KeysAtPageEnd : public Mapper<Sequence, std::string, int64_t> {
 public:
  void Map(const Sequence&, Output& out) override {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    char* const map =
        static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(map, MAP_FAILED);
    ASSERT_EQ(mprotect(map + page, page, PROT_NONE), 0);
    std::memset(map, 'k', page);
    for (size_t size = 0; size <= 40; ++size) {
      out.Emit({map + page - size, size}, 1);
      out.Emit({map, size}, 1);  // The same key, elsewhere in its page.
    }
    munmap(map, 2 * page);
  }
};

TEST(EmitTest, ShortKeysNextToUnreadableMemory) {
  const JobResult result =
      RunJob(Job("page").Map<KeysAtPageEnd>().Combine<Count>().Reduce<Count>(),
             {.rows = 1});
  std::string expected;
  for (size_t size = 0; size <= 40; ++size) {
    expected += std::string(size, 'k') + "\t2\n";
  }
  EXPECT_EQ(result.parts[0], expected);
}

// Keys that are encoded on their way: fixed, short; fixed, long; variable.
template <typename K>
class EmitEach : public Mapper<Sequence, K, int32_t> {
 public:
  using Output = millrace::Output<K, int32_t>;
  void Map(const Sequence& row, Output& out) override {
    const int32_t n = static_cast<int32_t>(row.number % 50) - 25;
    if constexpr (std::is_same_v<K, int32_t>) {
      out.Emit(n, 1);
    } else if constexpr (std::is_same_v<K, double>) {
      out.Emit(n * 0.5, 1);
    } else {
      out.Emit(Make(n), 1);
    }
  }

 private:
  static auto Make(int32_t n) {
    if constexpr (std::is_same_v<K, std::tuple<int64_t, int64_t, int32_t>>) {
      return K(n, -n, n);
    } else {
      return K(std::string(static_cast<size_t>(n + 25), 'x'), n);
    }
  }
};

template <typename K>
void ExpectEachTwice(const std::string& first, const std::string& last) {
  const auto job = Job("keys")
                       .Map<EmitEach<K>>()
                       .template Combine<Sum<int32_t>>()
                       .template Reduce<Sum<int32_t>>()
                       .Definition();
  EXPECT_FALSE(job.combine_inline8);  // Four bytes.
  const JobResult result = RunJob(job, {.rows = 100});
  const std::string& part = result.parts[0];
  EXPECT_EQ(std::count(part.begin(), part.end(), '\n'), 50);
  EXPECT_TRUE(part.starts_with(first)) << part;
  EXPECT_TRUE(part.ends_with(last)) << part;
}

TEST(EmitTest, KeysOfAllShapesAreCombinedAndSorted) {
  ExpectEachTwice<int32_t>("-25\t2\n-24\t2\n", "23\t2\n24\t2\n");
  ExpectEachTwice<double>("-12.5\t2\n-12\t2\n", "11.5\t2\n12\t2\n");
  ExpectEachTwice<std::tuple<int64_t, int64_t, int32_t>>("-25\t25\t-25\t2\n",
                                                         "24\t-24\t24\t2\n");
  ExpectEachTwice<std::pair<std::string, int32_t>>(
      "\t-25\t2\nx\t-24\t2\n", std::string(49, 'x') + "\t24\t2\n");
}

// ---------------------------------------------------------- values of any size

class Join : public Combiner<std::vector<std::string>> {
 public:
  void Combine(std::vector<std::string>& joined,
               const std::vector<std::string>& more) override {
    joined.insert(joined.end(), more.begin(), more.end());
    std::sort(joined.begin(), joined.end());
  }
};

class WordsByLength
    : public Mapper<TextLine, uint32_t, std::vector<std::string>> {
 public:
  void Map(const TextLine& line, Output& out) override {
    for (std::string_view word : SplitWords(line.text)) {
      out.Emit(static_cast<uint32_t>(word.size()), {std::string(word)});
    }
  }
};

TEST(CombineTest, ValuesMayGrow) {
  const auto job =
      Job("by-length").Map<WordsByLength>().Combine<Join>().Reduce<Join>();
  JobInput input{.files = {{"a", "to be or not to be"}, {"b", "no not now"}}};
  for (size_t keys_max : {1000, 1}) {
    input.combiner_keys_max = keys_max;
    EXPECT_THAT(RunJob(job, input).parts,
                ElementsAre("2\tbe,be,no,or,to,to\n3\tnot,not,now\n"));
  }
}

TEST(CombineTest, LargeValuesDoNotWaitForAFullBatch) {
  class Large : public Mapper<Sequence, std::string, std::string> {
   public:
    void Map(const Sequence&, Output& out) override {
      for (int i = 0; i < 20; ++i) {
        out.Emit("key", std::string(1 << 20, static_cast<char>('a' + i)));
      }
      out.Emit("key", "");
      out.Emit("other", "");
    }
  };
  const auto job = Job("large")
                       .Map<Large>()
                       .Combine<Max<std::string>>()
                       .Reduce<Max<std::string>>();
  EXPECT_EQ(RunJob(job, {.rows = 1}).parts[0],
            "key\t" + std::string(1 << 20, 't') + "\nother\t\n");
}

class ThrowsOnSecond : public Combiner<int64_t> {
 public:
  void Combine(int64_t&, const int64_t&) override {
    throw std::runtime_error("combiner gave up");
  }
};

class CatchesEverything : public Mapper<TextLine, std::string, int64_t> {
 public:
  void Map(const TextLine& line, Output& out) override {
    for (std::string_view word : SplitWords(line.text)) {
      try {
        out.Emit(word, 1);
      } catch (...) {
      }
    }
  }
};

// The batch in hand was lost when the combiner threw; the attempt must not
// succeed because user code looked away.
TEST(CombineTest, FailureIsNotLostWhenUserCodeSwallowsIt) {
  const auto job = Job("swallow")
                       .Map<CatchesEverything>()
                       .Combine<ThrowsOnSecond>()
                       .Reduce<Count>();
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  EXPECT_THAT(
      [&] {
        RunJob(job, {.files = {{"a", text}}});
      },
      ThrowsMessage<std::runtime_error>(HasSubstr("gave up")));
}

// --------------------------------------------------------------- final output

class EmptyKeyPrinter : public Mapper<TextLine, NoValue, std::string> {
 public:
  void Map(const TextLine& line, Output& out) override {
    out.Emit(NoValue(), line.text);
  }
};

class KeyPrinter : public Mapper<TextLine, std::string, NoValue> {
 public:
  void Map(const TextLine& line, Output& out) override { out.Emit(line.text); }
};

TEST(TextOutputTest, MapOnlyJobHasOnePartForEachMap) {
  const internal::JobDefinition job = Job("print").Map<KeyPrinter>();
  EXPECT_TRUE(job.make_reduce == nullptr);
  EXPECT_THAT(
      RunJob(job, {.files = {{"a", "x\n\ty\n"}, {"b", ""}, {"c", "z"}}}).parts,
      ElementsAre("x\n\ty\n", "", "z\n"));
  EXPECT_THAT(
      RunJob(Job("print").Map<EmptyKeyPrinter>(), {.files = {{"a", "x\ny"}}})
          .parts,
      ElementsAre("x\ny\n"));
}

TEST(TextOutputTest, RecordsLargerThanAnyWindowAreWhole) {
  const std::string line(3'000'000, 'l');
  EXPECT_THAT(RunJob(Job("print").Map<KeyPrinter>(),
                     {.files = {{"a", "s\n" + line + "\nt"}}})
                  .parts,
              ElementsAre("s\n" + line + "\nt\n"));
}

// Both halves of a record may be too long for one piece.
TEST(TextOutputTest, LongKeysAndValuesAreWhole) {
  class Long : public Mapper<Sequence, std::string, std::string> {
   public:
    void Map(const Sequence& row, Output& out) override {
      out.Emit(std::string(50'000 * row.number, 'k'),
               std::string(60'000 * row.number, 'v'));
    }
  };
  class Numbered : public Mapper<TextLine, std::string, int64_t> {
   public:
    void Map(const TextLine& line, Output& out) override {
      out.Emit(line.text, -7);
    }
  };
  std::string expected;
  for (size_t n = 0; n < 4; ++n) {
    expected += std::string(50'000 * n, 'k') + "\t" +
                std::string(60'000 * n, 'v') + "\n";
  }
  EXPECT_THAT(RunJob(Job("long").Map<Long>(), {.rows = 4}).parts,
              ElementsAre(expected));
  const std::string line(1'000'000, 'l');
  EXPECT_THAT(
      RunJob(Job("numbered").Map<Numbered>(), {.files = {{"a", line}}}).parts,
      ElementsAre(line + "\t-7\n"));
}

struct Celsius {
  double degrees = 0;
};

}  // namespace

template <>
struct TextFormat<Celsius> {
  static void Append(const Celsius& c, std::string* text) {
    TextFormat<double>::Append(c.degrees, text);
    text->append(" C");
  }
};

namespace {

enum class Small : uint8_t { kSeven = 7 };

template <typename T>
std::string AsText(const T& value) {
  std::string text;
  TextFormat<T>::Append(value, &text);
  return text;
}

TEST(TextOutputTest, PrintsTypesAsDocumented) {
  EXPECT_EQ(AsText(std::numeric_limits<int64_t>::min()),
            "-9223372036854775808");
  EXPECT_EQ(AsText(std::numeric_limits<uint64_t>::max()),
            "18446744073709551615");
  EXPECT_EQ(AsText<uint8_t>(65), "65");
  EXPECT_EQ(AsText('A'), "A");
  EXPECT_EQ(AsText(true), "true");
  EXPECT_EQ(AsText(0.1), "0.1");
  EXPECT_EQ(AsText(0.1f), "0.1");
  EXPECT_EQ(AsText(std::numeric_limits<double>::lowest()),
            "-1.7976931348623157e+308");
  EXPECT_EQ(AsText(std::nan("")), "nan");
  EXPECT_EQ(AsText(Small::kSeven), "7");
  EXPECT_EQ(AsText(std::tuple(1, std::string("a"), true)), "1\ta\ttrue");
  EXPECT_EQ(AsText(std::pair(Celsius{21.5}, NoValue())), "21.5 C\t");
  EXPECT_EQ(AsText(std::vector<int>{1, 2, 3}), "1,2,3");
  EXPECT_EQ(AsText(std::vector<bool>{true, false}), "true,false");
  EXPECT_EQ(AsText(std::optional<int>()), "");
  EXPECT_EQ(AsText(Grouped<std::string, int>("g", 1)), "g\t1");
}

// Bytes of the line as key, what makes ten of it as value.
class PadToTen : public Mapper<TextLine, std::string, std::string> {
 public:
  void Map(const TextLine& line, Output& out) override {
    out.Emit(line.text, std::string(10 - line.text.size() % 11, '.'));
  }
};

TEST(FixedOutputTest, ConcatenatesKeyAndValue) {
  const internal::JobDefinition job =
      Job("pad").Map<PadToTen>().OutputFormat<FixedRecords<10>>();
  EXPECT_EQ(job.output, internal::OutputKind::kFixedRecord);
  EXPECT_EQ(job.output_record_bytes, 10u);
  EXPECT_THAT(RunJob(job, {.files = {{"a", "abc\n0123456789\n\n"}}}).parts,
              ElementsAre("abc.......0123456789.........."));
}

TEST(FixedOutputTest, RefusesOtherLengths) {
  const internal::JobDefinition job =
      Job("pad").Map<PadToTen>().OutputFormat<FixedRecords<11>>();
  EXPECT_THAT(
      [&] {
        RunJob(job, {.files = {{"a", "abc"}}});
      },
      ThrowsMessage<std::runtime_error>(
          HasSubstr("a key of 3 bytes and a value of 7; "
                    "together they must have the 11")));
}

TEST(FixedOutputTest, LargeRecordsGoThrough) {
  const internal::JobDefinition job =
      Job("large").Map<KeyPrinter>().OutputFormat<FixedRecords<200'000>>();
  const std::string line(200'000, 'r');
  EXPECT_THAT(RunJob(job, {.files = {{"a", line + "\n" + line}}}).parts,
              ElementsAre(line + line));
}

// -------------------------------------------------------- combiners as shipped

TEST(CombinerTest, SumWrapsMinAndMaxKeep) {
  int64_t sum = std::numeric_limits<int64_t>::max();
  Sum<int64_t>().Combine(sum, 1);
  EXPECT_EQ(sum, std::numeric_limits<int64_t>::min());
  int16_t small = 32767;
  Sum<int16_t>().Combine(small, 2);
  EXPECT_EQ(small, -32767);
  double real = 0.5;
  Sum<double>().Combine(real, 0.25);
  EXPECT_EQ(real, 0.75);
  std::string text = "m";
  Min<std::string>().Combine(text, "a");
  EXPECT_EQ(text, "a");
  Max<std::string>().Combine(text, "b");
  EXPECT_EQ(text, "b");
  EXPECT_TRUE(Sum<uint32_t>::kExact && Count::kExact && Min<int>::kExact);
  EXPECT_FALSE(Sum<double>::kExact || Join::kExact);
}

TEST(FolderTest, LoneValueIsReturnedAsItCame) {
  internal::RunFolder<Join> folder;
  // Two bytes for a count that needs one: valid, not what Encode writes.
  const std::string odd("\x80\x00", 2);
  folder.Start("k", odd);
  EXPECT_EQ(folder.Result(), odd);
  folder.Add(EncodeValue<std::vector<std::string>>({"b"}));
  folder.Add(EncodeValue<std::vector<std::string>>({"a"}));
  EXPECT_EQ(folder.Result(), EncodeValue<std::vector<std::string>>({"a", "b"}));
  folder.Add(EncodeValue<std::vector<std::string>>({"c"}));
  EXPECT_EQ(folder.Result(),
            EncodeValue<std::vector<std::string>>({"a", "b", "c"}));
  folder.Start("l", odd);
  EXPECT_THROW(folder.Add("\x7f"), std::runtime_error);
}

}  // namespace
}  // namespace millrace
