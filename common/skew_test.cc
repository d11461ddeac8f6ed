#include "common/skew.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(SkewTest, IsToldOfOneThatHasFourTimesAsMany) {
  EXPECT_EQ(SkewText({.reduce = 3,
                      .records = 400'000,
                      .records_of_all = 700'000,
                      .reduces = 4}),
            "r3 was given 57 % of the 700000 records, 4 times as many as the "
            "others on average: some keys have very many values, or the "
            "partitioner puts many keys together");
  EXPECT_EQ(SkewText({.reduce = 3,
                      .records = 399'999,
                      .records_of_all = 699'999,
                      .reduces = 4}),
            "");
}

TEST(SkewTest, IsNothingWhereAllIsInOneReduceOrLittleInAny) {
  EXPECT_EQ(
      SkewText(
          {.records = 1'000'000, .records_of_all = 1'000'000, .reduces = 1}),
      "");
  EXPECT_EQ(
      SkewText({.records = 99'999, .records_of_all = 99'999, .reduces = 8}),
      "");
  EXPECT_EQ(SkewText({}), "");
}

TEST(SkewTest, AmongManyReducesAShareIsSmall) {
  const std::string text = SkewText({.reduce = 0,
                                     .records = 500'000,
                                     .records_of_all = 100'400'000,
                                     .reduces = 1000});
  EXPECT_NE(text.find("0.5 % of the 100400000 records, 5 times"),
            std::string::npos)
      << text;
}

TEST(SkewTest, OthersMayHaveNone) {
  const std::string text = SkewText({.reduce = 1,
                                     .records = 100'000,
                                     .records_of_all = 100'000,
                                     .reduces = 2});
  EXPECT_EQ(text.find("r1 was given all of the 100000 records: "), 0u) << text;
}

}  // namespace
}  // namespace millrace
