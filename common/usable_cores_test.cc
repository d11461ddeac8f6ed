#include "common/usable_cores.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <string>
#include <thread>

#include "tests/testing/memory_file_system.h"

namespace millrace {
namespace {

class UsableCoresTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    for (size_t at = path.find('/', 1); at != std::string::npos;
         at = path.find('/', at + 1)) {
      fs_.MakeDirectory(path.substr(0, at)).IgnoreError();  // Or it is there.
    }
    ASSERT_TRUE(WriteWholeFile(fs_, path, text).ok()) << path;
  }

  MemoryFileSystem fs_;
};

TEST_F(UsableCoresTest, WithoutCgroupsTheAffinityMaskDecides) {
  EXPECT_EQ(UsableCores(3, fs_), 3);
  EXPECT_EQ(UsableCores(0, fs_), 1);
}

TEST_F(UsableCoresTest, AQuotaOfVersion2LimitsThem) {
  Write("/proc/self/cgroup", "0::/system.slice/worker.service\n");
  Write("/sys/fs/cgroup/system.slice/worker.service/cpu.max",
        "250000 100000\n");
  EXPECT_EQ(UsableCores(8, fs_), 3);  // Two and a half.
  EXPECT_EQ(UsableCores(2, fs_), 2);
}

TEST_F(UsableCoresTest, TheTightestCgroupAroundItCounts) {
  Write("/proc/self/cgroup", "0::/outer/inner\n");
  Write("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/outer/cpu.max", "200000 100000\n");
  EXPECT_EQ(UsableCores(8, fs_), 2);
}

TEST_F(UsableCoresTest, InAContainerTheTopCountsWhateverTheHostCallsIt) {
  Write("/proc/self/cgroup", "0::/docker/0123\n");
  Write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(UsableCores(8, fs_), 1);
}

TEST_F(UsableCoresTest, AQuotaOfVersion1LimitsThem) {
  Write("/proc/self/cgroup",
        "5:memory:/job\n4:cpu,cpuacct:/job\n0::/unified\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(UsableCores(8, fs_), 4);
}

TEST_F(UsableCoresTest, WhatMakesNoSenseLimitsNothing) {
  Write("/proc/self/cgroup", "nonsense\n0::relative\n0::/a\n");
  Write("/sys/fs/cgroup/a/cpu.max", "many 0\n");
  Write("/sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_EQ(UsableCores(8, fs_), 8);
}

TEST(UsableCoresHereTest, FollowTheAffinityOfTheProcess) {
  // In a thread of its own, which takes its mask with it.
  std::thread([] {
    cpu_set_t all;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    }
    EXPECT_LE(UsableCores(), CPU_COUNT(&all));
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(UsableCores(), 1);
  }).join();
}

}  // namespace
}  // namespace millrace
