#include "common/daemon_setup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <thread>
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

TEST_F(DaemonSetupTest, WhileItWaitsFreedMemoryGoesBack) {
  if (kHoldsOn) GTEST_SKIP() << "sanitizers hold on to what is freed";
  constexpr int64_t kBytes = int64_t{64} << 20;
  constexpr int64_t kBlock = 16 << 10;  // Below what malloc maps by itself.
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<char[]>> blocks;
  for (int64_t bytes = 0; bytes < kBytes; bytes += kBlock) {
    blocks.push_back(std::make_unique<char[]>(kBlock));
  }
  // The last one stays and holds all below it.
  blocks.erase(blocks.begin(), blocks.end() - 1);
  ASSERT_GT(ResidentBytes(), before + kBytes / 2);

  std::atomic<bool> gone = false;
  std::thread watch([&gone, before] {
    Clock& clock = Clock::Real();
    const absl::Duration patience = clock.Monotonic() + absl::Seconds(30);
    while (!gone && clock.Monotonic() < patience) {
      gone = ResidentBytes() < before + kBytes / 4;
      std::this_thread::yield();
    }
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(AwaitEndSignal(absl::Milliseconds(1)), SIGTERM);
  watch.join();
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace millrace
