// What every MapReduce must do on real processes, after the smoke tests of
// MIT's course on distributed systems (6.5840, lab 1). (Word count and the
// indexer are in jobs_test.cc.) MILLRACE_SMOKE_REPEATS says how often each
// runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

int Repeats() {
  const char* text = std::getenv("MILLRACE_SMOKE_REPEATS");
  return text == nullptr ? 1 : std::atoi(text);
}

class SmokeTest : public BehaviourTest {
 protected:
  // One cluster for all repetitions; each has an output and traces of its own.
  template <typename Check>
  void Repeat(const std::string& behaviour,
              const std::vector<std::string>& flags, int ms, Check check) {
    StartCluster({.workers = 2, .slots = 1});
    for (int i = 0; i < Repeats(); ++i) {
      SCOPED_TRACE(Cat("repetition ", i));
      const std::string output = Cat("out", i);
      const ProgramResult result =
          cluster_->Cli(SubmitWords(behaviour, flags, ms, output));
      ASSERT_EQ(result.exit_code, 0) << result;
      ExpectRightCounts(output);
      check(result);
      if (HasFailure()) return;
      ClearTraces();
    }
  }
  void ClearTraces() {
    for (const auto& entry :
         std::filesystem::directory_iterator(data_ / "traces")) {
      std::filesystem::remove_all(entry.path());
    }
  }
};

TEST_F(SmokeTest, JobCount) {
  Repeat("plain", {"--speculation=off"}, 0, [&](const ProgramResult&) {
    std::map<std::string, int> once;
    for (int i = 0; i < kSplits; ++i) once[Cat("map ", i)] = 1;
    for (int i = 0; i < 3; ++i) once[Cat("reduce ", i)] = 1;
    EXPECT_EQ(AttemptsByTask(), once);
  });
}

TEST_F(SmokeTest, MapParallelism) {
  // A map alone would wait for another one until its timeout ends it.
  Repeat("meet-maps", {"--task-timeout", "30s", "--max-attempts", "1"}, 0,
         [](const ProgramResult&) {});
}

TEST_F(SmokeTest, ReduceParallelism) {
  Repeat("meet-reduces", {"--task-timeout", "30s", "--max-attempts", "1"}, 0,
         [](const ProgramResult&) {});
}

TEST_F(SmokeTest, EarlyExit) {
  // Two reduces end long before the third. Nobody says that the job is done,
  // and nothing of it is to be seen, before all are: the output was complete
  // when submit came back (ExpectRightCounts).
  Repeat("late-reduce", {}, 700, [](const ProgramResult& result) {
    EXPECT_GT(result.elapsed, absl::Milliseconds(700));
  });
}

TEST_F(SmokeTest, Crash) {
  Repeat("die", {"--task-timeout", "1s", "--max-attempts", "30"}, 0,
         [&](const ProgramResult&) {
           std::set<std::string> uids;
           for (const Trace& trace : Traces()) {
             EXPECT_TRUE(uids.insert(trace.uid).second)
                 << trace.uid << " came twice";
           }
         });
}

}  // namespace
}  // namespace millrace
