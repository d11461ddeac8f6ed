#include "millrace/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (std::string_view word : SplitWords(text)) words.emplace_back(word);
  return words;
}

// The definition, one byte at a time.
std::vector<std::string> WordsSlowly(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' ||
        c == '\r') {
      if (!word.empty()) words.push_back(word);
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

TEST(SplitWordsTest, FindsRunsOfNonSpace) {
  EXPECT_THAT(Words(""), IsEmpty());
  EXPECT_THAT(Words(std::string_view()), IsEmpty());
  EXPECT_THAT(Words(" \t\n\v\f\r "), IsEmpty());
  EXPECT_THAT(Words("a"), ElementsAre("a"));
  EXPECT_THAT(Words("  to be\tor\r\nnot "),
              ElementsAre("to", "be", "or", "not"));
}

TEST(SplitWordsTest, TakesNulAndHighBytesAsLetters) {
  EXPECT_THAT(Words(std::string_view("a\0b c\0", 6)),
              ElementsAre(std::string("a\0b", 3), std::string("c\0", 2)));
  // U+00A0 and U+0085 are white space in some locales; their bytes are not.
  EXPECT_THAT(Words("x\xc2\xa0y \x85\x1c\x1f"),
              ElementsAre("x\xc2\xa0y", "\x85\x1c\x1f"));
}

TEST(SplitWordsTest, AgreesOnEveryByteValue) {
  for (int c = 0; c < 256; ++c) {
    const std::string text = std::string("ab") + static_cast<char>(c) + "cd";
    EXPECT_EQ(Words(text), WordsSlowly(text)) << "byte " << c;
  }
}

TEST(SplitWordsTest, AgreesAtEveryLengthAndWordBoundary) {
  for (size_t length = 0; length <= 200; ++length) {
    const std::string solid(length, 'x');
    EXPECT_EQ(Words(solid), WordsSlowly(solid)) << "length " << length;
    for (size_t gap = 0; gap < length; ++gap) {
      std::string text = solid;
      text[gap] = ' ';
      ASSERT_EQ(Words(text), WordsSlowly(text))
          << "length " << length << ", space at " << gap;
    }
  }
}

TEST(SplitWordsTest, AgreesWithDefinitionOnRandomText) {
  const uint32_t seed = 20240611;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 10000; ++i) {
    std::string text(random() % 300, '\0');
    // From nearly solid to nearly blank.
    const uint32_t spaces_in_32 = random() % 33;
    for (char& c : text) {
      if (random() % 32 < spaces_in_32) {
        c = " \t\n\v\f\r"[random() % 6];
      } else {
        c = static_cast<char>(random());
      }
    }
    ASSERT_EQ(Words(text), WordsSlowly(text)) << "case " << i;
  }
}

// Text that ends where the next page cannot be read, and text that begins
// behind one.
TEST(SplitWordsTest, ReadsNothingOutsideOfText) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* const map =
      static_cast<char*>(mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(map, MAP_FAILED);
  ASSERT_EQ(mprotect(map, page, PROT_NONE), 0);
  ASSERT_EQ(mprotect(map + 2 * page, page, PROT_NONE), 0);
  char* const first = map + page;
  std::memset(first, 'w', page);
  for (size_t i = 5; i < page; i += 7) first[i] = ' ';
  for (size_t length = 0; length <= 200; ++length) {
    const std::string_view head(first, length);
    const std::string_view tail(first + page - length, length);
    EXPECT_EQ(Words(head), WordsSlowly(head));
    EXPECT_EQ(Words(tail), WordsSlowly(tail));
  }
  munmap(map, 3 * page);
}

}  // namespace
}  // namespace millrace
