// The leader of three masters dies at each step of an output commit (steps C0
// to C8), before and after what is made durable and what is sent. There must be
// one whole output in the end, and at no time a part of one.
//
//   MILLRACE_CRASHES        how often at each point; default 1
//   MILLRACE_CRASH_RECORD   a file that remembers what has passed, one line for
//                           each time, so that a later run goes on from there
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/group_case.h"

namespace millrace {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(90);

struct Crash {
  std::string point;
  // Reached by a worker, which waits there while the leader is killed; else by
  // the masters, which die there.
  bool in_worker = false;
};

std::string NameOf(const Crash& crash) {
  std::string name = crash.point;
  for (char& c : name) {
    if (c == '.' || c == '>') c = '_';
  }
  return name;
}

std::vector<Crash> AllCrashes() {
  std::vector<Crash> all;
  // C0, C4 and C5 are a worker's.
  for (const char* point : {"worker.outcome", "commit.moved", "commit.manifest",
                            "commit.before_rename", "commit.renamed"}) {
    all.push_back({point, true});
  }
  // C1, C3, C6 and the end of C8 are entries of the log.
  for (const char* entry : {"ReduceWon", "Decided", "Committed", "Cleaned"}) {
    const std::string proposed = Cat("propose.", entry);
    all.push_back({proposed});
    for (const char* then :
         {"log.before_sync", "log.synced", "raft.send", "raft.sent"}) {
      all.push_back({Cat(proposed, ">", then)});
    }
    // All masters die there.
    all.push_back({Cat("apply.", entry)});
    all.push_back({Cat("applied.", entry)});
  }
  // C2, C4 and C8 begin with a command.
  for (const char* command : {"check", "publish", "drop_job"}) {
    all.push_back({Cat("send.", command)});
    all.push_back({Cat("sent.", command)});
  }
  return all;
}

class GroupCrashTest : public GroupTest,
                       public testing::WithParamInterface<Crash> {
 protected:
  static int Times() {
    const char* times = std::getenv("MILLRACE_CRASHES");
    return times == nullptr ? 1 : std::max(1, std::atoi(times));
  }
  static int Passed(const std::string& name) {
    const char* record = std::getenv("MILLRACE_CRASH_RECORD");
    if (record == nullptr) return 0;
    std::ifstream in(record);
    int passed = 0;
    for (std::string line; std::getline(in, line);) passed += line == name;
    return passed;
  }
  static void Remember(const std::string& name) {
    const char* record = std::getenv("MILLRACE_CRASH_RECORD");
    if (record != nullptr) std::ofstream(record, std::ios::app) << name << "\n";
  }

  void RunOnce(const Crash& crash);
  // Not when nobody says so within a second: masters may have to be revived.
  bool HasSucceeded(const std::string& job) const {
    const ProgramResult status =
        cluster_->Cli({"--patience", "1s", "status", job, "-o", "json"});
    return status.exit_code == 0 &&
           status.out.find("\"state\": \"SUCCEEDED\"") != std::string::npos;
  }
  // Starts again, without faults, whoever has died; how many.
  int Revive();
  // The output is not there, or all of it is.
  void ExpectWholeOrAbsent() const;
};

int GroupCrashTest::Revive() {
  int revived = 0;
  for (int i = 0; i < cluster_->num_masters(); ++i) {
    if (cluster_->master(i).running()) continue;
    cluster_->master(i).SetEnvironment({});
    cluster_->StartMaster(i);
    ++revived;
  }
  return revived;
}

void GroupCrashTest::ExpectWholeOrAbsent() const {
  const std::filesystem::path out = data_ / "out";
  if (!std::filesystem::exists(out)) return;
  for (const char* name :
       {"_MANIFEST", "part-00000", "part-00001", "part-00002"}) {
    EXPECT_TRUE(std::filesystem::exists(out / name)) << name;
  }
}

void GroupCrashTest::RunOnce(const Crash& crash) {
  MiniCluster::Options options;
  options.masters = 3;
  options.workers = 1;
  options.slots = 2;
  if (crash.in_worker) {
    options.worker_faults = Cat(crash.point, ":hold=%d/held");
  } else {
    options.master_faults = Cat(crash.point, ":kill");
  }
  StartGroup(options);
  const std::string job = SubmitDetached("plain");
  int killed = 0;
  const std::string held = cluster_->Path("held");
  EXPECT_TRUE(WaitUntil(
      [&] {
        ExpectWholeOrAbsent();
        if (crash.in_worker && killed == 0 && std::filesystem::exists(held)) {
          const int leader = cluster_->WaitForLeader();
          if (leader < 0) return false;
          cluster_->master(leader).Kill();
          // The worker goes on in front of another leader, or before there is
          // one.
          std::filesystem::remove(held);
        }
        killed += Revive();
        return killed > 0 && HasSucceeded(job);
      },
      kPatience))
      << killed << " masters have died";
  ExpectRightCounts();
  ExpectLocalBytes();
  // C8: nothing is left beside it, whoever leads.
  const auto beside = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(data_ / ".")) {
      const std::string name = entry.path().filename();
      if (name.rfind("out", 0) == 0) names.push_back(name);
    }
    return names;
  };
  EXPECT_TRUE(WaitUntil(
      [&] {
        Revive();
        return beside() == std::vector<std::string>{"out"};
      },
      kPatience))
      << testing::PrintToString(beside());
  Revive();
  cluster_.reset();
  std::filesystem::remove_all(data_ / "out");
}

TEST_P(GroupCrashTest, LeavesOneWholeOutput) {
  const std::string name = NameOf(GetParam());
  for (int i = Passed(name); i < Times() && !HasFailure(); ++i) {
    SCOPED_TRACE(Cat("time ", i + 1));
    RunOnce(GetParam());
    if (!HasFailure()) Remember(name);
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, GroupCrashTest, testing::ValuesIn(AllCrashes()),
                         [](const auto& crash) { return NameOf(crash.param); });

}  // namespace
}  // namespace millrace
