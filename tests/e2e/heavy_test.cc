// Shapes of input that must work however large they are: small enough for
// sanitizers, and with MILLRACE_HEAVY=full (CTest: e2e_heavy) in the sizes that
// the promises name.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

// The address sanitizer keeps what was freed, and shadows of everything.
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kMemoryScale = 4;
#else
constexpr uint64_t kMemoryScale = 1;
#endif

bool Full() {
  const char* heavy = getenv("MILLRACE_HEAVY");
  return heavy != nullptr && std::string_view(heavy) == "full";
}

// The size promised, or a smaller one that takes a second.
uint64_t Size(uint64_t promised, uint64_t plain) {
  return Full() ? promised : plain;
}

class HeavyTest : public LocalRunTest {
 protected:
  // Streams a file, so that the test's own memory stays small.
  void Generate(const std::string& name,
                const std::function<void(std::ofstream&)>& write) {
    WriteInput(name, "");
    std::ofstream file(Input(name), std::ios::binary);
    write(file);
    file.close();
    ASSERT_TRUE(file.good()) << "disk full?";
  }

  ProgramResult RunHeavy(const std::string& program,
                         const std::vector<std::string>& flags) {
    ProgramOptions options = Command(program, flags);
    options.deadline = absl::Minutes(10);
    return RunProgram(options);
  }
};

TEST_F(HeavyTest, OneLineOfThreeHundredMegabytes) {
  const uint64_t words = Size(50'000'000, 1'000'000);  // Of 6 bytes.
  Generate("f", [&](std::ofstream& file) {
    for (uint64_t i = 0; i < words; ++i) file << "word" << i % 10 << ' ';
  });
  const ProgramResult result = RunHeavy("wordcount", {"--memory=64M"});
  ExpectSuccess(result);
  WordCounts expected;
  for (int i = 0; i < 10; ++i) {
    expected[Cat("word", i)] = static_cast<int64_t>(words / 10);
  }
  EXPECT_EQ(ReadCounts(), expected);
}

TEST_F(HeavyTest, KeysOfTenMegabytes) {
  const std::string key(Size(10 << 20, 1 << 20), 'k');
  Generate("f", [&](std::ofstream& file) {
    for (int i = 0; i < 3; ++i) {
      file << key << "a small\n" << key << "b small " << key << "a\n";
    }
  });
  WordCounts expected = {{"small", 6}, {key + "a", 6}, {key + "b", 3}};
  for (const char* memory : {"1M", "64M"}) {
    const ProgramResult result =
        RunHeavy("wordcount", {Cat("--memory=", memory), "--split-bytes=5M"});
    ExpectSuccess(result);
    // Not EXPECT_EQ, which would print them.
    EXPECT_TRUE(ReadCounts() == expected) << memory;
    RemoveOutput();
  }
  const ProgramResult result =
      RunHeavy("group_job", {"--memory=1M", "--reducers=1"});
  ExpectSuccess(result);
}

TEST_F(HeavyTest, FiftyMillionValuesOfOneKey) {
  const uint64_t values = Size(50'000'000, 2'000'000);
  Generate("f", [&](std::ofstream& file) {
    for (uint64_t i = 0; i < values; ++i) file << "k\n";
  });
  const ProgramResult result =
      RunHeavy("group_job", {"--memory=64M", "--reducers=2"});
  ExpectSuccess(result);
  EXPECT_THAT(ReadOutput(), ::testing::StartsWith(Cat("k\t", values, "\t")));
  EXPECT_THAT(result.err, ::testing::HasSubstr(Cat("was given all of the ",
                                                   values, " records: ")));
  // Budget of one task, and what a process is made of.
  EXPECT_LT(result.peak_rss_bytes, kMemoryScale * (64 + 16 + 32) << 20);
}

TEST_F(HeavyTest, TwelveMillionDistinctKeys) {
  const uint64_t keys = Size(12'000'000, 500'000);
  Generate("f", [&](std::ofstream& file) {
    // In an order that is not the sorted one; each key twice.
    for (uint64_t i = 0; i < 2 * keys; ++i) {
      file << (i * 7919) % keys << (i % 4 == 3 ? '\n' : ' ');
    }
  });
  const ProgramResult result =
      RunHeavy("wordcount", {"--memory=64M", "--reducers=1"});
  ExpectSuccess(result);
  // Sorted as text: the next number in that order is known without a list.
  std::ifstream part(temp_ / "work/out/part-00000", std::ios::binary);
  std::string line;
  std::string previous;
  uint64_t lines = 0;
  while (std::getline(part, line)) {
    ++lines;
    ASSERT_THAT(line, ::testing::EndsWith("\t2"));
    ASSERT_LT(previous, line);
    previous = line;
  }
  // As many lines as keys, each a distinct number with a count of two: all.
  EXPECT_EQ(lines, keys);
}

TEST_F(HeavyTest, TwentyThousandTinyFiles) {
  const uint64_t files = Size(20'000, 20'000);
  WordCounts expected;
  for (uint64_t i = 0; i < files; ++i) {
    const std::string text = Cat("tiny file ", i % 100, "\n");
    WriteInput(Cat("d", i % 50, "/f", i), text);
    CountWords(text, &expected);
  }
  const ProgramResult result = RunHeavy("wordcount", {});
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), expected);
  // Small files share a split.
  const std::string manifest = temp_.Read("work/out/_MANIFEST");
  const size_t at = manifest.find("\"maps\":");
  ASSERT_NE(at, std::string::npos);
  EXPECT_LT(std::stoi(manifest.substr(at + 7)), 100);
}

}  // namespace
}  // namespace millrace
