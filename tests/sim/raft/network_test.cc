#include "tests/sim/raft/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace millrace::raftsim {
namespace {

class NetworkTest : public testing::Test {
 protected:
  void SendMany(Endpoint from, Endpoint to, int count) {
    for (int i = 0; i < count; ++i) {
      network_.Send(from, to, [this, i] { arrived_.push_back(i); });
    }
  }
  void RunAll() {
    while (!queue_.empty()) queue_.RunNext();
  }

  sim::EventQueue queue_;
  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  FaultCounts counts_;
  Network network_{queue_, *random_, counts_};
  std::vector<int> arrived_;
};

TEST_F(NetworkTest, FairWeatherKeepsOrderAndLosesNothing) {
  SendMany(1, 2, 200);
  RunAll();
  ASSERT_EQ(arrived_.size(), 200u);
  EXPECT_TRUE(std::is_sorted(arrived_.begin(), arrived_.end()));
  EXPECT_EQ(counts_.total(), 0u);
}

TEST_F(NetworkTest, BadWeatherLosesDoublesAndReorders) {
  Weather weather;
  weather.loss = weather.duplication = weather.reordering = 200'000;
  network_.SetWeather(weather);
  SendMany(1, 2, 1000);
  RunAll();
  std::vector<int> different = arrived_;
  std::sort(different.begin(), different.end());
  different.erase(std::unique(different.begin(), different.end()),
                  different.end());
  EXPECT_LT(different.size(), 900u);
  EXPECT_GT(different.size(), 700u);
  EXPECT_GT(arrived_.size(), different.size() + 100);
  EXPECT_FALSE(std::is_sorted(arrived_.begin(), arrived_.end()));
  EXPECT_EQ(counts_.of(Fault::kLoss), 1u);  // One stretch.
  EXPECT_EQ(counts_.of(Fault::kDuplication), 1u);
  EXPECT_EQ(counts_.of(Fault::kReordering), 1u);
}

TEST_F(NetworkTest, CutLinksLoseWhatIsOnItsWayToo) {
  SendMany(1, 2, 3);
  const Network::Cut cut = network_.Separate(Fault::kOneWayCut, {{1, 2}});
  SendMany(1, 2, 3);
  RunAll();
  EXPECT_TRUE(arrived_.empty());
  EXPECT_EQ(counts_.of(Fault::kOneWayCut), 1u);
  SendMany(2, 1, 2);  // The other way.
  RunAll();
  EXPECT_EQ(arrived_.size(), 2u);
  network_.Restore(cut);
  SendMany(1, 2, 1);
  RunAll();
  EXPECT_EQ(arrived_.size(), 3u);
}

TEST_F(NetworkTest, ALinkCutTwiceIsWholeWhenBothAreTakenBack) {
  const Network::Cut a = network_.Separate(Fault::kPartition, {{1, 2}, {2, 1}});
  const Network::Cut b = network_.Separate(Fault::kBridge, {{1, 2}});
  network_.Restore(a);
  EXPECT_FALSE(network_.Connected(1, 2));
  EXPECT_TRUE(network_.Connected(2, 1));
  network_.Restore(b);
  EXPECT_TRUE(network_.Connected(1, 2));
}

TEST_F(NetworkTest, AFaultThatMetNobodyDoesNotCount) {
  Weather weather;
  weather.loss = 1'000'000;
  network_.SetWeather(weather);
  network_.Separate(Fault::kPartition, {{1, 2}});
  network_.Heal();
  SendMany(1, 2, 3);
  RunAll();
  EXPECT_EQ(arrived_.size(), 3u);
  EXPECT_EQ(counts_.total(), 0u);
}

}  // namespace
}  // namespace millrace::raftsim
