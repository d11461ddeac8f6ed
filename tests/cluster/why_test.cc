// Causes for waiting, planted on real processes: `millrace why` names each
// within two seconds, with what it is about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr absl::Duration kBar = absl::Seconds(2);

class WhyTest : public Refusals {
 protected:
  static constexpr int kMaps = 12;

  WhyTest() : Refusals() { MakeInput(kMaps * 4, kMaps); }

  json Workers() {
    const ProgramResult list = cluster_->Cli({"worker", "list", "-o", "json"});
    return list.exit_code == 0 ? json::parse(list.out) : json::array();
  }
  // "gone": it is not in the list.
  std::string StateOf(const std::string& worker) {
    for (const json& one : Workers()) {
      if (one.at("id") == worker) return one.at("state");
    }
    return "gone";
  }

  // The causes that it names; every answer has to come within the bar.
  std::vector<json> Ask(const std::string& subject) {
    const absl::Duration from = Clock::Real().Monotonic();
    last_ = cluster_->Cli({"why", subject, "-o", "json"});
    EXPECT_LT(Clock::Real().Monotonic() - from, kBar) << last_;
    EXPECT_EQ(last_.exit_code, 0) << last_;
    if (last_.exit_code != 0) return {};
    const json causes = json::parse(last_.out).at("causes");
    EXPECT_FALSE(causes.empty()) << last_;
    return {causes.begin(), causes.end()};
  }
  // The cause is in effect from now on, and is named within the bar; `right`
  // is asked whether it is that one. Returns it. "": whatever its code.
  json ExpectNamed(
      const std::string& subject, const std::string& code,
      const std::function<bool(const json&)>& right = [](const json&) {
        return true;
      }) {
    const absl::Duration from = Clock::Real().Monotonic();
    json found;
    const auto named = [&] {
      for (const json& cause : Ask(subject)) {
        if (!code.empty() && cause.at("code") != code) continue;
        if (!right(cause)) continue;
        found = cause;
        return true;
      }
      return false;
    };
    WaitUntil(named, kBar);
    EXPECT_FALSE(found.is_null()) << code << " is not named in " << last_;
    const absl::Duration took = Clock::Real().Monotonic() - from;
    EXPECT_LT(took, kBar);
    RecordProperty(Cat(code, "_ms"),
                   static_cast<int>(absl::ToInt64Milliseconds(took)));
    return found;
  }
  static std::function<bool(const json&)> About(const std::string& worker) {
    return [worker](const json& cause) {
      const json& workers = cause.at("workers");
      return std::find(workers.begin(), workers.end(), worker) != workers.end();
    };
  }
  bool MapsDone(const std::string& job, int count) {
    return WaitUntil([&] { return StatusNumber(job, "maps", "done") >= count; },
                     absl::Seconds(60));
  }
  void KillJob(const std::string& job) {
    EXPECT_EQ(cluster_->Cli({"kill", job}).exit_code, 0);
  }
  void ExpectSuccess(const std::string& job) {
    const ProgramResult waited = cluster_->Cli({"wait", job});
    EXPECT_EQ(waited.exit_code, 0) << waited;
  }

  ProgramResult last_;  // What `why` has said last.
};

TEST_F(WhyTest, NoWorkerHasEverJoined) {
  StartCluster({.workers = 0});
  const std::string job = SubmitDetached("plain");
  ExpectNamed(job, "NO_WORKER_JOINED");
  const ProgramResult text = cluster_->Cli({"why", job});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_THAT(text.out, HasSubstr(Cat(job.substr(0, 8), ": QUEUED\n  ")));
  EXPECT_THAT(text.out, HasSubstr("    no worker has ever joined"));
}

TEST_F(WhyTest, AllWorkersAreLost) {
  StartCluster({.workers = 1});
  const std::string job = SubmitDetached("slow", {}, 50);
  ASSERT_TRUE(MapsDone(job, 1));
  cluster_->worker(0).Kill();
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w0") != "up"; }));
  // First it has no connection, soon it is lost.
  const auto w0 = About("w0");
  ExpectNamed(job, "", [&](const json& cause) {
    return w0(cause) && (cause.at("code") == "WORKERS_AWAY" ||
                         cause.at("code") == "ALL_WORKERS_LOST");
  });
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w0") == "gone"; }));
  ExpectNamed(job, "ALL_WORKERS_LOST", w0);
  ExpectNamed(job, "LOST_WITH_WORKER", w0);
  cluster_->worker(0).Start();
  ExpectSuccess(job);
}

TEST_F(WhyTest, AllWorkersAreDrained) {
  StartCluster({.workers = 2});
  for (const char* worker : {"w0", "w1"}) {
    ASSERT_EQ(cluster_->Cli({"worker", "drain", worker}).exit_code, 0);
  }
  const std::string job = SubmitDetached("plain");
  const json cause = ExpectNamed(job, "WORKERS_DRAINED");
  EXPECT_THAT(cause.at("workers").get<std::vector<std::string>>(),
              ::testing::UnorderedElementsAre("w0", "w1"));
  EXPECT_THAT(cause.at("text").get<std::string>(),
              HasSubstr("millrace worker undrain"));
  ASSERT_EQ(cluster_->Cli({"worker", "undrain", "w1"}).exit_code, 0);
  ExpectSuccess(job);
}

TEST_F(WhyTest, DiskOfTheOnlyWorkerIsNearlyFull) {
  StartCluster(
      {.workers = 1, .worker_flags = {{0, {"--min-free-disk", "1000000G"}}}});
  const std::string job = SubmitDetached("plain");
  const json cause = ExpectNamed(job, "WORKERS_DISK_LOW", About("w0"));
  EXPECT_THAT(cause.at("text").get<std::string>(), HasSubstr("free"));
  KillJob(job);
}

TEST_F(WhyTest, AnotherJobHasTheSlots) {
  StartCluster({.workers = 1, .slots = 2});
  const std::string first = SubmitDetached("slow", {}, 100);
  ASSERT_TRUE(MapsDone(first, 1));
  // Its share is two slots while nobody else has any; two run.
  const std::string second = SubmitDetached("slow", {}, 100, "second");
  const json cause = ExpectNamed(second, "SLOTS_OF_JOB", [&](const json& one) {
    return one.at("job") == first;
  });
  EXPECT_GE(cause.at("count").get<int>(), 1);
  ExpectNamed(second, "SLOTS_TAKEN",
              [](const json& one) { return one.at("of") == 2; });
  KillJob(first);
  KillJob(second);
}

TEST_F(WhyTest, TaskThatFailedIsTriedAgainLater) {
  StartCluster({.workers = 1});
  const std::string spool = cluster_->SpoolOf(0);
  std::filesystem::remove_all(spool);
  std::ofstream(spool) << "no directory";
  const std::string job = SubmitDetached("plain");
  ASSERT_TRUE(
      WaitUntil([&] { return StatusNumber(job, "attempts", "failed") >= 3; }));
  const json later = ExpectNamed(job, "RETRY_LATER");
  EXPECT_EQ(later.at("task"), "plan");
  EXPECT_GT(later.at("ends_in_ms").get<int>(), 0);
  const json failed = ExpectNamed(job, "FAILED_BEFORE", About("w0"));
  EXPECT_THAT(failed.at("text").get<std::string>(), HasSubstr(spool));
  std::filesystem::remove(spool);
  std::filesystem::create_directory(spool);
  ExpectSuccess(job);
}

TEST_F(WhyTest, WorkerIsExcluded) {
  MakeInput(30 * 4, 30);
  StartCluster({.workers = 3});
  const std::string spool = cluster_->SpoolOf(1);
  std::filesystem::remove_all(spool);
  std::ofstream(spool) << "no directory";
  const std::string job = SubmitDetached("slow", {}, 200);
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w1") == "excluded"; }));
  const json cause = ExpectNamed(job, "WORKERS_EXCLUDED", About("w1"));
  EXPECT_GT(cause.at("ends_in_ms").get<int>(), 0);
  EXPECT_LE(cause.at("ends_in_ms").get<int>(), 30'000);
  EXPECT_THAT(cause.at("text").get<std::string>(), HasSubstr(spool));
  std::filesystem::remove(spool);
  std::filesystem::create_directory(spool);
  KillJob(job);
}

TEST_F(WhyTest, ReduceWaitsForMaps) {
  StartCluster({.workers = 1});
  const std::string job = SubmitDetached("slow", {}, 50);
  ASSERT_TRUE(MapsDone(job, 2));
  const json maps = ExpectNamed(job + "/r1", "MAPS_MISSING");
  EXPECT_EQ(maps.at("of"), kMaps);
  EXPECT_LE(maps.at("count").get<int>(), kMaps - 2);
  const json slowest = ExpectNamed(job + "/r1", "ATTEMPT_RUNS", About("w0"));
  EXPECT_EQ(slowest.at("task").get<std::string>().front(), 'm');
  EXPECT_GT(slowest.at("depth").get<int>(), maps.at("depth").get<int>());
  ExpectSuccess(job);
  // And then it waits for nothing.
  ExpectNamed(job + "/r1", "JOB_ENDED");
}

TEST_F(WhyTest, LostMapsRunAgain) {
  StartCluster({.workers = 2});
  const std::string job = SubmitDetached("slow", {}, 100);
  ASSERT_TRUE(MapsDone(job, 6));
  cluster_->worker(1).Kill();
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w1") == "gone"; }));
  const json lost = ExpectNamed(job, "LOST_WITH_WORKER", About("w1"));
  EXPECT_EQ(lost.at("task").get<std::string>().front(), 'm');
  ExpectSuccess(job);
}

// What a worker gives as its address leads nowhere, as behind a firewall.
TEST_F(WhyTest, FetchesFromAWorkerFail) {
  StartCluster(
      {.workers = 2, .worker_flags = {{1, {"--advertise", "127.0.0.1:1"}}}});
  const std::string job = SubmitDetached("slow", {}, 5);
  ASSERT_TRUE(MapsDone(job, kMaps));
  // After three tries of the fetcher.
  ASSERT_TRUE(WaitUntil([&] {
    for (const json& cause : Ask(job)) {
      if (cause.at("code") == "FETCH_FAILS") return true;
    }
    return false;
  })) << last_;
  const json cause = ExpectNamed(job, "FETCH_FAILS", About("w1"));
  EXPECT_THAT(cause.at("text").get<std::string>(),
              HasSubstr("worker w0 cannot fetch the output of map"));
  EXPECT_GE(cause.at("count").get<int>(), 1);
  KillJob(job);
}

TEST_F(WhyTest, NewLeaderWaitsForAWorkersReport) {
  StartCluster({.workers = 2});
  const std::string job = SubmitDetached("slow", {}, 100);
  ASSERT_TRUE(MapsDone(job, 1));
  cluster_->worker(1).Signal(SIGSTOP);
  cluster_->RestartMaster();
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w0") == "up"; }));
  ExpectNamed(job, "LEADER_WAITS", [](const json& cause) {
    return cause.at("count") == 1 && cause.at("of") == 2;
  });
  const json cause = ExpectNamed(job, "WORKERS_UNREPORTED", About("w1"));
  EXPECT_GT(cause.at("ends_in_ms").get<int>(), 0);
  cluster_->worker(1).Signal(SIGCONT);
  ExpectSuccess(job);
}

TEST_F(WhyTest, SlowTaskAndItsSecondAttempt) {
  StartCluster(
      {.workers = 3, .worker_environment = {{2, "BEHAVIOUR_SLOWNESS=40"}}});
  const std::string alone =
      SubmitDetached("slow", {"--speculation=off"}, 50, "alone");
  ASSERT_TRUE(MapsDone(alone, kMaps - 1));
  const json slow = ExpectNamed(alone, "ATTEMPT_SLOW", About("w2"));
  EXPECT_EQ(slow.at("task").get<std::string>().front(), 'm');
  ExpectNamed(alone, "NO_SECOND_ATTEMPT");
  KillJob(alone);
  const std::string job = SubmitDetached("slow", {}, 200);
  ASSERT_TRUE(WaitUntil(
      [&] { return StatusNumber(job, "attempts", "speculative") >= 1; },
      absl::Seconds(60)));
  ExpectNamed(job, "SECOND_ATTEMPT");
  KillJob(job);
}

TEST_F(WhyTest, TaskThatHangsStandsStill) {
  data_.Write("hang/a", "one\ntrigger\n");
  StartCluster({.workers = 1});
  ProgramResult submitted =
      cluster_->Cli({"submit", "--detach", MILLRACE_FAULT_JOB, "--input",
                     data_ / "hang", "--output", data_ / "out",
                     "--task-timeout", "60s", "--", "hang", data_ / "pid"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted;
  const std::string job = submitted.out.substr(0, 32);
  ASSERT_TRUE(
      WaitUntil([&] { return std::filesystem::exists(data_ / "pid"); }));
  // It is a stall from the fifth second on.
  ASSERT_TRUE(WaitUntil([&] {
    return Ask(job).back().at("for_ms").get<int>() >= 6'000;
  })) << last_;
  const json cause = ExpectNamed(job, "ATTEMPT_STALLED", About("w0"));
  EXPECT_EQ(cause.at("task"), "m0");
  EXPECT_THAT(cause.at("text").get<std::string>(),
              HasSubstr("after 1 min 0 s of that it is ended"));
  KillJob(job);
}

TEST_F(WhyTest, StoreRefusesTheOutput) {
  // Root may write where nobody may.
  std::vector<std::string> prefix;
  if (geteuid() == 0) {
    prefix = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
              "--clear-groups"};
  }
  std::filesystem::permissions(data_.path(), std::filesystem::perms::all);
  std::filesystem::permissions(data_ / "traces", std::filesystem::perms::all);
  std::filesystem::create_directory(data_ / "store");
  ASSERT_EQ(chmod((data_ / "store").c_str(), 0777), 0);
  StartCluster({.workers = 1,
                .worker_prefix = prefix,
                .worker_faults = "commit.before_rename:hold=%d/held"});
  const std::string held = cluster_->Path("held");
  const std::string job = SubmitDetached("plain", {}, 0, "store/out");
  ASSERT_TRUE(WaitUntil([&] { return std::filesystem::exists(held); }));
  const json running = ExpectNamed(job, "ATTEMPT_RUNS", About("w0"));
  EXPECT_EQ(running.at("task"), "publish");
  ASSERT_EQ(chmod((data_ / "store").c_str(), 0555), 0);
  std::filesystem::remove(held);
  const json cause = ExpectNamed(job, "STORE_REFUSES");
  EXPECT_THAT(cause.at("text").get<std::string>(),
              HasSubstr("Permission denied"));
  ExpectNamed(job, "NOT_PUBLISHED");
  ASSERT_EQ(chmod((data_ / "store").c_str(), 0777), 0);
  ExpectSuccess(job);
}

TEST_F(WhyTest, JobThatFailedSaysByWhat) {
  data_.Write("bad/a", "one\ntrigger\n");
  StartCluster({.workers = 1});
  const ProgramResult failed = cluster_->Cli(
      {"submit", MILLRACE_FAULT_JOB, "--input", data_ / "bad", "--output",
       data_ / "out", "--max-attempts", "1", "--", "throw"});
  ASSERT_EQ(failed.exit_code, kJobFailed) << failed;
  const json jobs = json::parse(cluster_->Cli({"list", "-o", "json"}).out);
  const std::string job = jobs.at(0).at("id");
  const json cause = ExpectNamed(job, "JOB_ENDED", About("w0"));
  EXPECT_EQ(cause.at("failure"), "USER_EXCEPTION");
  EXPECT_EQ(cause.at("task"), "m0");
}

// Any master of a group may be asked, and the next leader knows as much.
TEST_F(WhyTest, AnyMasterOfAGroupIsAsked) {
  StartCluster({.workers = 1, .masters = 3});
  ASSERT_EQ(cluster_->Cli({"worker", "drain", "w0"}).exit_code, 0);
  const std::string job = SubmitDetached("plain");
  for (int i = 0; i < 3; ++i) {
    const ProgramResult asked = cluster_->Cli(
        {"--cluster", cluster_->AddressOf(i), "why", job, "-o", "json"});
    EXPECT_EQ(asked.exit_code, 0) << asked;
    EXPECT_THAT(asked.out, HasSubstr("WORKERS_DRAINED"));
  }
  const int leader = cluster_->WaitForLeader();
  ASSERT_GE(leader, 0);
  cluster_->master(leader).Kill();
  ASSERT_GE(cluster_->WaitForLeader(), 0);
  ASSERT_TRUE(WaitUntil([&] { return StateOf("w0") == "drained"; }));
  // Without a bar: with one of three gone a client may look for the leader.
  const ProgramResult asked = cluster_->Cli({"why", job, "-o", "json"});
  EXPECT_EQ(asked.exit_code, 0) << asked;
  EXPECT_THAT(asked.out, HasSubstr("WORKERS_DRAINED"));
  cluster_->StartMaster(leader);
  ASSERT_EQ(cluster_->Cli({"worker", "undrain", "w0"}).exit_code, 0);
  ExpectSuccess(job);
}

TEST_F(WhyTest, WhatIsNotThereIsRefused) {
  StartCluster({.workers = 1});
  const std::string job = SubmitDetached("plain");
  ExpectSuccess(job);
  ExpectFailure(cluster_->Cli({"why", "abcdef"}), kNotFound, {"abcdef"});
  ExpectFailure(cluster_->Cli({"why", "abcdef/m0"}), kNotFound, {"abcdef"});
  ExpectFailure(cluster_->Cli({"why", job + "/m99"}), kNotFound,
                {"12 maps", "no map 99"});
  ExpectFailure(cluster_->Cli({"why", job + "/r3"}), kNotFound, {"3 reduces"});
  ExpectFailure(cluster_->Cli({"why", "xyz"}), kUsage, {"xyz"});
  ExpectFailure(cluster_->Cli({"why", job + "/17"}), kUsage, {"ID/m17"});
  ExpectFailure(cluster_->Cli({"why"}), kUsage, {"ID"});
  ExpectFailure(cluster_->Cli({"--cluster", "127.0.0.1:1", "--patience", "1s",
                               "why", job}),
                kUnreachable, {"127.0.0.1:1"});
}

}  // namespace
}  // namespace millrace
