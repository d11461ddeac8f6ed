// Very many hosts: that all of them are used and evenly, that second attempts
// and repeated ones go where they are of use, that no task starves. No input is
// nearer to one host than to another (placement.h), so what there is of
// locality is which attempts must not share a host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Harness;
using testing::MapDone;

constexpr int kHosts = 1000;

class HostsTest : public ::testing::Test {
 protected:
  struct Granted {
    size_t worker = 0;
    proto::Grant grant;

    TaskId task() const { return TaskId::From(grant.attempt().task()); }
  };
  struct Place {
    SessionId session = 0;
    std::string host;
  };

  void Join(const std::string& host, uint32_t slots = 1) {
    const uint64_t n = workers_.size() + 1;
    proto::Hello hello = h_.HelloOf(n, Cat("w", n), slots);
    hello.set_host_id(host);
    workers_.push_back({h_.Open(hello), host});
  }
  JobId Plan(const std::string& output, uint32_t maps, uint32_t partitions) {
    const JobId job = h_.SubmitJob(output);
    for (const Granted& one : Collect()) {
      if (one.grant.has_plan()) Finish(one, maps, partitions);
    }
    return job;
  }
  void Finish(const Granted& one, uint32_t maps, uint32_t partitions) {
    h_.Finish(workers_[one.worker].session, one.grant, maps, partitions);
  }
  // What was granted since the last time.
  std::vector<Granted> Collect() {
    std::vector<Granted> grants;
    for (size_t i = 0; i < workers_.size(); ++i) {
      for (proto::Grant& grant : h_.TakeGrants(workers_[i].session)) {
        grants.push_back({i, std::move(grant)});
      }
    }
    return grants;
  }
  void Pass(absl::Duration how_long) {
    for (; how_long > absl::ZeroDuration(); how_long -= absl::Seconds(1)) {
      h_.Pass(absl::Seconds(1));
      h_.Beat();
    }
  }
  const std::string& HostOf(const Granted& one) const {
    return workers_[one.worker].host;
  }

  Harness h_;
  std::vector<Place> workers_;
};

TEST_F(HostsTest, MapsGoToAllHostsAndReducesToDifferentOnes) {
  constexpr uint32_t kMaps = 3 * kHosts / 2;
  constexpr uint32_t kReduces = kHosts / 5;
  for (int i = 0; i < kHosts; ++i) Join(Cat("h", i));
  const JobId job = Plan("/out", kMaps, kReduces);
  std::vector<Granted> grants = Collect();
  std::map<std::string, int> first;
  for (const Granted& one : grants) ++first[HostOf(one)];
  ASSERT_EQ(first.size(), size_t{kHosts});
  for (const auto& [host, count] : first) EXPECT_EQ(count, 1) << host;
  // To the end: each task once, every host its share.
  std::map<TaskId, int> tasks;
  std::map<std::string, int> maps;
  std::map<std::string, int> reduces;
  while (!grants.empty()) {
    for (const Granted& one : grants) {
      ++tasks[one.task()];
      maps[HostOf(one)] += one.grant.has_map();
      reduces[HostOf(one)] += one.grant.has_reduce();
      Finish(one, kMaps, kReduces);
    }
    grants = Collect();
  }
  EXPECT_EQ(h_.Status(job).state(), proto::SUCCEEDED);
  EXPECT_EQ(tasks.size(), kMaps + kReduces + 2u);
  for (const auto& [task, count] : tasks) EXPECT_EQ(count, 1) << ToString(task);
  for (const auto& [host, count] : maps) {
    EXPECT_GE(count, 1) << host;  // Of one and a half on the average.
    EXPECT_LE(count, 3) << host;
  }
  for (const auto& [host, count] : reduces) EXPECT_LE(count, 1) << host;
}

// Of two workers of a host the other one would be as slow, if it is the host.
TEST_F(HostsTest, SecondAttemptsLeaveTheHostOfTheFirst) {
  constexpr uint32_t kSlow = 40;
  for (int i = 0; i < kHosts; ++i) Join(Cat("h", i / 2));
  const JobId job = Plan("/out", kHosts, 0);
  std::map<TaskId, std::string> slow;
  const std::vector<Granted> grants = Collect();
  ASSERT_EQ(grants.size(), size_t{kHosts});
  Pass(absl::Seconds(4));
  for (const Granted& one : grants) {
    if (one.task().index < kSlow) {
      slow[one.task()] = HostOf(one);
    } else {
      Finish(one, kHosts, 0);
    }
  }
  std::map<TaskId, std::string> second;
  for (int i = 0; i < 20 && second.size() < kSlow; ++i) {
    Pass(absl::Seconds(1));
    for (const Granted& one : Collect()) {
      EXPECT_TRUE(one.grant.attempt().speculative());
      EXPECT_TRUE(second.emplace(one.task(), HostOf(one)).second)
          << ToString(one.task()) << " has a third attempt";
    }
  }
  ASSERT_EQ(second.size(), kSlow);
  for (const auto& [task, host] : second) {
    EXPECT_NE(host, slow.at(task)) << ToString(task);
  }
  EXPECT_EQ(h_.Status(job).attempts().speculative(), kSlow);
}

// ... but where there is no other host, the same one is better than none.
TEST_F(HostsTest, SecondAttemptStaysOnTheHostIfThatIsAllThereIs) {
  Join("a");
  Join("a");
  Join("b");
  Plan("/out", 2, 0);
  std::vector<Granted> grants = Collect();
  ASSERT_EQ(grants.size(), 2u);
  // Whichever two it took: a job has the rest of host b.
  Plan("/other", 3, 0);
  for (const Granted& one : Collect()) grants.push_back(one);
  ASSERT_EQ(grants.size(), 3u);
  const auto on = [&](const std::string& host) {
    return std::find_if(grants.begin(), grants.end(), [&](const Granted& one) {
      return HostOf(one) == host;
    });
  };
  ASSERT_NE(on("a"), grants.end());
  ASSERT_NE(on("b"), grants.end());
  Pass(absl::Seconds(2));
  // All of host a but one attempt ends, and nothing else is left to run there.
  const Granted stays = *on("a");
  for (int rounds = 0; rounds < 20; ++rounds) {
    for (const Granted& one : grants) {
      if (HostOf(one) == "b" || one.grant.attempt().attempt_uid() ==
                                    stays.grant.attempt().attempt_uid()) {
        continue;
      }
      Finish(one,
             stays.grant.attempt().job_id() == one.grant.attempt().job_id() ? 2
                                                                            : 3,
             0);
    }
    Pass(absl::Seconds(1));
    grants = Collect();
    for (const Granted& one : grants) {
      if (!one.grant.attempt().speculative()) continue;
      EXPECT_EQ(HostOf(one), "a");
      return;
    }
  }
  ADD_FAILURE() << "no second attempt";
}

TEST_F(HostsTest, NoTaskStarvesWhenEachFailsOnceAndHostsComeAndGo) {
  constexpr uint32_t kMaps = 5 * kHosts / 4;
  for (int i = 0; i < kHosts; ++i) Join(Cat("h", i));
  const JobId job = Plan("/out", kMaps, 10);
  std::map<TaskId, std::set<std::string>> places;
  std::map<TaskId, absl::Duration> waits_since;
  absl::Duration longest;
  size_t rounds = 0;
  for (; h_.Status(job).state() != proto::SUCCEEDED && rounds < 200; ++rounds) {
    const std::vector<Granted> grants = Collect();
    for (const Granted& one : grants) {
      const TaskId task = one.task();
      if (const auto since = waits_since.find(task);
          since != waits_since.end()) {
        longest = std::max(longest, h_.now() - since->second);
        waits_since.erase(since);
      }
      const bool again = !places[task].insert(HostOf(one)).second;
      EXPECT_FALSE(again && one.grant.has_map())
          << ToString(task) << " came back to " << HostOf(one);
      if (places[task].size() == 1 && one.grant.has_map()) {
        h_.Fail(workers_[one.worker].session, one.grant, proto::USER_EXCEPTION);
        waits_since[task] = h_.now();
      } else {
        Finish(one, kMaps, 10);
      }
    }
    // One comes and one goes, whatever it holds.
    if (rounds < 20) {
      h_.Close(workers_[rounds].session);
      Join(Cat("new", rounds));
    }
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(h_.Status(job).state(), proto::SUCCEEDED) << rounds;
  EXPECT_TRUE(waits_since.empty());
  EXPECT_LE(longest, absl::Seconds(12));
}

}  // namespace
}  // namespace millrace::master
