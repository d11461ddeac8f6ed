#include "common/daemon_setup.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"

namespace millrace {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kHoldsOn = true;
#else
constexpr bool kHoldsOn = false;
#endif

// Blocks its signals for the rest of this process, as daemons do.
class DaemonSetupTest : public testing::Test {
 protected:
  void SetUp() override { SetUpDaemon(); }
};

int64_t ResidentBytes() {
  int64_t all = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(DaemonSetupTest, EachSignalThatAsksForTheEndIsReturned) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    kill(getpid(), number);
    EXPECT_EQ(AwaitEndSignal(), number);
  }
}

TEST_F(DaemonSetupTest, WhileItWaitsItLooksAfterTheHouse) {
  int times = 0;
  const auto housekeeping = [&times] {
    if (++times == 3) kill(getpid(), SIGTERM);
  };
  EXPECT_EQ(AwaitEndSignal(housekeeping, absl::Milliseconds(1)), SIGTERM);
  EXPECT_EQ(times, 3);
}

// The last block, which holds all that were allocated below it and are freed.
std::unique_ptr<char[]> AllocateAndFree(int64_t bytes_max) {
  constexpr int64_t kBlock = 16 << 10;  // Below what malloc maps by itself.
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int64_t bytes = 0; bytes < bytes_max; bytes += kBlock) {
    blocks.push_back(std::make_unique<char[]>(kBlock));
  }
  return std::move(blocks.back());
}

// Whether AwaitEndSignal makes it less than so many bytes in a while.
bool ShrinksBelow(int64_t resident) {
  std::atomic<bool> gone = false;
  std::thread watch([&gone, resident] {
    Clock& clock = Clock::Real();
    const absl::Duration patience = clock.Monotonic() + absl::Seconds(30);
    while (!gone && clock.Monotonic() < patience) {
      gone = ResidentBytes() < resident;
      std::this_thread::yield();
    }
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(AwaitEndSignal(nullptr, absl::Milliseconds(1)), SIGTERM);
  watch.join();
  return gone;
}

TEST_F(DaemonSetupTest, WhileItWaitsFreedMemoryGoesBack) {
  if (kHoldsOn) GTEST_SKIP() << "sanitizers hold on to what is freed";
  constexpr int64_t kBytes = int64_t{64} << 20;
  for (const bool other_thread : {false, true}) {
    const int64_t before = ResidentBytes();
    std::unique_ptr<char[]> last;
    const auto work = [&last] { last = AllocateAndFree(kBytes); };
    other_thread ? std::thread(work).join() : work();
    ASSERT_GT(ResidentBytes(), before + kBytes / 2) << other_thread;
    EXPECT_TRUE(ShrinksBelow(before + kBytes / 4)) << other_thread;
  }
}

TEST_F(DaemonSetupTest, WhatTookLongToGiveBackIsNotFollowedByMoreAtOnce) {
  if (kHoldsOn) GTEST_SKIP() << "sanitizers hold on to what is freed";
  constexpr int64_t kBytes = int64_t{64} << 20;
  // Some milliseconds, which are as many seconds of rest.
  std::unique_ptr<char[]> last = AllocateAndFree(kBytes);
  int64_t before = 0;
  int64_t after = 0;
  int times = 0;
  const auto housekeeping = [&] {
    ++times;
    if (times == 2) {
      before = ResidentBytes();
      last = AllocateAndFree(kBytes);
    }
    if (times == 5) {
      after = ResidentBytes();
      kill(getpid(), SIGTERM);
    }
  };
  EXPECT_EQ(AwaitEndSignal(housekeeping, absl::Milliseconds(1)), SIGTERM);
  EXPECT_GT(after, before + kBytes / 2);
}

// Whether as much as stays for the next burst goes back when another thread had
// it.
bool TheEndOfTheHeapGoesBack() {
  constexpr int64_t kBytes = int64_t{12} << 20;
  malloc_trim(0);
  const int64_t before = ResidentBytes();
  std::thread([] { AllocateAndFree(kBytes).reset(); }).join();
  return ResidentBytes() > before + kBytes / 2 &&
         ShrinksBelow(before + kBytes / 4);
}

// In a process of its own: in this one other tests may have had threads, which
// had arenas, before the set-up.
TEST_F(DaemonSetupTest, WhileItWaitsTheEndOfTheHeapGoesBackToo) {
  if (kHoldsOn) GTEST_SKIP() << "sanitizers hold on to what is freed";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::_Exit(TheEndOfTheHeapGoesBack() ? 0 : 1),
              testing::ExitedWithCode(0), "");
}

int64_t PageFaults() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_minflt;
}

// As gRPC reads: into many buffers, which are all free a moment later. Returns
// the pages that were taken from the system meanwhile.
int64_t FaultsOfBuffers(size_t bytes) {
  constexpr int kRounds = 100;
  const size_t count = (2 << 20) / bytes;
  int64_t before = 0;
  for (int round = 0; round <= kRounds; ++round) {
    if (round == 1) before = PageFaults();
    std::vector<std::unique_ptr<char[]>> buffers;
    for (size_t i = 0; i < count; ++i) {
      buffers.push_back(std::make_unique_for_overwrite<char[]>(bytes));
      std::memset(buffers.back().get(), round, bytes);
    }
  }
  return PageFaults() - before;
}

TEST_F(DaemonSetupTest, BuffersThatComeAndGoAreNotTakenFromTheSystemAnew) {
  if (kHoldsOn) GTEST_SKIP() << "sanitizers have a malloc of their own";
  for (const size_t bytes : {64 << 10, 256 << 10, 1 << 20}) {
    // Each page of each round would be 51,200.
    EXPECT_LT(FaultsOfBuffers(bytes), 1000) << bytes;
    // From another thread.
    std::thread([bytes] {
      EXPECT_LT(FaultsOfBuffers(bytes), 1000) << bytes;
    }).join();
  }
}

}  // namespace
}  // namespace millrace
