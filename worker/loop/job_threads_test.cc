#include "worker/loop/job_threads.h"

#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"

namespace millrace::worker {
namespace {

TEST(JobThreadsTest, RunsAllWorkInOrderOnOneThread) {
  JobThreads threads(1);
  std::vector<int> order;
  absl::BlockingCounter left(100);
  for (int i = 0; i < 100; ++i) {
    threads.Run([&, i] {
      order.push_back(i);  // One thread: no lock.
      left.DecrementCount();
    });
  }
  left.Wait();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(JobThreadsTest, WorkThatHangsHoldsUpOneThread) {
  JobThreads threads(2);
  absl::Notification release;
  absl::Notification hanging;
  threads.Run([&] {
    hanging.Notify();
    release.WaitForNotification();
  });
  hanging.WaitForNotification();
  absl::BlockingCounter left(50);
  for (int i = 0; i < 50; ++i) {
    threads.Run([&] { left.DecrementCount(); });
  }
  left.Wait();  // The test hangs if they wait for the first.
  release.Notify();
}

TEST(JobThreadsTest, NeverMoreThreadsThanAllowed) {
  JobThreads threads(3);
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  absl::BlockingCounter left(500);
  for (int i = 0; i < 500; ++i) {
    threads.Run([&] {
      const int now = ++running;
      for (int seen = most; now > seen;) {
        if (most.compare_exchange_weak(seen, now)) break;
      }
      --running;
      left.DecrementCount();
    });
  }
  left.Wait();
  EXPECT_LE(most, 3);
}

TEST(JobThreadsTest, FinishWaitsForWhatBeganAndRunsNothingMore) {
  JobThreads threads(1);
  absl::Notification began;
  std::atomic<bool> finishing = false;
  std::atomic<bool> done = false;
  threads.Run([&] {
    began.Notify();
    while (!finishing) std::this_thread::yield();
    done = true;
  });
  began.WaitForNotification();
  std::thread finisher([&] {
    finishing = true;
    threads.Finish();
    EXPECT_TRUE(done);
  });
  finisher.join();
  std::atomic<bool> late = false;
  threads.Run([&] { late = true; });
  threads.Finish();
  EXPECT_FALSE(late);
}

}  // namespace
}  // namespace millrace::worker
