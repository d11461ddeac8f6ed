// A hundred jobs at the same time, more than there are slots by far; a worker
// is killed and the master started anew while they run.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

class ManyJobsTest : public BehaviourTest {
 protected:
  static constexpr int kJobs = 100;
  static constexpr int kWorkers = 3;

  // Of all that the master knows.
  int JobsInState(const std::string& state) const {
    const ProgramResult list =
        cluster_->Cli({"list", "--limit", "0", "-o", "json"});
    if (list.exit_code != 0) return -1;
    const auto jobs = nlohmann::json::parse(list.out);
    return static_cast<int>(std::count_if(
        jobs.begin(), jobs.end(),
        [&state](const auto& job) { return job.at("state") == state; }));
  }
  void ForEachWorker(const std::string& verb) const {
    for (int i = 0; i < kWorkers; ++i) {
      const ProgramResult done = cluster_->Cli({"worker", verb, Cat("w", i)});
      ASSERT_EQ(done.exit_code, 0) << done;
    }
  }
};

TEST_F(ManyJobsTest, AHundredAtOnceAllEndRight) {
  StartCluster({.workers = kWorkers, .slots = 2});
  // So that none has begun before all are there.
  ForEachWorker("drain");
  std::vector<std::string> jobs;
  for (int i = 0; i < kJobs; ++i) {
    jobs.push_back(SubmitDetached("slow", {}, 2, Cat("out", i)));
  }
  EXPECT_EQ(JobsInState("SUCCEEDED"), 0);
  ForEachWorker("undrain");
  const auto succeeded = [&](int count) {
    return WaitUntil([&] { return JobsInState("SUCCEEDED") >= count; },
                     absl::Seconds(300));
  };
  ASSERT_TRUE(succeeded(kJobs / 4));
  cluster_->worker(2).Signal(SIGKILL);
  ASSERT_TRUE(succeeded(kJobs / 2));
  EXPECT_LT(JobsInState("SUCCEEDED"), kJobs) << "nothing ran any more";
  cluster_->RestartMaster();
  for (int i = 0; i < kJobs; ++i) {
    SCOPED_TRACE(Cat("job ", i));
    const ProgramResult waited = cluster_->Cli({"wait", jobs[i]});
    ASSERT_EQ(waited.exit_code, 0) << waited;
    ExpectRightCounts(Cat("out", i));
    ExpectLocalBytes(Cat("out", i));
  }
  EXPECT_EQ(JobsInState("SUCCEEDED"), kJobs);
}

}  // namespace
}  // namespace millrace
