// All sample jobs on several shapes of cluster: byte for byte what a local run
// of the same program writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/file_system.h"
#include "common/random.h"
#include "common/strings.h"
#include "tests/cluster/mini_cluster.h"

namespace millrace {
namespace {

using ::testing::IsEmpty;

// Text of words with very different frequencies.
std::string MakeText(uint64_t seed, size_t bytes) {
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  std::string text;
  while (text.size() < bytes) {
    const uint64_t rank = random->Uniform(1 + random->Uniform(5000));
    text += Cat("word", rank, random->Uniform(12) == 0 ? "\n" : " ");
  }
  return text;
}

struct Shape {
  int workers;
  int slots;
  bool same_host;
};

class JobsTest : public testing::TestWithParam<Shape> {
 protected:
  JobsTest()
      : cluster_({.workers = GetParam().workers,
                  .slots = GetParam().slots,
                  .same_host = GetParam().same_host}) {
    for (uint64_t i = 0; i < 5; ++i) {
      inputs_.Write(Cat("text", i), MakeText(i, 300'000));
    }
    cluster_.WaitForWorkers(GetParam().workers);
  }

  // Runs the program here and on the cluster with the same flags, and compares
  // every part file.
  void ExpectSameBytes(const std::string& program, const std::string& input,
                       const std::vector<std::string>& flags,
                       const std::vector<std::string>& arguments = {}) {
    SCOPED_TRACE(program);
    const std::string here = cluster_.Path(Cat(program, "-here"));
    const std::string there = cluster_.Path(Cat(program, "-there"));
    ProgramOptions local;
    local.argv = {MiniCluster::Program(program), "--output", here, "-q"};
    std::vector<std::string> submit = {"submit", MiniCluster::Program(program),
                                       "--output", there};
    for (std::vector<std::string>* words : {&local.argv, &submit}) {
      if (!input.empty()) {
        words->push_back("--input");
        words->push_back(input);
      }
      words->insert(words->end(), flags.begin(), flags.end());
      if (!arguments.empty()) {
        words->push_back("--");
        words->insert(words->end(), arguments.begin(), arguments.end());
      }
    }
    const ProgramResult reference = RunProgram(local);
    ASSERT_EQ(reference.exit_code, 0) << reference;
    const ProgramResult result = cluster_.Cli(submit);
    ASSERT_EQ(result.exit_code, 0) << result;
    ExpectSameParts(here, there);
    const ProgramResult verified = cluster_.Cli({"verify", there});
    EXPECT_EQ(verified.exit_code, 0) << verified;
    EXPECT_THAT(Staging(), IsEmpty());
  }

  static void ExpectSameParts(const std::string& here,
                              const std::string& there) {
    FileSystem& fs = FileSystem::Posix();
    const auto names = fs.List(here);
    ASSERT_TRUE(names.ok()) << names.status();
    const auto others = fs.List(there);
    ASSERT_TRUE(others.ok()) << others.status();
    EXPECT_EQ(names->size(), others->size());
    for (const DirEntry& entry : *names) {
      if (entry.name[0] == '_') continue;  // _MANIFEST names the job.
      const auto a = ReadWholeFile(fs, JoinPath(here, entry.name), 1 << 30);
      const auto b = ReadWholeFile(fs, JoinPath(there, entry.name), 1 << 30);
      ASSERT_TRUE(a.ok() && b.ok()) << entry.name << ": " << b.status();
      EXPECT_TRUE(*a == *b) << entry.name << " differs";
    }
  }

  nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    const ProgramResult result = cluster_.Cli(arguments);
    EXPECT_EQ(result.exit_code, 0) << result;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  // The shuffle of a job is what its reduces have read, to the byte.
  void ExpectShufflesAreWhatReducesRead() {
    size_t shuffles = 0;
    for (const nlohmann::json& job : Json({"list"})) {
      uint64_t read = 0;
      for (const nlohmann::json& counter : Json({"counters", job["id"]})) {
        if (counter["name"] == "REDUCE_SHUFFLE_BYTES") read = counter["value"];
      }
      EXPECT_EQ(job["shuffle_bytes"], read) << job;
      EXPECT_EQ(job["shuffle_bytes_done"], read) << job;
      shuffles += read > 0;
    }
    EXPECT_GT(shuffles, 0u);
  }

  // Staging directories that jobs have left beside their outputs. They go soon
  // after the job has ended.
  std::vector<std::string> Staging() {
    std::vector<std::string> left;
    WaitUntil(
        [&] {
          left.clear();
          const auto names = FileSystem::Posix().List(cluster_.Path(""));
          for (const DirEntry& entry : *names) {
            if (entry.name.find(".millrace-") != std::string::npos) {
              left.push_back(entry.name);
            }
          }
          return left.empty();
        },
        absl::Seconds(10));
    return left;
  }

  TempDir inputs_;
  MiniCluster cluster_;
};

TEST_P(JobsTest, WriteTheBytesOfALocalRun) {
  const std::string text = inputs_.path();
  const std::vector<std::string> small = {"--split-bytes", "100K", "--reducers",
                                          "3"};
  ExpectSameBytes("wordcount", text, small);
  ExpectSameBytes("wordcount_custom", text, small);
  ExpectSameBytes("inverted_index", text, small);
  ExpectSameBytes("grep", text, {"--split-bytes", "100K"}, {"word1[0-9]*7"});
  ExpectSameBytes("grep_custom", text, {"--split-bytes", "100K"}, {"word1"});
  ExpectSameBytes("empty", text, {});
  ExpectSameBytes("teragen", "", {"--rows", "20000"});
  for (const char* sort : {"sort", "sort_custom"}) {
    ExpectSameBytes(sort, cluster_.Path("teragen-there"),
                    {"--split-bytes", "200K", "--reducers", "4"});
  }
  ExpectSameBytes("teravalidate", cluster_.Path("sort-there"), {});
  ExpectShufflesAreWhatReducesRead();
}

// Each with workers that fetch from each other over the network, and with
// workers that read each other's files.
INSTANTIATE_TEST_SUITE_P(Shapes, JobsTest,
                         testing::Values(Shape{1, 1, false}, Shape{1, 1, true},
                                         Shape{3, 1, false}, Shape{3, 1, true},
                                         Shape{3, 2, false}, Shape{3, 2, true}),
                         [](const testing::TestParamInfo<Shape>& shape) {
                           return Cat(
                               shape.param.workers, "x", shape.param.slots,
                               shape.param.same_host ? "SameHost" : "Network");
                         });

}  // namespace
}  // namespace millrace
