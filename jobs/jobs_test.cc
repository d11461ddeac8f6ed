// The samples, as programs, against references that share no code with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename... Args>
std::string Cat(const Args&... args) {
  std::ostringstream text;
  (text << ... << args);
  return text.str();
}

class JobsTest : public ::testing::Test {
 protected:
  // Runs a sample on what is in in/, or on another directory.
  ProgramResult Run(const std::string& job, const std::string& output,
                    std::vector<std::string> flags,
                    const std::string& input = "in") {
    std::vector<std::string> argv = {Cat(MILLRACE_BIN_DIR, "/", job),
                                     Cat("--output=", temp_ / output),
                                     "--quiet", "--slots=2"};
    if (!input.empty()) argv.push_back(Cat("--input=", temp_ / input));
    argv.insert(argv.end(), flags.begin(), flags.end());
    return RunProgram({.argv = argv});
  }
  // The same; it must succeed. Returns the part files' bytes.
  std::vector<std::string> Parts(const std::string& job,
                                 const std::string& output,
                                 const std::vector<std::string>& flags,
                                 const std::string& input = "in") {
    const ProgramResult result = Run(job, output, flags, input);
    EXPECT_EQ(result.exit_code, 0) << result;
    std::vector<std::string> parts;
    if (result.exit_code != 0) return parts;
    for (const std::string& name : temp_.Names(output)) {
      if (name.starts_with("part-")) {
        parts.push_back(temp_.Read(Cat(output, "/", name)));
      }
    }
    return parts;
  }
  std::string Output(const std::string& job, const std::string& output,
                     const std::vector<std::string>& flags,
                     const std::string& input = "in") {
    std::string bytes;
    for (const std::string& part : Parts(job, output, flags, input)) {
      bytes += part;
    }
    return bytes;
  }

  TempDir temp_;
};

// ------------------------------------------------------------------- texts

// Lines of words over a small alphabet, with long ones, blank lines, CRLF, NUL
// and bytes above 127; the last line of a file may lack its end.
std::string RandomText(std::mt19937& random, size_t lines) {
  std::string text;
  for (size_t i = 0; i < lines; ++i) {
    const size_t words = random() % 8;
    for (size_t w = 0; w < words; ++w) {
      if (w > 0) text += " \t\v"[random() % 3];
      const size_t length =
          random() % 8 == 0 ? random() % 40 : 1 + random() % 3;
      for (size_t c = 0; c < length; ++c) {
        text += "abcA\xc3\0"[random() % (random() % 4 == 0 ? 6 : 3)];
      }
    }
    if (random() % 16 == 0) text += '\r';
    if (i + 1 < lines || random() % 2 == 0) text += '\n';
  }
  return text;
}

using Files = std::map<std::string, std::string>;

Files WriteTexts(const TempDir& temp, uint32_t seed) {
  std::mt19937 random(seed);
  Files files;
  for (const char* name : {"in/a.txt", "in/b c.txt", "in/d/e.txt"}) {
    files[name] = RandomText(random, 300);
  }
  files["in/empty"] = "";
  for (const auto& [name, text] : files) temp.Write(name, text);
  return files;
}

bool IsSpaceByte(char c) { return c == ' ' || (c >= 9 && c <= 13); }

// Word and offset, in order.
std::vector<std::pair<std::string, size_t>> WordsOf(const std::string& text) {
  std::vector<std::pair<std::string, size_t>> words;
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsSpaceByte(text[i])) continue;
    if (i == 0 || IsSpaceByte(text[i - 1])) words.emplace_back("", i);
    words.back().first += text[i];
  }
  return words;
}

struct Line {
  size_t offset;
  std::string text;
};

std::vector<Line> LinesOf(const std::string& text) {
  std::vector<Line> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (end < text.size() && line.ends_with('\r')) line.pop_back();
    lines.push_back({begin, line});
    begin = end + 1;
  }
  return lines;
}

constexpr char kSmallSplits[] = "--split-bytes=1000";

TEST_F(JobsTest, BothWordCountsEqualAMap) {
  const uint32_t seed = 5;
  SCOPED_TRACE(seed);
  std::map<std::string, int> counts;
  for (const auto& [name, text] : WriteTexts(temp_, seed)) {
    for (const auto& [word, offset] : WordsOf(text)) ++counts[word];
  }
  std::string expected;
  for (const auto& [word, count] : counts) {
    expected += Cat(word, "\t", count, "\n");
  }
  const std::vector<std::string> flags = {"--reducers=1", kSmallSplits};
  EXPECT_EQ(Output("wordcount", "out1", flags), expected);
  EXPECT_EQ(Output("wordcount_custom", "out2", flags), expected);
}

TEST_F(JobsTest, InvertedIndexHasEveryPlaceOfEveryWord) {
  const uint32_t seed = 6;
  SCOPED_TRACE(seed);
  Files files = WriteTexts(temp_, seed);
  // More than fit a line, and a name that needs care.
  std::string often;
  for (int i = 0; i < 25000; ++i) often += "often ";
  files["in/f\tg\nh\\"] = often;
  temp_.Write("in/f\tg\nh\\", often);

  // In the order of the input: by path.
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> index;
  for (const auto& [name, text] : files) {
    std::string path = temp_ / name;
    if (name.size() > 5 && name[4] == '\t') {
      path = temp_ / "in/f\\tg\\nh\\\\";
    }
    std::map<std::string, std::vector<size_t>> words;
    for (const auto& [word, offset] : WordsOf(text)) {
      words[word].push_back(offset);
    }
    for (const auto& [word, offsets] : words) {
      std::string list;
      for (size_t i = 0; i < offsets.size(); ++i) {
        if (i % 10000 == 0) {
          if (i > 0) index[word].emplace_back(path, list);
          list = std::to_string(offsets[i]);
        } else {
          list += Cat(",", offsets[i]);
        }
      }
      index[word].emplace_back(path, list);
    }
  }
  std::string expected;
  for (const auto& [word, lines] : index) {
    for (const auto& [path, list] : lines) {
      expected += Cat(word, "\t", path, "\t", list, "\n");
    }
  }
  EXPECT_EQ(Output("inverted_index", "out1", {"--reducers=1"}), expected);
  // Nor does it show where the input was cut.
  EXPECT_EQ(Output("inverted_index", "out2", {"--reducers=1", kSmallSplits}),
            expected);
}

// -------------------------------------------------------------------- grep

// The lines for which `matches` holds.
template <typename Predicate>
std::string Grep(const Files& files, Predicate matches) {
  std::string result;
  for (const auto& [name, text] : files) {
    for (const Line& line : LinesOf(text)) {
      if (matches(line.text)) result += line.text + "\n";
    }
  }
  return result;
}

bool Contains(const std::string& line, std::string_view part) {
  return line.find(part) != std::string::npos;
}

TEST_F(JobsTest, GrepPrintsTheLinesThatMatch) {
  const uint32_t seed = 7;
  SCOPED_TRACE(seed);
  const Files files = WriteTexts(temp_, seed);
  EXPECT_EQ(Output("grep", "literal", {kSmallSplits, "--", "ab"}),
            Grep(files, [](const auto& line) { return Contains(line, "ab"); }));
  EXPECT_EQ(Output("grep_custom", "custom", {kSmallSplits, "--", "ab"}),
            Grep(files, [](const auto& line) { return Contains(line, "ab"); }));
  EXPECT_EQ(Output("grep", "inverted", {"--", "-v", "a"}),
            Grep(files, [](const auto& line) { return !Contains(line, "a"); }));
  EXPECT_EQ(Output("grep", "everything", {"--", ""}),
            Grep(files, [](const auto&) { return true; }));
  EXPECT_EQ(Output("grep", "any_case", {"--", "-i", "CA"}),
            Grep(files, [](std::string line) {
              for (char& c : line) {
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
              }
              return Contains(line, "ca");
            }));
  EXPECT_EQ(Output("grep", "regex", {"--", "--regex", "^ab|c[bA]$"}),
            Grep(files, [](const auto& line) {
              return line.starts_with("ab") || line.ends_with("cb") ||
                     line.ends_with("cA");
            }));
}

TEST_F(JobsTest, GrepTakesLiteralsLiterally) {
  temp_.Write("in/a", "1+1\n11\n1.1\n-v\nend");
  EXPECT_EQ(Output("grep", "plus", {"--", "1+1"}), "1+1\n");
  EXPECT_EQ(Output("grep", "dot", {"--", "-i", "1.1"}), "1.1\n");
  EXPECT_EQ(Output("grep", "option", {"--", "-e", "-v"}), "-v\n");
  EXPECT_EQ(Output("grep", "place", {"--", "-H", "d"}),
            Cat(temp_ / "in/a", ":14:end\n"));
}

TEST_F(JobsTest, GrepRefusesBadArguments) {
  temp_.Write("in/a", "x");
  const ProgramResult none = Run("grep_custom", "none", {});
  EXPECT_EQ(none.exit_code, 2) << none;
  EXPECT_THAT(none.err, HasSubstr("exactly one TEXT"));
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{}, "PATTERN is missing"},
      {{"--", "a", "b"}, "more than one PATTERN"},
      {{"--", "--regex", "(a"}, "\"(a\": Unmatched"}};
  for (const auto& [flags, message] : cases) {
    const ProgramResult result = Run("grep", "out", flags);
    EXPECT_EQ(result.exit_code, 2) << result;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  EXPECT_THAT(temp_.Names(), ElementsAre("in"));
}

// -------------------------------------------------------------------- sorting

constexpr size_t kRecordBytes = 100;

std::vector<std::string> RecordsOf(const std::string& bytes) {
  EXPECT_EQ(bytes.size() % kRecordBytes, 0u);
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size(); at += kRecordBytes) {
    records.push_back(bytes.substr(at, kRecordBytes));
  }
  return records;
}

TEST_F(JobsTest, TeragenDoesNotDependOnTasks) {
  const std::string one =
      Output("teragen", "one", {"--rows=1000", "--splits=1"}, "");
  EXPECT_EQ(one.size(), 1000 * kRecordBytes);
  EXPECT_EQ(Output("teragen", "many", {"--rows=1000", "--splits=7"}, ""), one);
  EXPECT_NE(Output("teragen", "other",
                   {"--rows=1000", "--splits=1", "--", "--seed=2"}, ""),
            one);
  const std::vector<std::string> records = RecordsOf(one);
  std::vector<std::string> keys;
  for (size_t i = 0; i < records.size(); ++i) {
    char number[33];
    snprintf(number, sizeof number, "%032zX", i);
    EXPECT_EQ(records[i].substr(10, 2), std::string("\x00\x11", 2));
    EXPECT_EQ(records[i].substr(12, 32), number);
    EXPECT_EQ(records[i].substr(96), "\xcc\xdd\xee\xff");
    keys.push_back(records[i].substr(0, 10));
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::unique(keys.begin(), keys.end()), keys.end());
}

TEST_F(JobsTest, TeragenMakesLinesIfAsked) {
  const std::string bytes =
      Output("teragen", "out", {"--rows=500", "--", "--ascii"}, "");
  std::istringstream lines(bytes);
  std::string line;
  size_t count = 0;
  while (std::getline(lines, line)) {
    ++count;
    ASSERT_EQ(line.size(), 99u);
    EXPECT_EQ(line.back(), '\r');
    for (char c : line.substr(0, 98)) ASSERT_TRUE(c >= ' ' && c <= '~');
  }
  EXPECT_EQ(count, 500u);
  EXPECT_EQ(Run("teragen", "bad", {"--rows=1", "--", "--seed=x"}, "").exit_code,
            2);
}

TEST_F(JobsTest, SortEqualsStableSort) {
  const std::string input =
      Output("teragen", "in", {"--rows=20000", "--splits=3"}, "");
  std::vector<std::string> records = RecordsOf(input);
  // Rows of equal keys must stay in their order: 1,000 of them in a file that
  // comes behind the others.
  std::string same;
  for (int i = 0; i < 1000; ++i) {
    same += std::string(10, static_cast<char>(i % 3 * 100)) +
            std::string(80, '.') + std::to_string(1000000000 + i);
  }
  temp_.Write("in/z", same);
  for (std::string& record : RecordsOf(same)) records.push_back(record);
  std::stable_sort(records.begin(), records.end(),
                   [](const std::string& a, const std::string& b) {
                     return a.compare(0, 10, b, 0, 10) < 0;
                   });
  std::string expected;
  for (const std::string& record : records) expected += record;

  const std::vector<std::string> flags = {"--reducers=4",
                                          "--split-bytes=300000"};
  const std::vector<std::string> parts = Parts("sort", "sorted", flags);
  EXPECT_TRUE(Parts("sort_custom", "sorted_by_hand", flags) == parts);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_TRUE(parts[0] + parts[1] + parts[2] + parts[3] == expected);
  for (const std::string& part : parts) {
    // A quarter each, but for the luck of the sample.
    EXPECT_GT(part.size(), expected.size() / 8);
    EXPECT_LT(part.size(), expected.size() / 2);
  }
}

std::map<std::string, std::string> Report(const std::string& text) {
  std::map<std::string, std::string> report;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t tab = line.find('\t');
    report[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return report;
}

TEST_F(JobsTest, TeravalidateTellsOrderFromDisorder) {
  Output("teragen", "in", {"--rows=5000"}, "");
  Output("sort", "sorted", {"--reducers=3"});
  const auto before = Report(Output("teravalidate", "before", {}));
  const auto after = Report(
      Output("teravalidate", "after", {"--split-bytes=50000"}, "sorted"));
  EXPECT_EQ(before.at("records"), "5000");
  EXPECT_EQ(after.at("records"), "5000");
  EXPECT_EQ(before.at("checksum"), after.at("checksum"));
  EXPECT_EQ(after.at("order"), "ok");
  EXPECT_EQ(after.at("unordered"), "0");
  EXPECT_THAT(before.at("order"), HasSubstr("broken at "));
  EXPECT_GT(std::stoi(before.at("unordered")), 2000);
}

TEST_F(JobsTest, TeravalidateSeesEachKindOfDamage) {
  const auto record = [](char key, char rest) {
    return std::string(10, key) + std::string(90, rest);
  };
  const auto validate = [&](const std::string& name,
                            const std::vector<std::string>& files) {
    for (size_t i = 0; i < files.size(); ++i) {
      // part-9, part-10: in the order of the numbers.
      temp_.Write(Cat(name, "/part-", 9 + i), files[i]);
    }
    return Report(
        Output("teravalidate", name + "-out", {"--split-bytes=200"}, name));
  };
  const std::string a = record('a', '.'), b = record('b', '.'),
                    c = record('c', '.'), d = record('\xff', '.');
  const auto good = validate("good", {a + b + b, c + d});
  EXPECT_EQ(good.at("order"), "ok");
  EXPECT_EQ(good.at("first_key"), "61616161616161616161");
  EXPECT_EQ(good.at("last_key"), "ffffffffffffffffffff");

  const auto within = validate("within", {a + b + b, d + c});
  EXPECT_EQ(within.at("unordered"), "1");
  EXPECT_EQ(within.at("order"),
            Cat("broken at ", temp_ / "within/part-10", ":100"));
  EXPECT_EQ(within.at("checksum"), good.at("checksum"));

  const auto across = validate("across", {c + d, a + b + b});
  EXPECT_EQ(across.at("unordered"), "1");
  EXPECT_EQ(across.at("order"),
            Cat("broken at ", temp_ / "across/part-10", ":0"));

  const auto lost = validate("lost", {a + b, c + d});
  EXPECT_EQ(lost.at("order"), "ok");
  EXPECT_NE(lost.at("checksum"), good.at("checksum"));
  // One twice and one lost: the number of records is the same.
  const auto twice = validate("twice", {a + a + b, c + d});
  EXPECT_EQ(twice.at("records"), good.at("records"));
  EXPECT_NE(twice.at("checksum"), good.at("checksum"));
  const auto changed = validate("changed", {a + b + record('b', ','), c + d});
  EXPECT_NE(changed.at("checksum"), good.at("checksum"));
}

TEST_F(JobsTest, EmptyMakesAnEmptyOutput) {
  temp_.Write("in/a", "some\ntext\n");
  EXPECT_THAT(Parts("empty", "out", {}), ElementsAre(""));
}

}  // namespace
}  // namespace millrace
