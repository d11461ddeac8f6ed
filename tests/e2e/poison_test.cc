// Records that user code crashes on: --skip-bad-records passes over exactly
// these, keeps them beside the output, and nothing of them is in it.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr int kJobFailed = 1;

bool Full() {
  const char* heavy = getenv("MILLRACE_HEAVY");
  return heavy != nullptr && std::string_view(heavy) == "full";
}

// File and offset -> the record.
using Letters = std::map<std::pair<std::string, uint64_t>, std::string>;

class PoisonTest : public LocalRunTest {
 protected:
  // Lines that begin with "!" are expected in the dead letters, words of the
  // others in the output.
  void AddLines(const std::string& name, const std::vector<std::string>& lines,
                bool last_line_ends = true) {
    std::string text;
    for (const std::string& line : lines) {
      if (line[0] == '!') {
        letters_[{Input(name), text.size()}] = line;
      } else {
        CountWords(line, &counts_);
      }
      text += line + "\n";
    }
    if (!last_line_ends) text.pop_back();
    WriteInput(name, text);
  }

  ProgramResult RunPoison(const std::vector<std::string>& flags,
                          const std::string& shape = "combine") {
    ProgramOptions options = Command("poison_job", flags);
    options.environment.push_back(Cat("MILLRACE_TEST_SHAPE=", shape));
    options.environment.push_back(
        Cat("MILLRACE_TEST_STARTS=", temp_ / "starts"));
    options.deadline = absl::Minutes(10);
    return RunProgram(options);
  }

  // Every line of every dead-letter file; each has a stack unless the process
  // was ended without one.
  std::vector<Json> DeadLetters() const {
    std::vector<Json> lines;
    for (const std::string& name : temp_.Names("work/out")) {
      if (!absl::StartsWith(name, "_dead_letter-")) continue;
      const std::string text = temp_.Read("work/out/" + name);
      for (const absl::string_view line : absl::StrSplit(text, '\n')) {
        if (!line.empty()) lines.push_back(Json::parse(std::string(line)));
      }
    }
    return lines;
  }

  void ExpectLetters() const {
    Letters found;
    for (const Json& line : DeadLetters()) {
      const auto [at, is_new] =
          found.emplace(std::pair(line["file"].get<std::string>(),
                                  line["offset"].get<uint64_t>()),
                        line["record"].get<std::string>());
      EXPECT_TRUE(is_new) << line;
      EXPECT_EQ(line["bytes"], at->second.size());
    }
    EXPECT_EQ(found, letters_);
  }

  // Each map began once and once more for each of its bad records.
  void ExpectStarts(size_t maps) const {
    std::map<std::string, int> extra;  // By the map's index.
    for (const absl::string_view line :
         absl::StrSplit(temp_.Read("starts"), '\n', absl::SkipEmpty())) {
      const auto [at, is_new] = extra.emplace(line, 0);
      at->second += !is_new;
    }
    EXPECT_EQ(extra.size(), maps);
    for (const auto& [map, restarts] : extra) {
      const std::string letters =
          Cat("work/out/_dead_letter-", std::string(5 - map.size(), '0'), map);
      int bad = 0;
      if (std::filesystem::exists(temp_ / letters)) {
        const std::string text = temp_.Read(letters);
        bad = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
      }
      EXPECT_EQ(restarts, bad) << "map " << map;
    }
  }

  Letters letters_;
  WordCounts counts_;
};

TEST_F(PoisonTest, EveryKindOfCrashIsPassedOver) {
  AddLines("a", {"!segfault first line", "plain words", "!throw one",
                 "!exit two", "more plain words"});
  AddLines("b", {"words", "!abort at the end", "!stack and again"}, false);
  for (const std::string shape : {"combine", "reduce"}) {
    const ProgramResult result = RunPoison({"--skip-bad-records=5"}, shape);
    ExpectSuccess(result);
    EXPECT_EQ(ReadCounts(), counts_) << shape;
    ExpectLetters();
    EXPECT_THAT(result.err, HasSubstr("5 bad records, kept in ")) << result;
    EXPECT_THAT(result.err, HasSubstr("MAP_SKIPPED_RECORDS  5")) << result;
    EXPECT_THAT(result.err, HasSubstr("MAP_INPUT_RECORDS  3")) << result;
    EXPECT_THAT(result.err, Not(HasSubstr("failed attempt"))) << result;
    const std::string manifest = temp_.Read("work/out/_MANIFEST");
    EXPECT_THAT(manifest, AllOf(HasSubstr("\"skipped_records\": 5"),
                                HasSubstr("\"_dead_letter-00000\"")));
    RemoveOutput();
  }
}

TEST_F(PoisonTest, ALetterSaysWhatHappened) {
  AddLines("a", {"one", "!segfault x", "!throw y", "!exit z"});
  ExpectSuccess(RunPoison({"--skip-bad-records=1000"}));
  const std::vector<Json> letters = DeadLetters();
  ASSERT_EQ(letters.size(), 3u);
  EXPECT_EQ(letters[0]["cause"], "CRASHED");
  EXPECT_THAT(letters[0]["message"].get<std::string>(),
              AllOf(HasSubstr("Segmentation fault"),
                    HasSubstr(Cat(Input("a"), " offset 4 (record 2)"))));
  EXPECT_THAT(letters[0]["stack"].get<std::string>(), HasSubstr("DieOfPoison"));
  EXPECT_EQ(letters[1]["cause"], "USER_EXCEPTION");
  EXPECT_THAT(letters[1]["message"].get<std::string>(),
              AllOf(HasSubstr("the record is bad"), HasSubstr("(record 3)")));
  EXPECT_THAT(letters[1]["stack"].get<std::string>(), HasSubstr("Tokenize"));
  EXPECT_EQ(letters[2]["cause"], "EXITED");
  EXPECT_THAT(letters[2]["message"].get<std::string>(), HasSubstr("status 7"));
}

TEST_F(PoisonTest, InAMapOnlyJob) {
  AddLines("a", {"one two", "!throw y", "three"});
  ExpectSuccess(RunPoison({"--skip-bad-records=1"}, "map-only"));
  EXPECT_EQ(ReadOutput(), "one\t1\ntwo\t1\nthree\t1\n");
  ExpectLetters();
}

// The sample that the order is planned by meets the records first.
TEST_F(PoisonTest, InATotalOrder) {
  AddLines("a", {"one two", "!throw y", "three", "!segfault z", "four"});
  const std::vector<std::string> flags = {"--reducers=2"};
  std::vector<std::string> enough = flags;
  enough.push_back("--skip-bad-records=2");
  const ProgramResult result = RunPoison(enough, "order");
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), counts_);
  ExpectLetters();
  EXPECT_THAT(result.err, HasSubstr("2 bad records")) << result;
  RemoveOutput();
  std::vector<std::string> few = flags;
  few.push_back("--skip-bad-records=1");
  ExpectFailure(RunPoison(few, "order"), kJobFailed,
                {"plan failed", "more bad records than the 1 that"});
}

TEST_F(PoisonTest, InProcessExceptionsArePassedOver) {
  AddLines("a", {"one two", "!throw y", "three", "!throw z"});
  ExpectSuccess(RunPoison({"--skip-bad-records=2", "--in-process"}));
  EXPECT_EQ(ReadCounts(), counts_);
  ExpectLetters();
}

TEST_F(PoisonTest, ManyTasksShareOneLimit) {
  std::vector<std::string> lines;
  for (int i = 0; i < 400; ++i) {
    lines.push_back(i % 50 == 7 ? Cat("!segfault ", i) : Cat("word", i % 9));
  }
  AddLines("a", lines);
  ASSERT_EQ(letters_.size(), 8u);
  const std::vector<std::string> flags = {"--split-bytes=300", "--slots=3"};
  std::vector<std::string> enough = flags;
  enough.push_back("--skip-bad-records=8");
  ExpectSuccess(RunPoison(enough));
  EXPECT_EQ(ReadCounts(), counts_);
  ExpectLetters();
  RemoveOutput();
  std::vector<std::string> few = flags;
  few.push_back("--skip-bad-records=7");
  ExpectFailure(RunPoison(few), kJobFailed,
                {"more bad records than the 7 that --skip-bad-records allows",
                 Input("a"), "offset"});
}

TEST_F(PoisonTest, WithoutTheFlagTheRecordFailsTheJob) {
  AddLines("a", {"one", "!segfault x"});
  const ProgramResult result = RunPoison({"--max-attempts=2"});
  ExpectFailure(result, kJobFailed,
                {"Segmentation fault", Cat(Input("a"), " offset 4 (record 2)"),
                 "(2 attempts)"});
  EXPECT_THAT(result.err, HasSubstr("DieOfPoison")) << result;
}

TEST_F(PoisonTest, WhoKillsTheProcessIsNotTheRecord) {
  AddLines("a", {"one", "!kill x"});
  ExpectFailure(RunPoison({"--skip-bad-records=5", "--max-attempts=2"}),
                kJobFailed, {"killed", "(2 attempts)"});
}

// What a combiner or a reducer dies of are values that good records have
// emitted: nothing is passed over.
TEST_F(PoisonTest, ACombinerThatCrashesNamesKeyAndValue) {
  AddLines("a", {"one two three", "!combine x", "four"});
  const ProgramResult result =
      RunPoison({"--skip-bad-records=5", "--max-attempts=1"});
  // Three words, then those of the line itself, then "boom" twice.
  ExpectFailure(result, kJobFailed,
                {"map 0", ", in combine, key \"boom\", emitted record 7"});
  EXPECT_THAT(result.err, HasSubstr("CombinePoison")) << result;
}

TEST_F(PoisonTest, AReducerThatCrashesNamesKeyAndValue) {
  AddLines("a", {"alpha zulu", "!reduce x"});
  const ProgramResult result = RunPoison(
      {"--skip-bad-records=5", "--max-attempts=1", "--reducers=1"}, "reduce");
  ExpectFailure(result, kJobFailed,
                {"reduce 0", ", in reduce, key \"boom\" (group 3), value 3"});
  EXPECT_THAT(result.err, HasSubstr("DieOfPoison")) << result;
}

TEST_F(PoisonTest, TheLimitHasALimit) {
  AddLines("a", {"one"});
  const ProgramResult result = RunPoison({"--skip-bad-records=1001"});
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_THAT(result.err, HasSubstr("--skip-bad-records")) << result;
}

// The sizes of the promise with MILLRACE_HEAVY=full (CTest: e2e_poison).
TEST_F(PoisonTest, ThirtySevenAmongTenMillion) {
  const uint64_t total = Full() ? 10'000'000 : 200'000;
  constexpr int kBad = 37;
  std::string text;
  for (uint64_t i = 0; i < total; ++i) {
    if (i % (total / kBad) == 1000 && letters_.size() < kBad) {
      const std::string line = Cat("!segfault ", i);
      letters_[{Input("big"), text.size()}] = line;
      text += line + "\n";
      continue;
    }
    const std::string word = Cat("w", i % 1009);
    ++counts_[word];
    text += word + "\n";
  }
  ASSERT_EQ(letters_.size(), static_cast<size_t>(kBad));
  WriteInput("big", text);
  const std::vector<std::string> flags = {
      Cat("--split-bytes=", text.size() / 8)};
  std::vector<std::string> enough = flags;
  enough.push_back("--skip-bad-records=50");
  const ProgramResult result = RunPoison(enough);
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), counts_);
  ExpectLetters();
  ExpectStarts(8);
  EXPECT_THAT(result.err, Not(HasSubstr("failed attempt"))) << result;
  RemoveOutput();

  std::vector<std::string> few = flags;
  few.push_back("--skip-bad-records=36");
  ExpectFailure(
      RunPoison(few), kJobFailed,
      {"more bad records than the 36 that --skip-bad-records allows"});
}

}  // namespace
}  // namespace millrace
