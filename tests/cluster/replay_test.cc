// Tasks of a cluster's jobs run again on this machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class ClusterReplayTest : public Refusals {
 protected:
  std::string Submit(const std::vector<std::string>& more, int exit_code) {
    std::vector<std::string> words = {"submit",         MILLRACE_FAULT_JOB,
                                      "--input",        data_ / "words",
                                      "--output",       data_ / "out",
                                      "--reducers",     "2",
                                      "--split-bytes",  "20",
                                      "--max-attempts", "1",
                                      "--detach",       "--"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = cluster_->Cli(words);
    EXPECT_EQ(result.exit_code, 0) << result;
    const std::string job = result.out.substr(0, 32);
    EXPECT_EQ(cluster_->Cli({"wait", job}).exit_code, exit_code);
    return job;
  }
  ProgramResult Replay(const std::vector<std::string>& words) {
    std::vector<std::string> all = {"replay"};
    all.insert(all.end(), words.begin(), words.end());
    return cluster_->Cli(all);
  }
};

TEST_F(ClusterReplayTest, AMapOfAFailedJob) {
  StartCluster({.workers = 2, .slots = 1});
  data_.Write("words/a", "plain words\nmore words\n");
  data_.Write("words/b", "one two\ntrigger\nthree\n");
  const std::string job = Submit({"segfault"}, kJobFailed);
  const ProgramResult status = cluster_->Cli({"status", job});
  // 43 bytes in splits of some 20: the trigger is in the second.
  const std::string name =
      status.out.find(" m0/") != std::string::npos ? "m0" : "m1";
  const ProgramResult replayed =
      Replay({job.substr(0, 8), name, "--bundle", data_ / "bundle"});
  EXPECT_EQ(replayed.exit_code, kJobFailed) << replayed;
  for (const std::string part : {"Segmentation fault", "Segfault"}) {
    EXPECT_THAT(replayed.err, HasSubstr(part)) << replayed;
  }
  EXPECT_THAT(replayed.err, HasSubstr(Cat(data_ / "words/b", " offset 8")))
      << replayed;
  // Once more, without the job's input and the cluster.
  std::filesystem::remove_all(data_ / "words");
  const ProgramResult again = Replay({data_ / "bundle"});
  EXPECT_EQ(again.exit_code, kJobFailed) << again;
  EXPECT_THAT(again.err, HasSubstr(" offset 8")) << again;
  // The directory is there already, and never written over.
  EXPECT_EQ(Replay({job, name, "--bundle", data_ / "bundle"}).exit_code,
            kRefused);
}

TEST_F(ClusterReplayTest, TasksOfAJobThatWentWell) {
  StartCluster({.workers = 2, .slots = 1});
  std::string text;
  for (int i = 0; i < 200; ++i) text += Cat("word", i % 17, " x", i, "\n");
  data_.Write("words/a", text);
  const std::string job = Submit({"none"}, 0);
  for (int reduce = 0; reduce < 2; ++reduce) {
    const std::string bundle = data_ / Cat("bundle", reduce);
    const ProgramResult replayed =
        Replay({job, Cat("r", reduce), "--bundle", bundle});
    EXPECT_EQ(replayed.exit_code, 0) << replayed;
    EXPECT_THAT(replayed.err, testing::Not(HasSubstr("other records")));
    const std::string part = Cat("part-0000", reduce);
    EXPECT_EQ(data_.Read(Cat("bundle", reduce, "/run/", part)),
              data_.Read("out/" + part));
  }
  const ProgramResult map = Replay({job, "m3", "--bundle", data_ / "bundle3"});
  EXPECT_EQ(map.exit_code, 0) << map;
  EXPECT_THAT(map.err, HasSubstr("MAP_INPUT_RECORDS")) << map;

  ExpectFailure(Replay({job, "r2", "--bundle", data_ / "none"}), kNotFound,
                {"the job has 2 reduces"});
  ExpectFailure(Replay({"0123456789", "m0"}), kNotFound, {"no job"});
  // Other bytes than the job has read are refused.
  std::ofstream(data_ / "words/a", std::ios::app) << "more\n";
  const ProgramResult changed =
      Replay({job, "m1", "--bundle", data_ / "changed"});
  EXPECT_EQ(changed.exit_code, kRefused) << changed;
  EXPECT_THAT(changed.err, HasSubstr("INPUT_CHANGED")) << changed;
}

// Two reduces, so that one of them has nothing of what the maps made up.
TEST_F(ClusterReplayTest, AReduceWhoseMapsGiveOtherRecordsIsCalledAnother) {
  StartCluster({.workers = 2, .slots = 1});
  data_.Write("words/a", "plain words\nmore words\n");
  data_.Write("words/b", "one two\ntrigger\nthree\n");
  const std::string job = Submit({"uid"}, 0);
  for (const std::string reduce : {"r0", "r1"}) {
    const ProgramResult replayed =
        Replay({job, reduce, "--bundle", data_ / reduce});
    EXPECT_EQ(replayed.exit_code, 0) << replayed;
    EXPECT_THAT(replayed.err,
                HasSubstr("the maps gave other records than in the job"))
        << replayed;
  }
}

}  // namespace
}  // namespace millrace
