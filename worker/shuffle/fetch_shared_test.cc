// Transfers of several sections: what shares one, and what is left of it when
// something goes wrong in the middle.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/testing/fetch_world.h"

namespace millrace::worker {
namespace {

using Blame = fetch::TransferEnded::Blame;

// Maps with three partitions of some 2 KB at one worker, for a reduce that
// brings them in one transfer at a time.
class FetchSharedTest : public testing::Test {
 protected:
  static FetchOptions Options() {
    FetchOptions options = FetchWorld::Options();
    options.transfers_per_source_max = 1;
    return options;
  }
  explicit FetchSharedTest(const FetchOptions& options = Options())
      : options_(options) {
    outputs_.reserve(200);
    Renew();
  }

  // As in the beginning.
  void Renew() {
    world_ = std::make_unique<FetchWorld>(options_);
    worker_ = world_->AddWorker(1);
    outputs_.clear();
    all_.clear();
  }

  std::vector<const TestOutput*> Add(uint32_t count) {
    std::vector<const TestOutput*> added;
    while (added.size() < count) {
      outputs_.push_back(Output(static_cast<uint32_t>(outputs_.size())));
      added.push_back(&outputs_.back());
      all_.push_back(&outputs_.back());
    }
    return added;
  }
  // A reduce for partition 1 of so many maps, of which the first has come: how
  // long they are is known. The others share the transfer under way.
  void Begin(uint32_t maps) {
    world_->Locate(Add(maps), worker_);
    reduce_ = world_->StartReduce(1, maps);
    world_->Complete(world_->Only().start.transfer);
  }
  FetchWorld::Wire& Only() { return world_->Only(); }
  static std::vector<uint32_t> MapsOf(const fetch::StartTransfer& start) {
    std::vector<uint32_t> maps;
    for (const auto& section : start.sections) {
      maps.push_back(section.identity.map_index);
    }
    return maps;
  }
  uint64_t BytesOfAll() const {
    uint64_t bytes = 0;
    for (const TestOutput* output : all_) bytes += output->partition(1).size();
    return bytes;
  }
  // All are here, no byte was brought twice, and nobody was told of anything.
  void ExpectReadyInPeace() {
    world_->CompleteAll();
    ExpectReady(*world_, reduce_, 1, all_);
    EXPECT_TRUE(world_->failed_.empty());
    EXPECT_EQ(world_->progress_.back().fetched_bytes, BytesOfAll());
  }

  const FetchOptions options_;
  std::unique_ptr<FetchWorld> world_;
  WorkerIncarnation worker_;
  std::vector<TestOutput> outputs_;
  std::vector<const TestOutput*> all_;
  AttemptUid reduce_;
};

TEST_F(FetchSharedTest, SmallSectionsShareATransferOnceOneHasCome) {
  Begin(40);
  EXPECT_EQ(world_->started_[0].sections.size(), 1);
  EXPECT_EQ(Only().start.sections.size(), 39);
  ExpectReadyInPeace();
  EXPECT_EQ(world_->started_.size(), 2);
  EXPECT_EQ(world_->IndexesAskedFor(), 40);
}

TEST_F(FetchSharedTest, NoMoreThanTheLimitShareATransfer) {
  Begin(150);
  EXPECT_EQ(Only().start.sections.size(), 64);
  ExpectReadyInPeace();
  EXPECT_EQ(world_->started_.size(), 1 + 3);
  EXPECT_EQ(world_->SectionsAskedFor(), 150);
}

TEST_F(FetchSharedTest, ATransferIsOfOneReduce) {
  world_->Locate(Add(10), worker_);
  const AttemptUid first = world_->StartReduce(0, 10);
  const AttemptUid second = world_->StartReduce(2, 10);
  world_->CompleteAll();
  EXPECT_EQ(world_->ready_.size(), 2);
  for (const auto& start : world_->started_) {
    EXPECT_EQ(start.partition, start.attempt == first ? 0 : 2);
    EXPECT_TRUE(start.attempt == first || start.attempt == second);
  }
  // The second one knows all lengths before it begins.
  EXPECT_EQ(world_->started_.size(), 3);
  EXPECT_EQ(world_->IndexesAskedFor(), 10);
}

class FetchTwoTransfersTest : public FetchSharedTest {
 protected:
  FetchTwoTransfersTest() : FetchSharedTest(FetchWorld::Options()) {}
};

TEST_F(FetchTwoTransfersTest, WhatIsThereIsSharedOutEvenly) {
  world_->Locate(Add(42), worker_);
  reduce_ = world_->StartReduce(1, 73);
  ASSERT_EQ(world_->wires_.size(), 2);
  const TransferId first = world_->wires_.begin()->first;
  const TransferId second = world_->wires_.rbegin()->first;
  world_->Pass(absl::Milliseconds(100));  // More could come.
  world_->Complete(first);
  ASSERT_EQ(world_->started_.size(), 3);
  EXPECT_EQ(world_->started_[2].sections.size(), 40);  // One is free.
  world_->Complete(second);
  world_->CompleteAll();
  world_->Locate(Add(31), worker_);
  ASSERT_EQ(world_->started_.size(), 5);
  EXPECT_EQ(world_->started_[3].sections.size(), 16);
  EXPECT_EQ(world_->started_[4].sections.size(), 15);
  ExpectReadyInPeace();
}

class FetchLengthsTest : public FetchSharedTest {
 protected:
  static FetchOptions OfAFewSections() {
    FetchOptions options = Options();
    options.shared_bytes = Output(0).partition(1).size() * 5 / 2;
    return options;
  }
  FetchLengthsTest() : FetchSharedTest(OfAFewSections()) {}
};

TEST_F(FetchLengthsTest, ATransferIsFullWhenSoMuchIsExpected) {
  Begin(31);
  ExpectReadyInPeace();
  for (size_t i = 1; i < world_->started_.size(); ++i) {
    EXPECT_LE(world_->started_[i].sections.size(), 4) << i;
  }
  EXPECT_LE(world_->started_.size(), 1 + 15);
}

TEST_F(FetchLengthsTest, WhatIsKnownOfLengthsCounts) {
  Add(8);
  TestOutputOptions large;
  large.map_index = 8;
  large.records = 1000;
  outputs_.push_back(MakeTestOutput(large));
  all_.push_back(&outputs_.back());
  Add(4);
  world_->Locate(all_, worker_);
  world_->StartReduce(0, 13);  // Brings all indexes.
  world_->CompleteAll();
  const size_t before = world_->started_.size();
  world_->StartReduce(1, 13);
  world_->CompleteAll();
  for (size_t i = before; i < world_->started_.size(); ++i) {
    const std::vector<uint32_t> maps = MapsOf(world_->started_[i]);
    const auto at = std::find(maps.begin(), maps.end(), 8);
    if (at != maps.end()) {
      EXPECT_EQ(at + 1, maps.end());  // Nobody waits for it.
    }
  }
}

TEST_F(FetchSharedTest, LargeSectionsComeOneByOne) {
  FetchOptions options = Options();
  options.shared_bytes = Output(0).partition(1).size() / 2;
  FetchWorld world(options);
  const auto worker = world.AddWorker(1);
  world.Locate(Add(12), worker);
  const AttemptUid reduce = world.StartReduce(1, 12);
  world.CompleteAll();
  ExpectReady(world, reduce, 1, all_);
  EXPECT_EQ(world.started_.size(), 12);
}

// ------------------------------------------------------- broken in the middle

TEST_F(FetchSharedTest, WhenItBreaksWhatIsCompleteStaysAndTheRestGoesOn) {
  Begin(8);
  world_->SendSection(Only());
  world_->SendSection(Only());
  world_->SendBytes(Only(), world_->OutputOf(Only()), 100);
  EXPECT_EQ(Only().section().identity.map_index, 3);
  world_->End(Only().start.transfer, kCut);
  EXPECT_TRUE(world_->wires_.empty());  // Not at once.
  world_->Pass(absl::Seconds(1));
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{3, 4, 5, 6, 7}));
  EXPECT_EQ(Only().section().offset, 100);
  EXPECT_FALSE(Only().section().want_index);
  EXPECT_EQ(Only().start.sections[1].offset, 0);
  EXPECT_TRUE(Only().start.sections[1].want_index);
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, ACutAnywhereIsResumedThere) {
  const uint64_t size = Output(1).partition(1).size() +
                        Output(2).partition(1).size() +
                        Output(3).partition(1).size();
  for (uint64_t cut = 0; cut < size; cut += 7) {
    Renew();
    Begin(4);
    for (uint64_t left = cut; left > 0;) {
      const uint64_t of = world_->OutputOf(Only()).partition(1).size();
      world_->SendBytes(Only(), world_->OutputOf(Only()), left);
      left -= std::min(left, of);
    }
    world_->End(Only().start.transfer, kCut);
    world_->Pass(absl::Seconds(1));
    ExpectReadyInPeace();
  }
}

// The source is to blame, once, and of the sections the one that was due.
TEST_F(FetchSharedTest, ASourceThatDiesIsReportedAfterThreeTries) {
  Begin(30);
  world_->SendSection(Only());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(world_->failed_.empty());
    EXPECT_EQ(Only().section().identity.map_index, 2);
    world_->End(Only().start.transfer, kCut);
    world_->Pass(absl::Milliseconds(500));
  }
  ASSERT_EQ(world_->failed_.size(), 28);  // All that it has, once each.
  for (size_t i = 0; i < 28; ++i) {
    EXPECT_EQ(world_->failed_[i].map_index, i + 2);
    EXPECT_FALSE(world_->failed_[i].gone);
  }
  for (int i = 0; i < 60 && world_->ready_.empty(); ++i) {
    world_->Pass(absl::Seconds(1));
    world_->CompleteAll();
  }
  ExpectReady(*world_, reduce_, 1, all_);
}

TEST_F(FetchSharedTest, TriesCountForTheSectionThatWasDueAlone) {
  Begin(6);
  // Each of them meets two cuts, with some bytes in between: none has three.
  for (int i = 0; i < 10; ++i) {
    world_->End(Only().start.transfer, kCut);
    world_->Pass(absl::Seconds(2));
    world_->End(Only().start.transfer, kCut);
    world_->Pass(absl::Seconds(2));
    world_->SendBytes(Only(), world_->OutputOf(Only()), 200);
  }
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, ASilentOneIsEndedAndTheSectionThatWasDueIsToBlame) {
  Begin(5);
  world_->SendSection(Only());
  world_->SendBytes(Only(), world_->OutputOf(Only()), 50);
  world_->Pass(absl::Seconds(16));
  EXPECT_TRUE(Only().cancelled);
  world_->End(Only().start.transfer, absl::CancelledError("cancelled"));
  EXPECT_TRUE(world_->wires_.empty());
  world_->Pass(absl::Seconds(1));
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{2, 3, 4}));
  EXPECT_EQ(Only().section().offset, 50);
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, DamageOfOneIsHeldAgainstThatOne) {
  Begin(6);
  world_->SendSection(Only());
  world_->SendBytes(Only(), outputs_[2], 5000, 300);
  // At once, and the good ones are not asked for again.
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{2, 3, 4, 5}));
  world_->SendBytes(Only(), outputs_[2], 5000, 300);
  ASSERT_EQ(world_->failed_.size(), 1);
  EXPECT_TRUE(world_->failed_[0].gone);
  EXPECT_EQ(world_->failed_[0].map_index, 2);
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{3, 4, 5}));
  world_->CompleteAll();
  EXPECT_EQ(world_->failed_.size(), 1);
  const TestOutput again = Output(2, 2);
  world_->Locate({&again}, worker_);
  world_->CompleteAll();
  all_[2] = &again;
  ExpectReady(*world_, reduce_, 1, all_);
}

TEST_F(FetchSharedTest, DamageInThePlaceOfAHeaderToo) {
  Begin(4);
  world_->SendSection(Only());
  world_->SendHeader(Only(), outputs_[3]);  // Of the one behind it.
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{2, 3}));
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, WhatTheHolderDoesNotHaveIsReportedAndTheRestComes) {
  for (const absl::Status& status :
       {absl::NotFoundError("no"), absl::DataLossError("damaged")}) {
    Renew();
    Begin(5);
    world_->SendSection(Only());
    const TransferId id = Only().start.transfer;
    world_->Refuse(Only(), status);
    ASSERT_EQ(world_->failed_.size(), 1);
    EXPECT_TRUE(world_->failed_[0].gone);
    EXPECT_EQ(world_->failed_[0].map_index, 2);
    EXPECT_EQ(Only().start.transfer, id);  // It goes on.
    world_->CompleteAll();
    EXPECT_EQ(world_->started_.size(), 2);
    world_->Pass(absl::Minutes(1));
    EXPECT_TRUE(world_->wires_.empty());
    world_->Locate({&outputs_[2]}, worker_);
    world_->CompleteAll();
    ExpectReady(*world_, reduce_, 1, all_);
  }
}

// A disk that cannot be read now is not a file that is lost.
TEST_F(FetchSharedTest, WhatTheHolderCannotReadNowIsTriedAgain) {
  Begin(5);
  world_->SendBytes(Only(), outputs_[1], 70);
  world_->Refuse(Only(), absl::InternalError("read error"));
  EXPECT_TRUE(world_->failed_.empty());
  world_->CompleteAll();
  EXPECT_EQ(world_->started_.size(), 2);
  world_->Pass(absl::Seconds(1));
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{1}));
  EXPECT_EQ(Only().section().offset, 70);
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, AStreamThatEndsWellBeforeItsTimeIsACut) {
  Begin(5);
  world_->SendSection(Only());
  world_->End(Only().start.transfer, absl::OkStatus());
  EXPECT_TRUE(world_->wires_.empty());
  world_->Pass(absl::Seconds(1));
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, HowItEndsDoesNotMatterWhenAllHasCome) {
  Begin(5);
  while (!Only().over()) world_->SendSection(Only());
  EXPECT_EQ(world_->ready_.size(), 1);
  world_->End(Only().start.transfer, kCut);
  ExpectReadyInPeace();
  EXPECT_EQ(world_->core_.transfers(), 0);
}

TEST_F(FetchSharedTest, AFullDiskInTheMiddleAbortsTheAttempt) {
  Begin(6);
  world_->SendSection(Only());
  world_->SendBytes(Only(), outputs_[2], 100);
  world_->End(Only().start.transfer, absl::ResourceExhaustedError("no space"),
              Blame::kLocal);
  ASSERT_EQ(world_->aborted_.size(), 1);
  world_->Pass(absl::Minutes(1));
  EXPECT_TRUE(world_->wires_.empty());
  world_->Step(fetch::Cancel{reduce_});
  EXPECT_EQ(world_->core_.memory_used(), 0);
  EXPECT_EQ(world_->core_.next_wake(), absl::InfiniteDuration());
}

// -------------------------------------------------------- changed in the
// middle

TEST_F(FetchSharedTest, ACancelledAttemptCancelsItsTransfer) {
  Begin(6);
  world_->SendSection(Only());
  world_->SendBytes(Only(), outputs_[2], 100);
  world_->Step(fetch::Cancel{reduce_});
  EXPECT_TRUE(Only().cancelled);
  // What is on its way disturbs nobody, up to a header that nobody wants.
  world_->SendBytes(Only(), outputs_[2], 100);
  world_->SendSection(Only());
  EXPECT_FALSE(world_->SendThisHeader(Only(), outputs_[3].header(1, true)));
  EXPECT_TRUE(world_->wires_.empty());
  world_->Pass(absl::Minutes(1));
  EXPECT_TRUE(world_->wires_.empty());
  EXPECT_TRUE(world_->failed_.empty());
  EXPECT_EQ(world_->core_.memory_used(), 0);
  EXPECT_EQ(world_->core_.next_wake(), absl::InfiniteDuration());
}

TEST_F(FetchSharedTest, AnOutputThatMovesMeanwhileLeavesTheOthersInPeace) {
  for (uint32_t moved = 1; moved < 6; ++moved) {
    Renew();
    Begin(6);
    world_->SendSection(Only());
    world_->SendBytes(Only(), outputs_[2], 100);
    const TransferId old = Only().start.transfer;
    const TestOutput now = Output(moved, 2);
    world_->Locate({&now}, world_->AddWorker(2));
    if (moved == 1) {
      EXPECT_FALSE(Only().cancelled);  // It is here already.
      ExpectReadyInPeace();
      continue;
    }
    EXPECT_TRUE(world_->wires_.at(old).cancelled);
    ASSERT_EQ(world_->wires_.size(), 2);
    EXPECT_EQ(MapsOf(world_->wires_.rbegin()->second.start),
              std::vector<uint32_t>{moved});
    // Some of it is still on its way.
    world_->SendBytes(world_->wires_.at(old), outputs_[2], 100);
    world_->End(old, absl::CancelledError("cancelled"));
    // The others go on at once, from where they were.
    ASSERT_EQ(world_->wires_.size(), 2);
    const auto& again = world_->wires_.rbegin()->second.start;
    EXPECT_EQ(again.sections.size(), 3);
    if (moved != 2) {
      EXPECT_EQ(again.sections[0].identity.map_index, 2);
      EXPECT_EQ(again.sections[0].offset, 200);
    }
    EXPECT_EQ(again.address, "w1:1");
    world_->CompleteAll();
    all_[moved] = &now;
    ExpectReady(*world_, reduce_, 1, all_);
    EXPECT_TRUE(world_->failed_.empty());
  }
}

// The section under way is not wanted any more, but its end and the next one
// are on their way.
TEST_F(FetchSharedTest, WhatFollowsASectionThatIsNotWantedIsTakenForItself) {
  Begin(6);
  world_->SendBytes(Only(), outputs_[1], 100);
  world_->Lose(outputs_[1]);
  EXPECT_TRUE(Only().cancelled);
  world_->SendSection(Only());
  EXPECT_EQ(Only().section().identity.map_index, 2);
  world_->SendSection(Only());
  EXPECT_EQ(Only().section().identity.map_index, 3);
  world_->SendBytes(Only(), outputs_[3], 100);
  world_->End(Only().start.transfer, absl::CancelledError("cancelled"));
  EXPECT_EQ(MapsOf(Only().start), (std::vector<uint32_t>{3, 4, 5}));
  EXPECT_EQ(Only().section().offset, 100);
  world_->CompleteAll();
  EXPECT_TRUE(world_->ready_.empty());
  world_->Locate({&outputs_[1]}, worker_);
  EXPECT_EQ(Only().section().offset, 0);
  world_->CompleteAll();
  ExpectReady(*world_, reduce_, 1, all_);
  EXPECT_TRUE(world_->failed_.empty());
}

TEST_F(FetchSharedTest, AFullDiskCountsAlsoWhenAnotherSectionWasGivenUp) {
  Begin(6);
  world_->SendBytes(Only(), outputs_[1], 100);
  world_->Lose(outputs_[4]);
  world_->End(Only().start.transfer, absl::ResourceExhaustedError("no space"),
              Blame::kLocal);
  EXPECT_EQ(world_->aborted_.size(), 1);
}

TEST_F(FetchSharedTest, EmptySectionsAreHeadersBetweenOthers) {
  Add(2);
  for (const uint32_t map : {2u, 3u, 5u}) {
    while (outputs_.size() < map) Add(1);
    TestOutputOptions options;
    options.map_index = map;
    options.empty_partitions = {1};
    outputs_.push_back(MakeTestOutput(options));
    all_.push_back(&outputs_.back());
  }
  world_->Locate(all_, worker_);
  reduce_ = world_->StartReduce(1, 6);
  world_->CompleteAll();
  EXPECT_EQ(world_->started_.size(), 2);
  ExpectReadyInPeace();
}

TEST_F(FetchSharedTest, WhenTheTransferBreaksAnotherBringsTheIndexes) {
  Begin(5);
  world_->StartReduce(2, 5);
  EXPECT_EQ(Only().start.sections.size(), 4);  // It brings them all.
  world_->SendSection(Only());
  world_->Step(fetch::Cancel{reduce_});
  world_->CompleteAll();
  ASSERT_EQ(world_->ready_.size(), 1);
  EXPECT_EQ(world_->IndexesAskedFor(), 1 + 4 + 3);
}

// ------------------------------------------------------------------ gathering

TEST_F(FetchSharedTest, WhileMapsRunSmallSectionsWaitForEachOther) {
  world_->Locate(Add(1), worker_);
  reduce_ = world_->StartReduce(1, 100);
  EXPECT_EQ(Only().start.sections.size(), 1);  // At once.
  world_->CompleteAll();
  for (int i = 0; i < 9; ++i) {
    world_->Locate(Add(1), worker_);
    EXPECT_TRUE(world_->wires_.empty());
    world_->Pass(absl::Milliseconds(11));
  }
  EXPECT_TRUE(world_->wires_.empty());
  world_->Pass(absl::Milliseconds(1));
  EXPECT_EQ(Only().start.sections.size(), 9);
  world_->CompleteAll();
  // Enough for a transfer.
  world_->Locate(Add(63), worker_);
  EXPECT_TRUE(world_->wires_.empty());
  world_->Locate(Add(1), worker_);
  EXPECT_EQ(Only().start.sections.size(), 64);
  world_->CompleteAll();
  // The last ones.
  world_->Locate(Add(25), worker_);
  EXPECT_TRUE(world_->wires_.empty());
  world_->Locate(Add(1), worker_);
  EXPECT_EQ(Only().start.sections.size(), 26);
  ExpectReadyInPeace();
}

TEST_F(FetchLengthsTest, LargeSectionsWaitForNobody) {
  world_->Locate(Add(1), worker_);
  world_->StartReduce(1, 100);
  world_->CompleteAll();
  world_->Locate(Add(4), worker_);  // More than a transfer is to bring.
  EXPECT_EQ(world_->wires_.size(), 1);
}

}  // namespace
}  // namespace millrace::worker
