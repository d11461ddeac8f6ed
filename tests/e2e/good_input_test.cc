// Input that must simply work, each checked against a program of ten lines.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

class GoodInputTest : public LocalRunTest {
 protected:
  // Writes files, counts them with several shapes of the same job, and expects
  // the reference's counts and equal bytes for equal reducers.
  void ExpectCounted(const std::vector<std::string>& contents) {
    WordCounts expected;
    for (size_t i = 0; i < contents.size(); ++i) {
      WriteInput(Cat("file-", i), contents[i]);
      CountWords(contents[i], &expected);
    }
    ExpectCounts(expected);
  }

  void ExpectCounts(const WordCounts& expected) {
    std::string first_bytes;
    for (const std::vector<std::string>& shape :
         std::vector<std::vector<std::string>>{
             {"--slots=1", "--reducers=3"},
             {"--slots=2", "--reducers=3", "--split-bytes=7"},
             {"--in-process", "--reducers=3", "--memory=1M"},
             {"--slots=2", "--reducers=3", "--codec=lz4", "--fresh-process"}}) {
      SCOPED_TRACE(::testing::PrintToString(shape));
      const ProgramResult result = Run("wordcount", shape);
      ExpectSuccess(result);
      if (HasFatalFailure()) return;
      EXPECT_EQ(ReadCounts(), expected) << result;
      const std::string bytes = ReadOutput();
      if (first_bytes.empty()) first_bytes = bytes;
      EXPECT_EQ(bytes, first_bytes) << "other bytes than the first shape";
      RemoveOutput();
    }
  }
};

TEST_F(GoodInputTest, OrdinaryText) {
  ExpectCounted(
      {"the quick brown fox\njumps over the lazy dog\n", "the end\n"});
}

TEST_F(GoodInputTest, EmptyInput) { ExpectCounted({""}); }

TEST_F(GoodInputTest, EmptyDirectory) { ExpectCounts({}); }

TEST_F(GoodInputTest, ZeroByteFilesAmongOthers) {
  ExpectCounted({"", "a b\n", "", "", "b\n", ""});
}

TEST_F(GoodInputTest, OnlyLineEnds) { ExpectCounted({"\n\n\n", "\r\n\r\n"}); }

TEST_F(GoodInputTest, LastLineWithoutNewline) {
  // The next file's first line must not be joined to it.
  ExpectCounted({"one two", "three", "two"});
}

TEST_F(GoodInputTest, CarriageReturns) {
  ExpectCounted({"a b\r\nb c\r\n", "\rlone\rreturn\r", "end\r"});
}

TEST_F(GoodInputTest, AllAsciiWhiteSpaceSeparates) {
  ExpectCounted({"a\tb\vc\fd e\n\t \v\f\n", " lead", "trail \n"});
}

TEST_F(GoodInputTest, NulBytesAndInvalidUtf8) {
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
    all += static_cast<char>(i);
    all += 'x';
  }
  ExpectCounted({all, std::string("nul\0inside\0 \0\0\n", 14),
                 "\xff\xfe \xc3\x28 \xed\xa0\x80\n", "\x80"});
}

TEST_F(GoodInputTest, RandomBytes) {
  const uint64_t seed = 20240731;
  SCOPED_TRACE(seed);
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  std::vector<std::string> contents;
  for (int i = 0; i < 5; ++i) {
    std::string bytes(random->Uniform(200'000), '\0');
    // Few values, so that words and line ends come often.
    for (char& c : bytes) c = "ab \n\t\0\xff\r"[random->Uniform(8)];
    contents.push_back(bytes);
  }
  WordCounts expected;
  for (size_t i = 0; i < contents.size(); ++i) {
    WriteInput(Cat("file-", i), contents[i]);
    CountWords(contents[i], &expected);
  }
  for (const char* split : {"1K", "4097", "0"}) {
    const ProgramResult result =
        Run("wordcount", {Cat("--split-bytes=", split), "--memory=1M"});
    ExpectSuccess(result);
    EXPECT_EQ(ReadCounts(), expected) << "--split-bytes=" << split;
    RemoveOutput();
  }
}

TEST_F(GoodInputTest, FileNamesWithSpacesNewlinesAndWildcards) {
  WriteInput("with space/a b", "one\n");
  WriteInput("with\nnewline/x\ny", "two\n");
  WriteInput("star*[1]?.txt", "three\n");
  WriteInput("\xff\xfe not utf8", "four\n");
  WriteInput("-leading-dash", "five\n");
  ExpectCounts(
      {{"one", 1}, {"two", 1}, {"three", 1}, {"four", 1}, {"five", 1}});
}

TEST_F(GoodInputTest, HiddenNamesAndLinksArePassedOverAndCounted) {
  WriteInput("plain", "a\n");
  WriteInput(".hidden", "b\n");
  WriteInput("_logs/x", "b\n");
  std::filesystem::create_symlink("plain", Input("link"));
  const ProgramResult result = Run("wordcount");
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), (WordCounts{{"a", 1}}));
  EXPECT_THAT(result.err, ::testing::HasSubstr("2 names that begin with"));
  EXPECT_THAT(result.err, ::testing::HasSubstr("1 symbolic link\n"));
}

TEST_F(GoodInputTest, GlobsAndSeveralInputs) {
  WriteInput("a/1.txt", "one\n");
  WriteInput("a/b/c/2.txt", "two\n");
  WriteInput("a/b/3.log", "three\n");
  WriteInput("d.txt", "four\n");
  const ProgramResult result = RunProgram(BareCommand(
      "wordcount", {Cat("--input=", Input(), "/**/*.txt"), "--input",
                    Input("a/b/3.log"), "-i", Input("d.txt"), "-o", output()}));
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(),
            (WordCounts{{"one", 1}, {"two", 1}, {"three", 1}, {"four", 1}}));
}

TEST_F(GoodInputTest, RelativePathsAndTrailingSlash) {
  WriteInput("f", "a b a\n");
  ProgramOptions options =
      BareCommand("wordcount", {"--input=in/", "--output=work/out/"});
  options.directory = temp_.path();
  ExpectSuccess(RunProgram(options));
  EXPECT_EQ(ReadCounts(), (WordCounts{{"a", 2}, {"b", 1}}));
}

TEST_F(GoodInputTest, SummaryGoesToStderrAndQuietSilencesIt) {
  WriteInput("f", "a b a\n");
  ProgramResult result = Run("wordcount");
  EXPECT_THAT(result.err, ::testing::HasSubstr("MAP_INPUT_RECORDS"));
  EXPECT_EQ(result.out, "");
  RemoveOutput();
  result = Run("wordcount", {"--quiet"});
  ExpectSuccess(result);
  EXPECT_EQ(result.err, "");
}

TEST_F(GoodInputTest, ScratchDirectoryIsLeftEmpty) {
  WriteInput("f", "a b a\n");
  std::filesystem::create_directory(temp_ / "scratch");
  ExpectSuccess(Run("wordcount", {Cat("--scratch=", temp_ / "scratch")}));
  EXPECT_THAT(temp_.Names("scratch"), ::testing::IsEmpty());
}

// ---------------------------------------------------------- keys and values

TEST_F(GoodInputTest, EmptyKeysAndEmptyValues) {
  WriteInput("f", "\tone\n\ttwo\n\n\t\nkey\t\nkey\n");
  const ProgramResult result = Run("group_job", {"--reducers=1"});
  ExpectSuccess(result);
  const std::string bytes = ReadOutput();
  EXPECT_THAT(bytes, ::testing::StartsWith("\t4\t")) << result;
  EXPECT_THAT(bytes, ::testing::HasSubstr("\nkey\t2\t"));
}

TEST_F(GoodInputTest, ValuesArriveInInputOrderWhateverTheShape) {
  const uint64_t seed = 7;
  SCOPED_TRACE(seed);
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  std::string text;
  for (int i = 0; i < 200'000; ++i) {
    text += Cat("k", random->Uniform(50), "\tvalue-", i, "\n");
  }
  WriteInput("f", text);
  std::string first;
  for (const std::vector<std::string>& shape :
       std::vector<std::vector<std::string>>{
           {"--split-bytes=100M"},
           {"--split-bytes=64K", "--slots=2", "--memory=1M"},
           {"--split-bytes=1M", "--slots=1", "--memory=1M", "--codec=zstd"}}) {
    std::vector<std::string> flags = shape;
    flags.push_back("--reducers=2");
    const ProgramResult result = Run("group_job", flags);
    ExpectSuccess(result);
    const std::string bytes = ReadOutput();
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << ::testing::PrintToString(shape);
    RemoveOutput();
  }
}

}  // namespace
}  // namespace millrace
