#include "supervisor/memory_cgroups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/strings.h"
#include "supervisor/testing/fake_cgroups.h"

namespace millrace::supervisor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kSelf = 42;
constexpr uint64_t kLimit = uint64_t{300} << 20;
constexpr char kSelfCgroup[] = "/proc/self/cgroup";

class MemoryCgroupsTest : public testing::Test {
 protected:
  // A service to which systemd has delegated its group.
  void DelegateV2() {
    kernel_.MountV2("/sys/fs/cgroup");
    kernel_.Put("/sys/fs/cgroup/unit", kSelf);
    kernel_.SetFile(kSelfCgroup, "0::/unit\n");
  }
  MemoryCgroups::Found Probe() { return MemoryCgroups::Probe(kernel_, kSelf); }

  FakeCgroups kernel_;
};

TEST_F(MemoryCgroupsTest, VersionTwoWhereTheGroupIsDelegated) {
  DelegateV2();
  const MemoryCgroups::Found found = Probe();
  ASSERT_NE(found.groups, nullptr) << found.said;
  EXPECT_EQ(found.groups->guard(), MemoryGuard::kCgroupV2);
  EXPECT_EQ(found.said, "cgroup v2, below /sys/fs/cgroup/unit");
  // What hands limits down holds no processes.
  EXPECT_THAT(kernel_.MembersOf("/sys/fs/cgroup/unit"), IsEmpty());
  EXPECT_THAT(kernel_.MembersOf("/sys/fs/cgroup/unit/millrace-42-worker"),
              ElementsAre(kSelf));

  const size_t before = kernel_.num_groups();
  auto group = found.groups->Make(kLimit);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(kernel_.num_groups(), before + 1);
  ASSERT_TRUE((*group)->Add(77).ok());
  EXPECT_THAT((*group)->Members(), ElementsAre(77));
  const std::string path = "/sys/fs/cgroup/unit/millrace-42-2";
  EXPECT_EQ(kernel_.File(path + "/memory.max"), Cat(kLimit, "\n"));
  EXPECT_EQ(kernel_.File(path + "/memory.oom.group"), "1\n");
  EXPECT_EQ((*group)->Kills(), 0u);
  kernel_.SetFile(path + "/memory.events", "max 9\noom 0\noom_kill 1\n");
  EXPECT_EQ((*group)->Kills(), 0u) << "the machine's memory was at an end";
  kernel_.SetFile(path + "/memory.events", "max 9\noom 1\noom_kill 2\n");
  EXPECT_EQ((*group)->Kills(), 2u);
  kernel_.SetFile(path + "/memory.peak", "12345\n");
  EXPECT_EQ((*group)->PeakBytes(), 12345u);
}

TEST_F(MemoryCgroupsTest, VersionOne) {
  kernel_.MountV1("/sys/fs/cgroup/memory");
  kernel_.MountV2("/sys/fs/cgroup/unified", "/", /*memory=*/false);
  kernel_.Put("/sys/fs/cgroup/memory/user", kSelf);
  kernel_.Put("/sys/fs/cgroup/memory/user", 43);  // It need not be alone.
  kernel_.Put("/sys/fs/cgroup/unified", kSelf);
  kernel_.SetFile(kSelfCgroup, "9:name=systemd:/\n4:cpu,memory:/user\n0::/\n");
  const MemoryCgroups::Found found = Probe();
  ASSERT_NE(found.groups, nullptr) << found.said;
  EXPECT_EQ(found.groups->guard(), MemoryGuard::kCgroupV1);
  EXPECT_THAT(kernel_.MembersOf("/sys/fs/cgroup/unified"), ElementsAre(kSelf));
  auto group = found.groups->Make(kLimit + 1);
  ASSERT_TRUE(group.ok()) << group.status();
  const std::string path = "/sys/fs/cgroup/memory/user/millrace-42-2";
  EXPECT_EQ(kernel_.File(path + "/memory.limit_in_bytes"), Cat(kLimit, "\n"));
  kernel_.SetFile(path + "/memory.oom_control",
                  "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  kernel_.SetFile(path + "/memory.max_usage_in_bytes", "999\n");
  EXPECT_EQ((*group)->PeakBytes(), 999u);
  EXPECT_EQ((*group)->Kills(), 0u) << "the machine's memory was at an end";
  kernel_.SetFile(path + "/memory.memsw.max_usage_in_bytes",
                  Cat(kLimit - 4096, "\n"));
  EXPECT_EQ((*group)->Kills(), 1u);
  kernel_.SetFile(path + "/memory.memsw.max_usage_in_bytes", "0\n");
  kernel_.SetFile(path + "/memory.max_usage_in_bytes",
                  Cat(kLimit - (uint64_t{1} << 20), "\n"));
  EXPECT_EQ((*group)->Kills(), 1u);
  group->reset();
  EXPECT_FALSE(kernel_.HasDirectory(path));
}

TEST_F(MemoryCgroupsTest, ContainersShowTheHostsNames) {
  // No namespace: the host's path, and the container's own group mounted.
  kernel_.MountV1("/sys/fs/cgroup/memory", "/docker/abc");
  kernel_.Put("/sys/fs/cgroup/memory/below", kSelf);
  kernel_.SetFile(kSelfCgroup, "4:memory:/docker/abc/below\n");
  MemoryCgroups::Found found = Probe();
  ASSERT_NE(found.groups, nullptr) << found.said;
  EXPECT_EQ(found.groups->path(), "/sys/fs/cgroup/memory/below");
  // Names that lead nowhere, in a mount whose root is another's.
  FakeCgroups other;
  other.MountV1("/cg/memory", "/x");
  other.Put("/cg/memory", kSelf);
  other.SetFile(kSelfCgroup, "4:memory:/docker/abc\n");
  found.groups.reset();
  found = MemoryCgroups::Probe(other, kSelf);
  ASSERT_NE(found.groups, nullptr) << found.said;
  EXPECT_EQ(found.groups->path(), "/cg/memory");
}

TEST_F(MemoryCgroupsTest, NoneAtAll) {
  MemoryCgroups::Found found = Probe();
  EXPECT_EQ(found.groups, nullptr);
  kernel_.SetFile(kSelfCgroup, "0::/\n");
  kernel_.SetFile("/proc/self/mountinfo", "nothing - of\nthe kind\n\n");
  found = Probe();
  EXPECT_EQ(found.groups, nullptr);
  EXPECT_EQ(found.said,
            "cgroup v2: not mounted here; cgroup v1: not mounted here");
  // Mounted, and this process is in none of it.
  kernel_.MountV2("/sys/fs/cgroup");
  found = Probe();
  EXPECT_EQ(found.groups, nullptr);
  EXPECT_THAT(found.said, HasSubstr("not among those"));
}

TEST_F(MemoryCgroupsTest, AGroupThatIsSharedIsLeftAlone) {
  DelegateV2();
  kernel_.Put("/sys/fs/cgroup/unit", 43);
  const size_t before = kernel_.num_groups();
  const MemoryCgroups::Found found = Probe();
  EXPECT_EQ(found.groups, nullptr);
  EXPECT_THAT(found.said, HasSubstr("not this process's alone"));
  EXPECT_THAT(kernel_.MembersOf("/sys/fs/cgroup/unit"), ElementsAre(kSelf, 43));
  EXPECT_EQ(kernel_.num_groups(), before);
}

TEST_F(MemoryCgroupsTest, WhatIsForbiddenIsUndone) {
  for (const char* name : {"", "cgroup.subtree_control", "memory.max"}) {
    SCOPED_TRACE(name);
    kernel_ = FakeCgroups();
    DelegateV2();
    kernel_.Forbid(name);
    const size_t before = kernel_.num_groups();
    const MemoryCgroups::Found found = Probe();
    EXPECT_EQ(found.groups, nullptr);
    EXPECT_THAT(found.said, AllOf(HasSubstr("cgroup v2: "),
                                  HasSubstr("/sys/fs/cgroup/unit")));
    EXPECT_THAT(kernel_.MembersOf("/sys/fs/cgroup/unit"), ElementsAre(kSelf));
    EXPECT_EQ(kernel_.num_groups(), before);
  }
}

TEST_F(MemoryCgroupsTest, ALimitThatIsNotKeptIsNone) {
  class Deaf final : public CgroupFiles {
   public:
    explicit Deaf(FakeCgroups& kernel) : kernel_(kernel) {}
    absl::StatusOr<std::string> Read(const std::string& path) override {
      if (path.ends_with("limit_in_bytes")) return "9223372036854771712\n";
      return kernel_.Read(path);
    }
    absl::Status Write(const std::string& path, std::string_view s) override {
      return kernel_.Write(path, s);
    }
    absl::Status MakeDirectory(const std::string& path) override {
      return kernel_.MakeDirectory(path);
    }
    absl::Status RemoveDirectory(const std::string& path) override {
      return kernel_.RemoveDirectory(path);
    }
    std::vector<std::string> Directories(const std::string& path) override {
      return kernel_.Directories(path);
    }

   private:
    FakeCgroups& kernel_;
  };
  kernel_.MountV1("/m");
  kernel_.Put("/m", kSelf);
  kernel_.SetFile(kSelfCgroup, "4:memory:/\n");
  Deaf deaf(kernel_);
  const MemoryCgroups::Found found = MemoryCgroups::Probe(deaf, kSelf);
  EXPECT_EQ(found.groups, nullptr);
  EXPECT_THAT(found.said, HasSubstr("does not keep a limit"));
  EXPECT_EQ(kernel_.num_groups(), 1u);
}

TEST_F(MemoryCgroupsTest, WhatDeadProcessesLeftIsRemoved) {
  kernel_.MountV1("/m");
  kernel_.Put("/m", kSelf);
  kernel_.SetFile(kSelfCgroup, "4:memory:/\n");
  // Beyond the highest number that a process can have.
  ASSERT_TRUE(kernel_.MakeDirectory("/m/millrace-5000001-3").ok());
  ASSERT_TRUE(kernel_.MakeDirectory("/m/millrace-5000001-4").ok());
  kernel_.Put("/m/millrace-5000001-4", 99);
  const std::string alive = Cat("/m/millrace-", getpid(), "-1");
  ASSERT_TRUE(kernel_.MakeDirectory(alive).ok());
  ASSERT_TRUE(kernel_.MakeDirectory("/m/millrace-else").ok());
  ASSERT_TRUE(kernel_.MakeDirectory("/m/other-5000001-1").ok());
  const MemoryCgroups::Found found = Probe();
  ASSERT_NE(found.groups, nullptr) << found.said;
  EXPECT_FALSE(kernel_.HasDirectory("/m/millrace-5000001-3"));
  EXPECT_TRUE(kernel_.HasDirectory("/m/millrace-5000001-4")) << "in use";
  EXPECT_TRUE(kernel_.HasDirectory(alive));
  EXPECT_TRUE(kernel_.HasDirectory("/m/millrace-else"));
  EXPECT_TRUE(kernel_.HasDirectory("/m/other-5000001-1"));
}

TEST_F(MemoryCgroupsTest, AGroupThatIsNotEmptyIsRemovedLater) {
  kernel_.MountV1("/m");
  kernel_.Put("/m", kSelf);
  kernel_.SetFile(kSelfCgroup, "4:memory:/\n");
  const MemoryCgroups::Found found = Probe();
  ASSERT_NE(found.groups, nullptr) << found.said;
  auto group = found.groups->Make(kLimit);
  ASSERT_TRUE(group.ok() && (*group)->Add(77).ok());
  group->reset();
  EXPECT_TRUE(kernel_.HasDirectory("/m/millrace-42-2"));
  ASSERT_TRUE(kernel_.Write("/m/cgroup.procs", "77").ok());
  group = found.groups->Make(kLimit);
  EXPECT_FALSE(kernel_.HasDirectory("/m/millrace-42-2"));
}

}  // namespace
}  // namespace millrace::supervisor
