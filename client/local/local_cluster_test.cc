#include "client/local/local_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "client/cluster_client.h"
#include "client/local/cluster_record.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace::client {
namespace {

using ::testing::HasSubstr;

std::string MessageOf(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

// Sets an environment variable that started processes inherit.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    setenv(name, value, 1);
  }
  ~ScopedVariable() { unsetenv(name_); }

 private:
  const char* const name_;
};

class LocalClusterTest : public ::testing::Test {
 protected:
  LocalClusterTest() {
    FileSystem& fs = FileSystem::Posix();
    EXPECT_TRUE(fs.MakeDirectory(temp_ / "bin").ok());
    for (const char* name :
         {"bin/millrace-master", "bin/millrace-worker", "bin/millrace-chaos"}) {
      EXPECT_EQ(symlink(MILLRACE_FAKE_DAEMON, (temp_ / name).c_str()), 0);
    }
    options_.directory = temp_ / "deep/cluster";
    options_.bin_directory = temp_ / "bin";
    options_.workers = 2;
    options_.patience = absl::Seconds(20);
  }
  ~LocalClusterTest() override { Down(absl::Seconds(10)).IgnoreError(); }

  absl::Status Down(absl::Duration grace) {
    return StopLocalCluster(options_.directory, grace, Clock::Real()).status();
  }

  std::string ReadIn(std::string_view name) {
    return temp_.Read(Cat("deep/cluster/", name));
  }

  pid_t JobProcess(std::string_view worker) {
    return static_cast<pid_t>(std::stol(ReadIn(Cat(worker, "/job_process"))));
  }

  TempDir temp_;
  LocalClusterOptions options_;
};

TEST_F(LocalClusterTest, UpWaitsUntilAllHaveJoinedAndDownStopsAll) {
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ(cluster->processes.size(), 3u);
  EXPECT_EQ(cluster->processes[0].name, "master-1");
  EXPECT_EQ(cluster->masters, cluster->processes[0].address);
  EXPECT_TRUE(cluster->AllRunning());
  for (const LocalProcess& process : cluster->processes) {
    EXPECT_TRUE(IsRunning(process.identity)) << process.name;
    EXPECT_EQ(getsid(process.identity.pid), process.identity.pid);
  }
  const std::string flags = ReadIn("worker-2/flags");
  EXPECT_THAT(flags, HasSubstr("--masters=" + cluster->masters + "\n"));
  EXPECT_THAT(flags, HasSubstr("--name=worker-2\n"));
  EXPECT_THAT(flags, HasSubstr("--host-id=worker-2\n"));
  EXPECT_THAT(flags, HasSubstr("--listen=127.0.0.1:0\n"));

  EXPECT_THAT(ReadIn("master-1/flags"),
              ::testing::Not(HasSubstr("--finished-jobs")));

  const auto seen = ReadLocalCluster(options_.directory);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(seen->AllRunning());
  EXPECT_EQ(seen->masters, cluster->masters);

  const pid_t job_process = JobProcess("worker-1");
  ASSERT_TRUE(Down(absl::Seconds(10)).ok());
  for (const LocalProcess& process : cluster->processes) {
    EXPECT_FALSE(IsRunning(process.identity)) << process.name;
  }
  EXPECT_TRUE(ProcessEnds(job_process, absl::Seconds(10)));
  EXPECT_TRUE(absl::IsNotFound(ReadLocalCluster(options_.directory).status()));
  EXPECT_TRUE(absl::IsNotFound(Down(absl::Seconds(1))));
}

TEST_F(LocalClusterTest, MastersAreToldHowManyFinishedJobsTheyKeep) {
  options_.finished_jobs = 7;
  ASSERT_TRUE(StartLocalCluster(options_).ok());
  EXPECT_THAT(ReadIn("master-1/flags"), HasSubstr("--finished-jobs=7\n"));
  ASSERT_TRUE(Down(absl::Seconds(10)).ok());
}

TEST_F(LocalClusterTest, ChaosSaysHowTheOthersAreStartedAndEndsBeforeThem) {
  options_.chaos = {"--spec", "havoc"};
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ(cluster->processes.size(), 4u);
  EXPECT_EQ(cluster->processes[0].name, "chaos");
  EXPECT_EQ(cluster->processes[0].role, LocalRole::kChaos);
  EXPECT_EQ(cluster->masters, cluster->processes[1].address);
  EXPECT_EQ(ReadIn("run/chaos.flags"), "havoc");
  const std::string flags = ReadIn("worker-1/flags");
  EXPECT_THAT(flags, HasSubstr("--advertise=127.0.0.1:7\n"));
  EXPECT_THAT(flags, HasSubstr("--slow=3\n"));
  EXPECT_EQ(ReadIn("worker-1/chaos"), "here");
  EXPECT_THAT(ReadIn("worker-2/flags"),
              ::testing::Not(HasSubstr("--advertise")));
  const std::string begin = temp_ / "deep/cluster/run/chaos.begin";
  EXPECT_TRUE(FileSystem::Posix().Stat(begin).ok()) << "all are ready";
  const auto seen = ReadLocalCluster(options_.directory);
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->processes[0].role, LocalRole::kChaos);
  ASSERT_TRUE(Down(absl::Seconds(10)).ok());
  EXPECT_FALSE(FileSystem::Posix().Stat(begin).ok());
  EXPECT_EQ(ReadIn("run/chaos.calm"), "");
  for (const LocalProcess& process : cluster->processes) {
    EXPECT_FALSE(IsRunning(process.identity)) << process.name;
  }
}

TEST_F(LocalClusterTest, SeveralMastersAreMadeOneGroup) {
  options_.masters = 3;
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ(cluster->processes.size(), 5u);
  std::string all;
  for (int i = 1; i <= 3; ++i) {
    const LocalProcess& master = cluster->processes[static_cast<size_t>(i - 1)];
    EXPECT_EQ(master.name, Cat("master-", i));
    EXPECT_EQ(master.role, LocalRole::kMaster);
    all += Cat(i > 1 ? "," : "", master.address);
    const std::string flags = ReadIn(Cat("master-", i, "/flags"));
    EXPECT_EQ(flags.find("--join=") != std::string::npos, i > 1) << flags;
    EXPECT_EQ(ReadIn(Cat("run/master-", i, ".listen")), master.address + "\n");
  }
  EXPECT_EQ(cluster->masters, all);
  EXPECT_THAT(ReadIn("worker-1/flags"), HasSubstr("--masters=" + all + "\n"));
  const auto client = ClusterClient::Connect(cluster->masters);
  EXPECT_EQ((*client)->Cluster()->masters_size(), 2) << "the two that joined";

  // A later start keeps their number and their ports.
  ASSERT_TRUE(Down(absl::Seconds(10)).ok());
  options_.masters = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(StartLocalCluster(options_).status()));
  options_.masters = 0;
  const std::string before = ReadIn("run/master-2.listen");
  const auto again = StartLocalCluster(options_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->processes.size(), 5u);
  EXPECT_THAT(ReadIn("master-2/flags"), HasSubstr("--listen=" + before));
}

TEST_F(LocalClusterTest, ASecondOneInTheDirectoryIsRefusedWhileItRuns) {
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const auto second = StartLocalCluster(options_);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
  EXPECT_THAT(MessageOf(second.status()), HasSubstr(cluster->masters));
  ASSERT_TRUE(Down(absl::Seconds(10)).ok());
  const auto third = StartLocalCluster(options_);
  EXPECT_TRUE(third.ok()) << third.status();
}

TEST_F(LocalClusterTest, OneWithADeadProcessIsSeenAndStopped) {
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  kill(cluster->processes[1].identity.pid, SIGKILL);
  ASSERT_TRUE(
      ProcessEnds(cluster->processes[1].identity.pid, absl::Seconds(10)));
  const auto seen = ReadLocalCluster(options_.directory);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(seen->processes[0].running);
  EXPECT_FALSE(seen->processes[1].running);
  EXPECT_FALSE(seen->AllRunning());
  EXPECT_TRUE(seen->AnyRunning());
  kill(JobProcess("worker-1"), SIGKILL);  // Its worker cannot any more.
  EXPECT_TRUE(Down(absl::Seconds(10)).ok());
}

TEST_F(LocalClusterTest, AStubbornProcessIsKilledWithWhatItStarted) {
  const ScopedVariable stubborn("FAKE_DAEMON_STUBBORN", "worker-2");
  const auto cluster = StartLocalCluster(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const pid_t job_process = JobProcess("worker-2");
  ASSERT_TRUE(Down(absl::Milliseconds(100)).ok());
  EXPECT_FALSE(IsRunning(cluster->processes[2].identity));
  EXPECT_TRUE(ProcessEnds(job_process, absl::Seconds(10)));
}

TEST_F(LocalClusterTest, AWorkerThatEndsIsNamedWithItsLogAndAllIsStopped) {
  const ScopedVariable crash("FAKE_DAEMON_CRASH", "worker-1");
  const auto cluster = StartLocalCluster(options_);
  EXPECT_TRUE(absl::IsUnavailable(cluster.status())) << cluster.status();
  EXPECT_THAT(MessageOf(cluster.status()), HasSubstr("worker-1"));
  EXPECT_THAT(MessageOf(cluster.status()), HasSubstr("the disk is on fire"));
  EXPECT_TRUE(absl::IsNotFound(ReadLocalCluster(options_.directory).status()));
}

TEST_F(LocalClusterTest, AWorkerThatDoesNotJoinIsNamedWhenTimeIsUp) {
  const ScopedVariable shy("FAKE_DAEMON_SHY", "worker-2");
  options_.patience = absl::Seconds(2);
  const auto cluster = StartLocalCluster(options_);
  EXPECT_TRUE(absl::IsDeadlineExceeded(cluster.status())) << cluster.status();
  EXPECT_THAT(MessageOf(cluster.status()),
              HasSubstr("worker-2 to join the cluster"));
  EXPECT_TRUE(absl::IsNotFound(ReadLocalCluster(options_.directory).status()));
}

TEST_F(LocalClusterTest, AnInterruptStopsWhatWasStarted) {
  const ScopedVariable shy("FAKE_DAEMON_SHY", "worker-2");
  rpc::StopSignal stop;
  options_.stop = &stop;
  ProcessIdentity master;
  options_.on_step = [&](std::string_view step) {
    if (step.find("worker") == std::string_view::npos) return;
    master = ReadLocalCluster(options_.directory)->processes[0].identity;
    stop.Stop();
  };
  const auto cluster = StartLocalCluster(options_);
  EXPECT_TRUE(absl::IsCancelled(cluster.status())) << cluster.status();
  EXPECT_GT(master.pid, 0);
  EXPECT_FALSE(IsRunning(master));
}

TEST_F(LocalClusterTest, WhatMakesNoClusterIsRefusedBeforeAnythingStarts) {
  for (const int masters : {-1, 8}) {
    options_.masters = masters;
    EXPECT_TRUE(absl::IsInvalidArgument(StartLocalCluster(options_).status()));
  }
  options_.masters = 1;
  options_.workers = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(StartLocalCluster(options_).status()));
  options_.workers = 1;
  const std::string directory = options_.directory;
  options_.directory = temp_.Write("file", "");
  EXPECT_TRUE(absl::IsInvalidArgument(StartLocalCluster(options_).status()));
  options_.directory = directory;
  options_.bin_directory = temp_ / "nowhere";
  const auto cluster = StartLocalCluster(options_);
  EXPECT_TRUE(absl::IsNotFound(cluster.status()));
  EXPECT_THAT(MessageOf(cluster.status()), HasSubstr("millrace-master"));
  EXPECT_FALSE(FileSystem::Posix().Stat(options_.directory).ok());
}

// ------------------------------------------------------------------- records

LocalCluster OneProcess(const ProcessIdentity& identity) {
  LocalCluster cluster;
  cluster.directory = "/d";
  cluster.masters = "127.0.0.1:5";
  cluster.processes.push_back({.name = "master-1",
                               .role = LocalRole::kMaster,
                               .identity = identity,
                               .address = "127.0.0.1:5",
                               .log = "/d/log"});
  return cluster;
}

ProcessIdentity Self() {
  // Our own start time, as the kernel tells it.
  std::ifstream file("/proc/self/stat");
  const std::string stat(std::istreambuf_iterator<char>(file), {});
  std::string rest = stat.substr(stat.rfind(')') + 2);
  for (int field = 3; field < 22; ++field) {
    rest = rest.substr(rest.find(' ') + 1);
  }
  return {getpid(), std::stoull(rest)};
}

TEST(ClusterRecordTest, ComesBackAsItWas) {
  const auto parsed =
      ParseCluster(SerializeCluster(OneProcess(Self()), "boot"), "/d", "boot");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->masters, "127.0.0.1:5");
  ASSERT_EQ(parsed->processes.size(), 1u);
  EXPECT_EQ(parsed->processes[0].identity, Self());
  EXPECT_EQ(parsed->processes[0].log, "/d/log");
  EXPECT_EQ(parsed->processes[0].role, LocalRole::kMaster);
  EXPECT_TRUE(parsed->processes[0].running);
}

TEST(ClusterRecordTest, RecordsOfBeforeThereWasChaosAreRead) {
  std::string old = SerializeCluster(OneProcess(Self()), "boot");
  const std::string role = "\"role\": \"master\"";
  const size_t at = old.find(role);
  ASSERT_NE(at, std::string::npos) << old;
  old.replace(at, role.size(), "\"master\": true");
  const auto parsed = ParseCluster(old, "/d", "boot");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->processes[0].role, LocalRole::kMaster);
}

TEST(ClusterRecordTest, ThisBootHasAName) {
  EXPECT_EQ(BootId().size(), 36u) << BootId();
  EXPECT_EQ(BootId(), BootId());
}

TEST(ClusterRecordTest, AnotherProcessWithTheNumberIsNotOurs) {
  ProcessIdentity later = Self();
  ++later.start_ticks;
  EXPECT_FALSE(IsRunning(later));
  EXPECT_FALSE(IsRunning({}));
  // After a boot both may come again.
  const auto parsed =
      ParseCluster(SerializeCluster(OneProcess(Self()), "boot"), "/d", "next");
  EXPECT_FALSE(parsed->processes[0].running);
}

TEST(ClusterRecordTest, StopDoesNotTouchAnotherProcessWithTheNumber) {
  ProcessIdentity later = Self();
  ++later.start_ticks;
  // We would not be there to tell.
  EXPECT_TRUE(StopDaemons({later}, absl::Seconds(1), Clock::Real()).ok());
}

TEST(ClusterRecordTest, DamageIsNoticed) {
  const std::string good = SerializeCluster(OneProcess(Self()), "boot");
  for (const std::string& bad :
       {std::string(), std::string("[]"), good.substr(0, good.size() / 2),
        std::string("{\"format_version\": 2}")}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseCluster(bad, "/d", "boot").status()))
        << bad;
  }
}

}  // namespace
}  // namespace millrace::client
