// A snapshot that comes from a leader, chunk by chunk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/strings.h"
#include "raft/log/snapshot_store.h"
#include "raft/log/testing/snapshot_member.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SnapshotInstallTest : public testing::Test {
 protected:
  SnapshotInstallTest() {
    EXPECT_TRUE(leader_.Take(40, 500).ok());
    reader_ = *leader_.store->OpenNewest();
    description_ = EncodeSnapshotDescription(reader_->meta());
  }

  // Sends chunks [first, end).
  absl::Status Send(SnapshotReader& from, SnapshotInstaller& to, uint64_t first,
                    uint64_t end) {
    for (uint64_t n = first; n < end; ++n) {
      const auto chunk = from.ReadChunk(n);
      if (!chunk.ok()) return chunk.status();
      if (absl::Status s = to.Append(n, *chunk); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  SnapshotMember member_{17};
  SnapshotMember leader_{4};
  std::unique_ptr<SnapshotReader> reader_;
  std::string description_;
};

TEST_F(SnapshotInstallTest, AWholeOneBecomesTheNewest) {
  ASSERT_TRUE(member_.Take(3, 100).ok());
  {
    auto installer = *member_.store->Install(description_);
    EXPECT_EQ(installer->meta(), reader_->meta());
    EXPECT_EQ(installer->next_chunk(), 0u);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 8).ok());
    EXPECT_EQ(installer->next_chunk(), 8u);
    EXPECT_EQ(member_.store->newest().index, 3u);
    ASSERT_TRUE(installer->Finish().ok());
  }
  member_.ExpectNewest(40, 500);
  EXPECT_TRUE(member_.store->newest().installed);
  EXPECT_EQ(member_.store->older_index(), 3u);
  member_.Reopen();
  member_.ExpectNewest(40, 500);
  EXPECT_TRUE(member_.store->newest().installed);
  // Sent on, it is the same.
  EXPECT_EQ(EncodeSnapshotDescription((*member_.store->OpenNewest())->meta()),
            description_);
}

TEST_F(SnapshotInstallTest, AnEmptyOneToo) {
  ASSERT_TRUE(leader_.Take(41, 0).ok());
  const auto reader = *leader_.store->OpenNewest();
  auto installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  ASSERT_TRUE(installer->Finish().ok());
  member_.ExpectNewest(41, 0);
}

TEST_F(SnapshotInstallTest, GoesOnAtTheChunkItHadReached) {
  for (uint64_t chunk = 0; chunk <= 8; ++chunk) {
    SnapshotMember member(17);
    {
      auto installer = *member.store->Install(description_);
      ASSERT_TRUE(Send(*reader_, *installer, 0, chunk).ok());
    }
    auto installer = *member.store->Install(description_);
    EXPECT_EQ(installer->next_chunk(), chunk);
    ASSERT_TRUE(Send(*reader_, *installer, chunk, 8).ok());
    ASSERT_TRUE(installer->Finish().ok());
    member.ExpectNewest(40, 500);
    EXPECT_THAT(member.Names(), ElementsAre(SnapshotName(1, 40)));
  }
}

TEST_F(SnapshotInstallTest, ChunksComeInOrder) {
  auto installer = *member_.store->Install(description_);
  ASSERT_TRUE(Send(*reader_, *installer, 0, 3).ok());
  for (const uint64_t number : {4, 5, 8, 1000}) {
    const absl::Status status =
        installer->Append(number, *reader_->ReadChunk(number % 8));
    EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  }
  EXPECT_THAT(MessageOf(installer->Append(5, *reader_->ReadChunk(5))),
              HasSubstr("chunk 5 came, chunk 3 of 8 is expected"));
  EXPECT_TRUE(absl::IsOutOfRange(installer->Finish()));
  // Again what was there, even if it is damaged now: nobody looks.
  for (const uint64_t number : {0, 2}) {
    EXPECT_TRUE(installer->Append(number, "nonsense").ok());
  }
  EXPECT_EQ(installer->next_chunk(), 3u);
  // The wrong one under the right number.
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, *reader_->ReadChunk(4))));
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, *reader_->ReadChunk(7))));
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, "")));
  ASSERT_TRUE(Send(*reader_, *installer, 3, 8).ok());
  EXPECT_TRUE(absl::IsOutOfRange(installer->Append(8, "more")));
  ASSERT_TRUE(installer->Finish().ok());
  member_.ExpectNewest(40, 500);
}

TEST_F(SnapshotInstallTest, EveryBitOfEveryChunk) {
  auto installer = *member_.store->Install(description_);
  for (uint64_t n = 0; n < 8; ++n) {
    const std::string chunk = *reader_->ReadChunk(n);
    for (size_t i = 0; i < chunk.size(); ++i) {
      std::string damaged = chunk;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      ASSERT_TRUE(absl::IsDataLoss(installer->Append(n, damaged)));
      ASSERT_FALSE(installer->Append(n, chunk.substr(0, i)).ok());
    }
    ASSERT_TRUE(installer->Append(n, chunk).ok());
  }
  ASSERT_TRUE(installer->Finish().ok());
  member_.ExpectNewest(40, 500);
}

// Sound chunks, but of two snapshots that should be the same and are not.
TEST_F(SnapshotInstallTest, TwoLeadersThatDisagreeDoNotMix) {
  SnapshotMember other(5);
  auto writer = *other.store->Create(40, 1, "members at 40");
  std::string content = SnapshotContent(40, 500);
  content[10] = static_cast<char>(content[10] ^ 1);
  ASSERT_TRUE(writer->Append(content).ok());
  ASSERT_TRUE(writer->Finish().ok());
  const auto reader = *other.store->OpenNewest();
  for (uint64_t chunk = 1; chunk < 8; ++chunk) {
    auto installer = *member_.store->Install(description_);
    EXPECT_EQ(installer->next_chunk(), 0u);
    ASSERT_TRUE(Send(*reader_, *installer, 0, chunk).ok());
    const absl::Status status = Send(*reader, *installer, chunk, chunk + 1);
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_THAT(MessageOf(status), HasSubstr("does not follow"));
    // The transfer is over.
    EXPECT_EQ(installer->Append(chunk, "x"), status);
    EXPECT_EQ(installer->Finish(), status);
    EXPECT_THAT(member_.Names(), IsEmpty());
  }
  // All of the other, under the description of the one.
  auto installer = *member_.store->Install(description_);
  EXPECT_TRUE(absl::IsDataLoss(Send(*reader, *installer, 0, 8)));
  EXPECT_EQ(member_.store->newest().index, 0u);
}

TEST_F(SnapshotInstallTest, AnotherSnapshotEndsATransferThatBrokeOff) {
  {
    auto installer = *member_.store->Install(description_);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 5).ok());
  }
  ASSERT_TRUE(leader_.Take(41, 400).ok());
  const auto reader = *leader_.store->OpenNewest();
  auto installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  EXPECT_EQ(installer->next_chunk(), 0u);
  EXPECT_EQ(member_.Names().size(), 1u);
  ASSERT_TRUE(Send(*reader, *installer, 0, 7).ok());
  ASSERT_TRUE(installer->Finish().ok());
  member_.ExpectNewest(41, 400);
}

TEST_F(SnapshotInstallTest, ATransferThatBrokeOffGoesWhenItIsNotNeeded) {
  const auto begin = [&] {
    auto installer = *member_.store->Install(description_);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 5).ok());
  };
  begin();
  EXPECT_EQ(member_.Names().size(), 1u);
  member_.store->GiveUpTransfer();
  EXPECT_THAT(member_.Names(), IsEmpty());
  member_.store->GiveUpTransfer();

  begin();
  member_.Reopen();  // A later process does not take it up.
  EXPECT_THAT(member_.Names(), IsEmpty());

  begin();
  ASSERT_TRUE(member_.Take(39, 10).ok());
  EXPECT_EQ(member_.Names().size(), 2u);
  ASSERT_TRUE(member_.Take(40, 10).ok());
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 39), SnapshotName(1, 40)));
}

TEST_F(SnapshotInstallTest, WhatIsFinishedFirstWins) {
  auto installer = *member_.store->Install(description_);
  ASSERT_TRUE(Send(*reader_, *installer, 0, 8).ok());
  auto writer = *member_.store->Create(39, 1, "members at 39");
  ASSERT_TRUE(writer->Append(SnapshotContent(39, 100)).ok());
  ASSERT_TRUE(installer->Finish().ok());
  EXPECT_TRUE(absl::IsAborted(writer->Finish()));
  installer.reset();
  writer.reset();
  member_.ExpectNewest(40, 500);
  EXPECT_THAT(member_.Names(), ElementsAre(SnapshotName(1, 40)));

  ASSERT_TRUE(leader_.Take(50, 300).ok());
  const auto reader = *leader_.store->OpenNewest();
  installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  ASSERT_TRUE(Send(*reader, *installer, 0, 5).ok());
  ASSERT_TRUE(member_.Take(51, 100).ok());
  EXPECT_TRUE(absl::IsAborted(installer->Finish()));
  installer.reset();
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 40), SnapshotName(1, 51)));
  // One whose transfer is under way goes when that ends.
  ASSERT_TRUE(leader_.Take(60, 300).ok());
  const auto later = *leader_.store->OpenNewest();
  installer = *member_.store->Install(EncodeSnapshotDescription(later->meta()));
  ASSERT_TRUE(Send(*later, *installer, 0, 2).ok());
  ASSERT_TRUE(member_.Take(61, 100).ok());
  installer.reset();
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 51), SnapshotName(1, 61)));
}

TEST_F(SnapshotInstallTest, WhatIsRefusedAtOnce) {
  const auto refused = [&](std::string_view description) {
    return member_.store->Install(description).status();
  };
  EXPECT_TRUE(absl::IsDataLoss(refused("nonsense")));
  EXPECT_TRUE(absl::IsDataLoss(refused("")));
  {
    auto first = *member_.store->Install(description_);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused(description_)));
  }
  member_.disk.SetFreeBytes(800);
  member_.store->GiveUpTransfer();
  const absl::Status full = refused(description_);
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(MessageOf(full), HasSubstr("bytes, free are 800"));
  EXPECT_THAT(member_.Names(), IsEmpty());
  member_.disk.SetFreeBytes(1 << 20);
  ASSERT_TRUE(member_.Take(40, 10).ok());
  EXPECT_TRUE(absl::IsAborted(refused(description_)));
  SnapshotFileMeta foreign = reader_->meta();
  foreign.cluster = *ClusterId::FromHex("ff112233445566778899aabbccddeeff");
  const absl::Status status = refused(EncodeSnapshotDescription(foreign));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(MessageOf(status),
              HasSubstr("of cluster ff112233445566778899aabbccddeeff was sent "
                        "to a member of 0011"));
}

}  // namespace
}  // namespace millrace::raft
