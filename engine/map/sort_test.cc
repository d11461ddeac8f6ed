#include "engine/map/sort.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/map/map_side_test.h"
#include "gtest/gtest.h"

namespace millrace::engine {
namespace {

struct VectorKeys {
  const std::vector<std::string>* keys;
  std::string_view Key(uint64_t position) const { return (*keys)[position]; }
  const char* Address(uint64_t position) const {
    return (*keys)[position].data();
  }
};

// Sorts with the given scratch space and compares with std::stable_sort.
void ExpectSorted(const std::vector<std::string>& keys, uint32_t num_partitions,
                  size_t scratch_entries) {
  std::vector<SortEntry> index;
  for (size_t i = 0; i < keys.size(); ++i) {
    index.push_back(
        {KeyPrefix(keys[i]),
         MakeRef(HashPartition(Hash64(keys[i]), num_partitions), i)});
  }
  std::vector<uint64_t> expected;
  for (const SortEntry& e : index) expected.push_back(e.ref);
  std::stable_sort(expected.begin(), expected.end(),
                   [&](uint64_t a, uint64_t b) {
                     if (RefPartition(a) != RefPartition(b)) {
                       return RefPartition(a) < RefPartition(b);
                     }
                     return keys[RefPosition(a)] < keys[RefPosition(b)];
                   });

  std::vector<SortEntry> scratch(scratch_entries);
  Progress progress(nullptr);
  IndexSorter sorter(VectorKeys{&keys}, std::span(scratch), progress);
  sorter.Sort(index, num_partitions);
  std::vector<uint64_t> sorted;
  for (const SortEntry& e : index) sorted.push_back(e.ref);
  ASSERT_EQ(sorted, expected);
}

TEST(SortTest, OrdersSmallCasesAsStableSortDoes) {
  for (uint64_t seed = 0; seed < 10000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 rng(seed);
    KeyMaker make_key(rng(), 1 + rng() % 2000);
    std::vector<std::string> keys(rng() % (rng() % 8 == 0 ? 900 : 60));
    for (std::string& key : keys) key = make_key();
    ExpectSorted(keys, 1 + static_cast<uint32_t>(rng() % 5),
                 rng() % 2 == 0 ? 0 : rng() % 300);
    if (HasFatalFailure()) return;
  }
}

TEST(SortTest, OrdersLargeCasesAsStableSortDoes) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    KeyMaker make_key(seed, 100000);
    std::vector<std::string> keys(100000);
    for (std::string& key : keys) key = make_key();
    ExpectSorted(keys, 2, seed % 2 == 0 ? 0 : 1 << 14);
    if (HasFatalFailure()) return;
  }
}

TEST(SortTest, KeepsEmitOrderOfOneKey) {
  const std::vector<std::string> keys(200000, "the only key there is");
  ExpectSorted(keys, 1, 0);
  ExpectSorted(keys, 7, 1000);
}

// Each key is the longest common prefix of all that follow: as many levels of
// equal prefixes as there can be.
TEST(SortTest, KeysThatArePrefixesOfOneAnother) {
  std::vector<std::string> keys;
  for (size_t size = 0; size < 3000; ++size) keys.emplace_back(size, 'x');
  std::mt19937_64 rng(1);
  std::shuffle(keys.begin(), keys.end(), rng);
  ExpectSorted(keys, 1, 0);
  ExpectSorted(keys, 1, 5000);
  for (std::string& key : keys) std::fill(key.begin(), key.end(), '\0');
  ExpectSorted(keys, 2, 0);
}

TEST(SortTest, LongKeysThatDifferAtTheirEnds) {
  std::vector<std::string> keys;
  for (int i = 0; i < 500; ++i) {
    keys.push_back(std::string(2000, 'x') + Cat(i * 7919 % 500));
  }
  ExpectSorted(keys, 1, 0);
}

TEST(SortTest, MorePartitionsThanEntries) {
  ExpectSorted({"b", "a", "c", "a"}, kPartitionsMax, 0);
}

TEST(SortTest, ReportsProgress) {
  KeyMaker make_key(3, 1000000);
  std::vector<std::string> keys(400000);
  for (std::string& key : keys) key = make_key();
  std::vector<SortEntry> index;
  for (size_t i = 0; i < keys.size(); ++i) {
    index.push_back({KeyPrefix(keys[i]), MakeRef(0, i)});
  }
  int reports = 0;
  Progress progress([&reports] { ++reports; });
  IndexSorter sorter(VectorKeys{&keys}, std::span<SortEntry>(), progress);
  sorter.Sort(index, 1);
  EXPECT_GT(reports, 3);
}

}  // namespace
}  // namespace millrace::engine
