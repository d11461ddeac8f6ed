#include "worker/shuffle/transfer_receiver.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {
namespace {

using fetch::TransferEnded;

// Three outputs, of which the second has no bytes in partition 1, on their way
// to a core that wants all of them.
class TransferReceiverTest : public testing::Test,
                             private TransferReceiver::Edge {
 protected:
  TransferReceiverTest() {
    for (uint32_t map = 0; map < 3; ++map) {
      TestOutputOptions options;
      options.map_index = map;
      if (map == 1) options.empty_partitions = {1};
      outputs_.push_back(MakeTestOutput(options));
      auto& section = start_.sections.emplace_back();
      section.identity = outputs_[map].identity;
      section.root = outputs_[map].summary.root;
      section.want_index = true;
    }
    start_.transfer = 5;
    start_.num_partitions = 3;
    start_.partition = 1;
    TransferReceiver::Edge& edge = *this;
    receiver_ = std::make_unique<TransferReceiver>(start_, edge);
  }

  std::optional<TransferReceiver::Target> OnHeader(
      const fetch::HeaderArrived& arrived) override {
    EXPECT_EQ(arrived.transfer, 5);
    headers_.push_back(arrived.section);
    const engine::PartitionEntry& entry = arrived.index->partitions[1];
    if (arrived.partition_bytes != entry.bytes) return std::nullopt;
    const size_t at = arrived.section;
    const auto write = [this, at](uint64_t offset, std::string_view bytes) {
      EXPECT_EQ(offset, stored_[at].size());
      stored_[at] += bytes;
      return write_;
    };
    return TransferReceiver::Target{
        SectionTarget{Placement(), std::make_shared<BlockVerifier>(
                                       outputs_[at].identity, 1, entry)},
        TransferReceiver::Write(write)};
  }
  void OnStored(const fetch::Stored& stored) override {
    EXPECT_EQ(stored.section, headers_.back());
  }
  void OnRefused(const fetch::SectionRefused& refused) override {
    refused_.push_back(refused);
  }

  proto::FetchPiece& AddPiece(uint32_t map, uint64_t offset, uint64_t size) {
    proto::FetchPiece& piece = *slice_.add_pieces();
    if (offset == 0) *piece.mutable_header() = outputs_[map].header(1, true);
    piece.set_offset(offset);
    piece.set_data(outputs_[map].partition(1).substr(offset, size));
    return piece;
  }
  std::optional<TransferEnded> Take() {
    auto ended = receiver_->Take(slice_);
    slice_.Clear();
    return ended;
  }
  void ExpectBlame(size_t section, TransferEnded::Blame blame) {
    const std::optional<TransferEnded> ended = Take();
    ASSERT_TRUE(ended.has_value());
    EXPECT_EQ(ended->transfer, 5);
    EXPECT_EQ(ended->section, section);
    EXPECT_EQ(ended->blame, blame);
    EXPECT_FALSE(ended->status.ok());
  }

  static constexpr uint64_t kAll = 1 << 20;
  std::vector<TestOutput> outputs_;
  fetch::StartTransfer start_;
  std::unique_ptr<TransferReceiver> receiver_;
  proto::FetchSlice slice_;
  absl::Status write_;
  // What it has said.
  std::vector<size_t> headers_;
  std::vector<fetch::SectionRefused> refused_;
  std::string stored_[3];
};

TEST_F(TransferReceiverTest, SectionsOfOneSlice) {
  for (uint32_t map = 0; map < 3; ++map) AddPiece(map, 0, kAll);
  EXPECT_FALSE(Take().has_value());
  EXPECT_EQ(headers_, (std::vector<size_t>{0, 1, 2}));
  for (size_t map = 0; map < 3; ++map) {
    EXPECT_EQ(stored_[map], outputs_[map].partition(1));
  }
  EXPECT_EQ(receiver_->Ended(absl::OkStatus()).section, 3);
}

TEST_F(TransferReceiverTest, SectionsOfManySlices) {
  for (uint32_t map = 0; map < 3; ++map) {
    for (uint64_t at = 0; at == 0 || at < outputs_[map].partition(1).size();
         at += 90) {
      EXPECT_EQ(receiver_->Ended(absl::OkStatus()).section, map);
      AddPiece(map, at, 90);
      EXPECT_FALSE(Take().has_value());
    }
    EXPECT_EQ(stored_[map], outputs_[map].partition(1));
  }
}

TEST_F(TransferReceiverTest, ARefusalMakesWayForTheNextSection) {
  AddPiece(0, 0, 100);  // Not to its end.
  slice_.add_pieces()->mutable_refusal()->set_code(13);
  proto::FetchRefusal& second = *slice_.add_pieces()->mutable_refusal();
  second.set_code(5);
  second.set_message(std::string(100'000, 'x'));
  AddPiece(2, 0, kAll);
  EXPECT_FALSE(Take().has_value());
  ASSERT_EQ(refused_.size(), 2);
  EXPECT_EQ(refused_[0].section, 0);
  EXPECT_TRUE(absl::IsInternal(refused_[0].status));
  EXPECT_EQ(refused_[1].section, 1);
  EXPECT_TRUE(absl::IsNotFound(refused_[1].status));
  EXPECT_EQ(refused_[1].status.message().size(), 4096);
  EXPECT_EQ(stored_[2], outputs_[2].partition(1));
}

TEST_F(TransferReceiverTest, ARefusalIsOneWhateverItsCode) {
  for (const uint32_t code : {0u, 17u, 4'000'000'000u}) {
    slice_.add_pieces()->mutable_refusal()->set_code(code);
  }
  EXPECT_FALSE(Take().has_value());
  ASSERT_EQ(refused_.size(), 3);
  for (const auto& refused : refused_) EXPECT_FALSE(refused.status.ok());
}

TEST_F(TransferReceiverTest, MoreBytesThanTheSectionHasAreItsOwnFault) {
  AddPiece(0, 0, kAll).mutable_data()->push_back('x');
  ExpectBlame(0, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, BytesOfAnEmptySectionAreItsOwnFault) {
  AddPiece(0, 0, kAll);
  AddPiece(1, 0, kAll).set_data("x");
  ExpectBlame(1, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, AnotherLengthThanTheIndexSays) {
  proto::FetchPiece& piece = AddPiece(0, 0, kAll);
  piece.mutable_header()->set_partition_bytes(kAll);
  ExpectBlame(0, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, AnotherOutputInTheMiddle) {
  AddPiece(0, 0, kAll);
  AddPiece(2, 0, kAll);  // Where 1 is due.
  ExpectBlame(1, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, AHeaderBeforeTheSectionIsComplete) {
  AddPiece(0, 0, 100);
  AddPiece(1, 0, kAll);
  ExpectBlame(0, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, BytesWithoutAHeader) {
  AddPiece(0, 0, kAll).clear_header();
  ExpectBlame(0, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, BytesLeftOut) {
  AddPiece(0, 0, 100);
  AddPiece(0, 101, kAll);
  ExpectBlame(0, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, AFlippedByteInTheLastSection) {
  AddPiece(0, 0, kAll);
  AddPiece(1, 0, kAll);
  AddPiece(2, 0, kAll).mutable_data()->at(500) ^= 1;
  ExpectBlame(2, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, MoreThanWasAskedForBlamesNobody) {
  for (uint32_t map = 0; map < 3; ++map) AddPiece(map, 0, kAll);
  AddPiece(0, 0, kAll);
  ExpectBlame(3, TransferEnded::Blame::kData);
}

TEST_F(TransferReceiverTest, WhatCannotBeStoredIsNobodysFaultButOurs) {
  AddPiece(0, 0, kAll);
  EXPECT_FALSE(Take().has_value());
  write_ = absl::ResourceExhaustedError("no space");
  AddPiece(1, 0, kAll);
  AddPiece(2, 0, kAll);
  ExpectBlame(2, TransferEnded::Blame::kLocal);
}

}  // namespace
}  // namespace millrace::worker
