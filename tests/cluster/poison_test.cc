// Records on which mappers crash, on a cluster: the number that may be passed
// over is the job's, however many workers meet them, and whoever dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

class ClusterPoisonTest : public Refusals {
 protected:
  // File and offset -> the record.
  using Letters = std::map<std::pair<std::string, uint64_t>, std::string>;

  // Two files; every 40th line is bad. As many splits as `splits`, about.
  void WriteInput(int lines, int splits) {
    uint64_t bytes = 0;
    for (const std::string name : {"a", "b"}) {
      std::string text;
      for (int i = 0; i < lines / 2; ++i) {
        const bool bad = i % 40 == 17;
        const std::string line =
            Cat(bad ? "!segfault " : "word", i % 7, " of ", name);
        if (bad) letters_[{data_ / Cat("poison/", name), text.size()}] = line;
        good_ += !bad;
        text += line + "\n";
      }
      bytes += text.size();
      data_.Write(Cat("poison/", name), text);
    }
    split_bytes_ = bytes / static_cast<uint64_t>(splits);
  }
  std::vector<std::string> Words(size_t limit,
                                 const std::string& last = "") const {
    std::vector<std::string> words = {"submit",
                                      MILLRACE_POISON_JOB,
                                      "--input",
                                      data_ / "poison",
                                      "--output",
                                      data_ / "out",
                                      "--reducers",
                                      "2",
                                      "--split-bytes",
                                      Cat(split_bytes_),
                                      "--skip-bad-records",
                                      Cat(limit)};
    if (!last.empty()) words.push_back(last);
    return words;
  }
  std::string Submit(size_t limit) {
    const ProgramResult result = cluster_->Cli(Words(limit, "--detach"));
    EXPECT_EQ(result.exit_code, 0) << result;
    return result.out.substr(0, 32);
  }
  Json Status(const std::string& job) {
    const ProgramResult result = cluster_->Cli({"status", job, "-o", "json"});
    EXPECT_EQ(result.exit_code, 0) << result;
    return Json::parse(result.out);
  }
  // The output verifies, has what the good lines say, and beside it exactly the
  // bad ones.
  void ExpectRightOutput() {
    const ProgramResult verified = cluster_->Cli({"verify", data_ / "out"});
    EXPECT_EQ(verified.exit_code, 0) << verified;
    int64_t of = 0;
    Letters found;
    for (const std::string& name : data_.Names("out")) {
      const std::string text = data_.Read("out/" + name);
      const bool letters = absl::StartsWith(name, "_dead_letter-");
      if (name[0] == '_' && !letters) continue;
      for (const absl::string_view line : absl::StrSplit(text, '\n')) {
        if (line.empty()) continue;
        if (!letters) {
          EXPECT_FALSE(absl::StrContains(line, "!segfault")) << line;
          if (absl::StartsWith(line, "of\t")) {
            of = std::stoll(std::string(line.substr(3)));
          }
          continue;
        }
        const Json letter = Json::parse(std::string(line));
        EXPECT_TRUE(found
                        .emplace(std::pair(letter["file"].get<std::string>(),
                                           letter["offset"].get<uint64_t>()),
                                 letter["record"].get<std::string>())
                        .second)
            << letter;
        EXPECT_THAT(letter["stack"].get<std::string>(),
                    testing::HasSubstr("DieOfPoison"));
      }
    }
    EXPECT_EQ(found, letters_);
    EXPECT_EQ(of, good_);
    ExpectNothingBeside("out.");
  }

  uint64_t split_bytes_ = 0;
  Letters letters_;
  int64_t good_ = 0;
};

TEST_F(ClusterPoisonTest, BadRecordsArePassedOverOneAttemptATask) {
  StartCluster({.workers = 3, .slots = 2});
  WriteInput(400, 6);
  const std::string job = Submit(letters_.size());
  ASSERT_EQ(cluster_->Cli({"wait", job}).exit_code, 0);
  ExpectRightOutput();
  const Json status = Status(job);
  EXPECT_EQ(status["bad_records"], letters_.size());
  EXPECT_EQ(status["attempts"]["failed"], 0);
  EXPECT_EQ(status["attempts"]["launched"].get<int>(),
            1 + status["maps"]["total"].get<int>() + 2);
  const ProgramResult counters = cluster_->Cli({"counters", job});
  EXPECT_THAT(counters.out, testing::HasSubstr("MAP_SKIPPED_RECORDS"));
}

TEST_F(ClusterPoisonTest, AReplayPassesOverWhatTheJobDid) {
  StartCluster({.workers = 2, .slots = 1});
  WriteInput(200, 3);
  const std::string job = Submit(letters_.size());
  ASSERT_EQ(cluster_->Cli({"wait", job}).exit_code, 0);
  for (const std::string task : {"0", "1"}) {
    const std::string bundle = "r" + task;
    const ProgramResult reduce =
        cluster_->Cli({"replay", job, "r" + task, "--bundle", data_ / bundle});
    EXPECT_EQ(reduce.exit_code, 0) << reduce;
    const std::string part = "part-0000" + task;
    EXPECT_EQ(data_.Read(bundle + "/run/" + part), data_.Read("out/" + part));
  }
  const ProgramResult map =
      cluster_->Cli({"replay", job, "m1", "--bundle", data_ / "m1"});
  EXPECT_EQ(map.exit_code, 0) << map;
  EXPECT_THAT(map.err, testing::HasSubstr("passing over the record"));
  EXPECT_EQ(data_.Read("m1/run/_dead_letter-00001"),
            data_.Read("out/_dead_letter-00001"));
}

TEST_F(ClusterPoisonTest, OneMoreThanAllowedFailsTheJob) {
  StartCluster({.workers = 2, .slots = 1});
  WriteInput(200, 3);
  ExpectFailure(
      cluster_->Cli(Words(letters_.size() - 1)), kJobFailed,
      {"BAD_RECORD_LIMIT",
       Cat("more bad records than the ", letters_.size() - 1), "offset"});
  ExpectNothingBeside("out");
}

TEST_F(ClusterPoisonTest, TheCountOutlivesWorkersAndTheMaster) {
  StartCluster({.workers = 3, .slots = 1});
  WriteInput(2400, 4);
  const std::string job = Submit(letters_.size());
  const auto passed = [&](size_t count) {
    return WaitUntil([&] {
      const Json status = Status(job);
      return status["bad_records"].get<size_t>() >= count ||
             status["state"] == "FAILED";
    });
  };
  ASSERT_TRUE(passed(8));
  cluster_->worker(1).Kill();
  ASSERT_TRUE(passed(20));
  cluster_->RestartMaster();
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightOutput();
  const Json status = Status(job);
  EXPECT_EQ(status["bad_records"], letters_.size());
  EXPECT_EQ(status["attempts"]["failed"], 0);
}

}  // namespace
}  // namespace millrace
