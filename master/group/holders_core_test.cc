#include "master/group/holders_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "common/random.h"
#include "common/strings.h"

namespace millrace::master {
namespace {

using raft::NodeId;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr NodeId kSelf = 1;

// The core and what it has asked for.
class HoldersTest : public testing::Test {
 protected:
  HoldersTest() { Group({1, 2, 3}); }

  void Group(std::set<NodeId> voters) { Group(voters, voters); }
  void Group(std::set<NodeId> voters, std::set<NodeId> after) {
    Take(core_.SetGroup(kSelf, std::move(voters), std::move(after), now_));
  }
  void Want(HoldersCore::WantId want, std::map<std::string, bool> blobs) {
    Take(core_.Want(want, blobs, now_));
  }
  void Fetched(const std::string& blob, const absl::Status& status) {
    Take(core_.OnFetched(blob, status, now_));
  }
  // The ask that is under way there.
  void Answer(NodeId peer, const absl::Status& status = absl::OkStatus(),
              const std::set<std::string>& missing = {}) {
    const auto ask = asks_.extract(peer);
    ASSERT_FALSE(ask.empty()) << "nothing was asked of " << peer;
    Take(core_.OnAnswer(ask.mapped().id, status, missing, now_));
  }
  void Pass(absl::Duration time) {
    now_ += time;
    if (now_ >= core_.NextDeadline()) Take(core_.Tick(now_));
  }
  std::vector<std::string> Asked(NodeId peer) {
    return asks_.count(peer) > 0 ? asks_[peer].blobs
                                 : std::vector<std::string>();
  }
  // Of a want: nothing yet, OK, or an error.
  std::optional<absl::Status> Of(HoldersCore::WantId want) {
    const auto found = settled_.find(want);
    if (found == settled_.end()) return std::nullopt;
    return found->second;
  }

  void Take(const std::vector<HoldersCore::Effect>& effects) {
    for (const HoldersCore::Effect& effect : effects) {
      if (const auto* ask = std::get_if<HoldersCore::Ask>(&effect)) {
        EXPECT_EQ(asks_.count(ask->peer), 0u) << "one ask at a time";
        asks_[ask->peer] = *ask;
      } else if (const auto* fetch =
                     std::get_if<HoldersCore::FetchHere>(&effect)) {
        fetches_.push_back(fetch->sha256);
      } else {
        const auto& settled = std::get<HoldersCore::Settled>(effect);
        EXPECT_TRUE(settled_.emplace(settled.want, settled.status).second)
            << "answered twice";
      }
    }
  }

  HoldersCore core_;
  absl::Duration now_ = absl::Seconds(100);
  std::map<NodeId, HoldersCore::Ask> asks_;
  std::vector<std::string> fetches_;
  std::map<HoldersCore::WantId, absl::Status> settled_;
};

TEST_F(HoldersTest, GroupOfOneIsSettledByWhatItHolds) {
  Group({1});
  Want(1, {{"a", true}});
  EXPECT_EQ(Of(1), absl::OkStatus());
  Want(2, {{"a", true}, {"b", false}});
  EXPECT_EQ(Of(2), std::nullopt);
  EXPECT_THAT(fetches_, ElementsAre("b"));
  Fetched("b", absl::NotFoundError("b"));
  EXPECT_TRUE(absl::IsNotFound(*Of(2)));
}

TEST_F(HoldersTest, MajoritySettlesAndTheThirdIsAskedAllTheSame) {
  Want(1, {{"a", true}, {"b", true}});
  EXPECT_THAT(Asked(2), ElementsAre("a", "b"));
  EXPECT_THAT(Asked(3), ElementsAre("a", "b"));
  Answer(2, absl::OkStatus(), {"b"});
  EXPECT_EQ(Of(1), std::nullopt) << "b is nowhere else";
  Answer(3);
  EXPECT_EQ(Of(1), absl::OkStatus());
  asks_.clear();
  Want(2, {{"a", true}, {"b", true}});
  EXPECT_EQ(Of(2), absl::OkStatus()) << "known already";
}

TEST_F(HoldersTest, SilentPeersAreAskedAgainAndAgain) {
  Want(1, {{"a", true}});
  for (int i = 0; i < 20; ++i) {
    Answer(2, absl::UnavailableError("down"));
    if (i == 0) Answer(3, absl::UnavailableError("down"));
    asks_.erase(3);
    EXPECT_LE(core_.NextDeadline(), now_ + absl::Seconds(2));
    Pass(absl::Seconds(2));
    EXPECT_THAT(Asked(2), ElementsAre("a")) << i;
  }
  EXPECT_EQ(Of(1), std::nullopt);
  Answer(2);
  EXPECT_EQ(Of(1), absl::OkStatus());
}

TEST_F(HoldersTest, LeaderFetchesWhatItLacks) {
  Want(1, {{"a", false}});
  EXPECT_THAT(fetches_, ElementsAre("a"));
  EXPECT_THAT(Asked(2), ElementsAre("a"));
  Fetched("a", absl::UnavailableError("who has it does not answer"));
  Pass(absl::Seconds(1));
  EXPECT_THAT(fetches_, ElementsAre("a", "a"));
  Fetched("a", absl::OkStatus());
  EXPECT_EQ(Of(1), std::nullopt) << "one of three";
  Answer(3);
  EXPECT_EQ(Of(1), absl::OkStatus());
}

TEST_F(HoldersTest, OthersThatHoldItSuffice) {
  Want(1, {{"a", false}});
  Answer(2);
  Answer(3);
  EXPECT_EQ(Of(1), absl::OkStatus());
}

TEST_F(HoldersTest, BlobThatAMajorityLacksIsLost) {
  Want(1, {{"a", false}, {"b", true}});
  Want(2, {{"b", true}});
  Fetched("a", absl::NotFoundError("a"));
  ASSERT_TRUE(Of(1).has_value());
  EXPECT_TRUE(absl::IsNotFound(*Of(1)));
  EXPECT_EQ(Of(2), std::nullopt) << "b is another matter";
  Answer(2, absl::OkStatus(), {"a"});
  EXPECT_EQ(Of(2), absl::OkStatus());
}

TEST_F(HoldersTest, WhatWasReleasedCountsNoMore) {
  Want(1, {{"a", true}});
  Answer(2);
  Answer(3);
  EXPECT_TRUE(core_.Release(2, "a"));
  EXPECT_TRUE(core_.Release(3, "a"));
  EXPECT_TRUE(core_.Release(3, "never heard of"));
  Want(2, {{"a", true}});
  EXPECT_EQ(Of(2), std::nullopt);
  EXPECT_THAT(Asked(2), ElementsAre("a"));
  Answer(2);
  EXPECT_EQ(Of(2), absl::OkStatus());
}

TEST_F(HoldersTest, WhatIsWantedOrAskedForIsNotReleased) {
  Want(1, {{"a", true}});
  EXPECT_FALSE(core_.Release(kSelf, "a"));
  Answer(2);
  EXPECT_TRUE(core_.Release(kSelf, "a"));
  EXPECT_FALSE(core_.Release(3, "a")) << "it may have answered already";
  Answer(3, absl::DeadlineExceededError("lost"));
  EXPECT_TRUE(core_.Release(3, "a"));
}

TEST_F(HoldersTest, ChangeOfTheGroupAsksForBothMajorities) {
  Group({1, 2, 3}, {1, 2, 3, 4});
  Want(1, {{"a", true}});
  Answer(2);
  EXPECT_EQ(Of(1), std::nullopt) << "two of four are no majority";
  Answer(4);
  EXPECT_EQ(Of(1), absl::OkStatus());

  Answer(3);
  Group({1, 2, 3, 4}, {1, 3, 4});
  Want(2, {{"b", true}});
  Answer(2);
  Answer(3);
  EXPECT_EQ(Of(2), absl::OkStatus());
}

TEST_F(HoldersTest, ChangeOfTheGroupJudgesWhatIsWanted) {
  Want(1, {{"a", true}});
  Group({1});
  EXPECT_EQ(Of(1), absl::OkStatus());
  asks_.clear();
  Want(2, {{"b", false}});
  Group({1, 5});
  EXPECT_THAT(Asked(5), ElementsAre("b"));
}

TEST_F(HoldersTest, AnswersOfAnEarlierTermCountForNothing) {
  Want(1, {{"a", true}});
  const uint64_t old_ask = asks_[2].id;
  core_.Reset();
  asks_.clear();
  Want(2, {{"b", true}});
  Take(core_.OnAnswer(old_ask, absl::OkStatus(), {}, now_));
  EXPECT_EQ(Of(1), std::nullopt);
  EXPECT_EQ(Of(2), std::nullopt);
  EXPECT_THAT(Asked(2), ElementsAre("b"));
}

TEST_F(HoldersTest, AsksAreOfLimitedSize) {
  std::map<std::string, bool> many;
  for (int i = 0; i < 1000; ++i) many[Cat(i)] = true;
  Want(1, many);
  int rounds = 0;
  while (!Of(1).has_value()) {
    EXPECT_LE(Asked(2).size(), 256u);
    Answer(2);
    ++rounds;
  }
  EXPECT_EQ(rounds, 4);
}

// Against a model: whoever is told OK can rely on a majority that holds it, and
// everything is settled once all answer.
TEST_F(HoldersTest, RandomWorldsAreNeverToldTooMuch) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const std::unique_ptr<Random> random = Random::Seeded(seed);
    HoldersCore core;
    std::set<NodeId> voters = {1, 2, 3};
    std::map<NodeId, std::set<std::string>> disks;
    std::map<HoldersCore::WantId, std::set<std::string>> wants;
    struct Flight {  // An ask, or the answer to it, on its way.
      HoldersCore::Ask ask;
      std::optional<std::set<std::string>> missing;  // Answered so.
    };
    std::vector<Flight> flights;
    std::vector<std::string> fetches;
    absl::Duration now;
    HoldersCore::WantId next = 1;
    const auto holders = [&](const std::string& blob) {
      size_t n = 0;
      for (const NodeId node : voters) n += disks[node].count(blob);
      return n;
    };
    const auto take = [&](const std::vector<HoldersCore::Effect>& effects) {
      for (const HoldersCore::Effect& effect : effects) {
        if (const auto* ask = std::get_if<HoldersCore::Ask>(&effect)) {
          flights.push_back({*ask, std::nullopt});
        } else if (const auto* fetch =
                       std::get_if<HoldersCore::FetchHere>(&effect)) {
          fetches.push_back(fetch->sha256);
        } else {
          const auto& settled = std::get<HoldersCore::Settled>(effect);
          ASSERT_EQ(wants.count(settled.want), 1u);
          for (const std::string& blob : wants[settled.want]) {
            if (settled.status.ok()) {
              ASSERT_GT(holders(blob), voters.size() / 2) << blob;
            }
          }
          wants.erase(settled.want);
        }
      }
    };
    const auto fetch = [&](bool reached) {
      const std::string blob = fetches.back();
      fetches.pop_back();
      if (!reached) {
        take(core.OnFetched(blob, absl::UnavailableError("x"), now));
      } else if (holders(blob) == 0) {
        take(core.OnFetched(blob, absl::NotFoundError("x"), now));
      } else {
        disks[kSelf].insert(blob);
        take(core.OnFetched(blob, absl::OkStatus(), now));
      }
    };
    // The ask arrives; or its answer does, or gets lost.
    const auto move = [&](size_t i, bool reached) {
      Flight& flight = flights[i];
      if (reached && !flight.missing.has_value()) {
        flight.missing.emplace();
        for (const std::string& blob : flight.ask.blobs) {
          if (holders(blob) == 0) {
            flight.missing->insert(blob);
          } else {
            disks[flight.ask.peer].insert(blob);
          }
        }
        return;
      }
      const Flight landed = flight;
      flights.erase(flights.begin() + static_cast<ptrdiff_t>(i));
      take(core.OnAnswer(
          landed.ask.id,
          reached ? absl::OkStatus() : absl::UnavailableError("x"),
          landed.missing.value_or(std::set<std::string>()), now));
    };
    take(core.SetGroup(kSelf, voters, voters, now));
    for (int step = 0; step < 200; ++step) {
      switch (random->Uniform(7)) {
        case 0: {  // A client puts one and names some.
          std::map<std::string, bool> blobs;
          for (int i = 0; i < 2; ++i) {
            const std::string blob = Cat("b", random->Uniform(20));
            if (random->Uniform(4) > 0) {
              disks[1 + random->Uniform(3)].insert(blob);
            }
            blobs[blob] = disks[kSelf].count(blob) > 0;
            wants[next].insert(blob);
          }
          take(core.Want(next++, blobs, now));
          break;
        }
        case 1:
          if (!flights.empty()) {
            move(random->Uniform(flights.size()), random->Uniform(4) > 0);
          }
          break;
        case 2:
          if (!fetches.empty()) fetch(random->Uniform(2) > 0);
          break;
        case 3:
          now += absl::Milliseconds(500);
          take(core.Tick(now));
          break;
        case 4: {  // A peer gives up one that nobody wants.
          const std::string blob = Cat("b", random->Uniform(20));
          const bool wanted = std::any_of(
              wants.begin(), wants.end(),
              [&](const auto& want) { return want.second.count(blob) > 0; });
          if (wanted) break;  // The caller sees to that.
          const NodeId node = 1 + random->Uniform(voters.size());
          if (core.Release(node, blob)) disks[node].erase(blob);
          break;
        }
        case 5:
          if (random->Uniform(10) == 0) {  // Another term.
            core.Reset();
            wants.clear();
          }
          break;
        default:
          if (random->Uniform(10) == 0) {
            // Who comes holds all that is anywhere before it has a vote.
            const std::set<NodeId> after = voters.size() == 3
                                               ? std::set<NodeId>{1, 2, 3, 4}
                                               : std::set<NodeId>{1, 2, 3};
            take(core.SetGroup(kSelf, voters, after, now));
            for (const NodeId node : voters) {
              disks[4].insert(disks[node].begin(), disks[node].end());
            }
            voters = after;
            take(core.SetGroup(kSelf, voters, voters, now));
          }
      }
      if (testing::Test::HasFatalFailure()) return;
    }
    for (int i = 0; i < 1000 && !wants.empty(); ++i) {
      while (!flights.empty()) move(0, true);
      while (!fetches.empty()) fetch(true);
      now += absl::Seconds(2);
      take(core.Tick(now));
    }
    EXPECT_THAT(wants, IsEmpty());
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace millrace::master
