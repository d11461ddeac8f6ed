#include "supervisor/bounded_log.h"

#include <gtest/gtest.h>

#include "common/random.h"
#include "common/strings.h"

namespace millrace::supervisor {
namespace {

TEST(BoundedLogTest, KeepsEverythingThatFits) {
  BoundedLog log(4, 4);
  EXPECT_EQ(log.Text(), "");
  log.Append("abc");
  log.Append("defgh");
  EXPECT_EQ(log.Text(), "abcdefgh");
  EXPECT_EQ(log.total_bytes(), 8u);
}

TEST(BoundedLogTest, SaysHowMuchIsMissingBetweenHeadAndTail) {
  BoundedLog log(4, 3);
  log.Append("0123456789");
  EXPECT_EQ(log.Text(), "0123\n[... 3 bytes left out ...]\n789");
  EXPECT_EQ(log.total_bytes(), 10u);
}

TEST(BoundedLogTest, ClearStartsAnew) {
  BoundedLog log(2, 2);
  log.Append("0123456789");
  log.Clear();
  EXPECT_EQ(log.Text(), "");
  EXPECT_EQ(log.total_bytes(), 0u);
  log.Append("ab");
  EXPECT_EQ(log.Text(), "ab");
}

TEST(BoundedLogTest, WorksWithoutHeadOrTail) {
  BoundedLog no_tail(3, 0);
  no_tail.Append("abcdef");
  EXPECT_EQ(no_tail.Text(), "abc\n[... 3 bytes left out ...]\n");
  BoundedLog no_head(0, 3);
  no_head.Append("abcdef");
  EXPECT_EQ(no_head.Text(), "[... 3 bytes left out ...]\ndef");
}

// Against a twin that keeps everything.
TEST(BoundedLogTest, AgreesWithFullTextInAnyPieces) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    const size_t head = random->Uniform(20);
    const size_t tail = random->Uniform(20);
    BoundedLog log(head, tail);
    std::string all;
    for (uint64_t pieces = random->Uniform(12); pieces > 0; --pieces) {
      std::string piece;
      for (uint64_t n = random->Uniform(15); n > 0; --n) {
        piece += static_cast<char>('a' + random->Uniform(26));
      }
      log.Append(piece);
      all += piece;
    }
    std::string expected = all;
    if (all.size() > head + tail) {
      expected = all.substr(0, head);
      if (!expected.empty()) expected += '\n';
      expected += Cat("[... ", all.size() - head - tail,
                      " bytes left out ...]\n", all.substr(all.size() - tail));
    }
    ASSERT_EQ(log.Text(), expected);
    ASSERT_EQ(log.total_bytes(), all.size());
  }
}

}  // namespace
}  // namespace millrace::supervisor
