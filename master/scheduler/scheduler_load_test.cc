// That many jobs and many tasks cost what they should. The bars leave room for
// slow machines; what is quadratic misses them by far.
#include <gtest/gtest.h>

#include <ctime>
#include <functional>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Harness;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kTimesMean = false;  // They are those of the sanitizer.
#else
constexpr bool kTimesMean = true;
#endif

// Of this process: what others run meanwhile is not in it.
absl::Duration Timed(const std::function<void()>& what) {
  const std::clock_t from = std::clock();
  what();
  return absl::Seconds(static_cast<double>(std::clock() - from) /
                       CLOCKS_PER_SEC);
}

TEST(SchedulerLoadTest, ThousandJobsAreListedInMilliseconds) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 8);
  for (int i = 0; i < 1000; ++i) h.SubmitJob(Cat("/out", i));
  for (const proto::Grant& grant : h.TakeGrants(w)) h.Finish(w, grant, 50, 5);
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < 5; ++i) {
    best = std::min(best, Timed([&] {
                      proto::ListJobsReply reply;
                      h.core().FillJobs(0, 0, &reply);
                      ASSERT_EQ(reply.jobs_size(), 1000);
                    }));
  }
  RecordProperty("microseconds",
                 static_cast<int>(absl::ToInt64Microseconds(best)));
  if (kTimesMean) {
    EXPECT_LT(best, absl::Milliseconds(100));
  }
}

TEST(SchedulerLoadTest, TenThousandMapsCostMicrosecondsEach) {
  constexpr uint32_t kMaps = 10'000;
  Harness h;
  std::vector<SessionId> workers;
  for (uint64_t i = 1; i <= 4; ++i)
    workers.push_back(h.Join(i, Cat("w", i), 2));
  const JobId job = h.SubmitJob("/out");
  const absl::Duration took = Timed([&] { h.RunAll(workers, kMaps, 4); });
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
  EXPECT_EQ(h.Status(job).attempts().launched(), kMaps + 5u);
  RecordProperty("microseconds_per_map",
                 static_cast<int>(absl::ToInt64Microseconds(took) / kMaps));
  if (kTimesMean) {
    EXPECT_LT(took / kMaps, absl::Microseconds(500));
  }
}

// What a map costs on so many workers, from its grant until its outcome stands
// in the log.
absl::Duration CostOfMap(uint64_t workers) {
  constexpr uint32_t kMaps = 8'000;
  Harness h;
  std::vector<SessionId> sessions;
  for (uint64_t i = 1; i <= workers; ++i) {
    sessions.push_back(h.Join(i, Cat("w", i)));
  }
  const JobId job = h.SubmitJob("/out");
  const absl::Duration took = Timed([&] { h.RunAll(sessions, kMaps, 10); });
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
  return took / kMaps;
}

// A look at each worker in every step would make it some forty times as much.
TEST(SchedulerLoadTest, MapCostsTheSameOnThousandsOfWorkers) {
  const absl::Duration few = CostOfMap(100);
  const absl::Duration many = CostOfMap(4'000);
  RecordProperty("microseconds_on_few",
                 static_cast<int>(absl::ToInt64Microseconds(few)));
  RecordProperty("microseconds_on_many",
                 static_cast<int>(absl::ToInt64Microseconds(many)));
  EXPECT_LT(many, 10 * few);
}

}  // namespace
}  // namespace millrace::master
