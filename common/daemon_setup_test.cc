#include "common/daemon_setup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
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
  constexpr int64_t kBytes = int64_t{48} << 20;  // An arena's heap has 64 MiB.
  for (const bool other_arena : {false, true}) {
    const int64_t before = ResidentBytes();
    std::unique_ptr<char[]> last;
    const auto work = [&last] { last = AllocateAndFree(kBytes); };
    other_arena ? std::thread(work).join() : work();
    ASSERT_GT(ResidentBytes(), before + kBytes / 2) << other_arena;
    EXPECT_TRUE(ShrinksBelow(before + kBytes / 4)) << other_arena;
  }
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
    // In another arena.
    std::thread([bytes] {
      EXPECT_LT(FaultsOfBuffers(bytes), 1000) << bytes;
    }).join();
  }
}

}  // namespace
}  // namespace millrace
