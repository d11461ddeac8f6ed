// Snapshots on their way from one member's store to another's.
#include "raft/node/snapshot_transfer.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "raft/core/membership.h"
#include "raft/log/testing/snapshot_member.h"

namespace millrace::raft {
namespace {

Membership GroupAt(uint64_t index) {
  return {{4, {true, "leader:1"}}, {17, {index > 40, "member:1"}}};
}

class SnapshotTransferTest : public testing::Test {
 protected:
  static void Take(SnapshotMember& at, uint64_t index) {
    auto writer = at.store->Create(index, 1, EncodeMembership(GroupAt(index)));
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append(SnapshotContent(index, 200)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  absl::StatusOr<std::unique_ptr<IncomingSnapshot>> Announce(uint64_t index) {
    auto outgoing = OpenOutgoingSnapshot(*leader_.store, {1, index});
    EXPECT_TRUE(outgoing.ok()) << outgoing.status();
    outgoing_ = *std::move(outgoing);
    Message message;
    message.type = MessageType::kSnapshot;
    message.from = 4;
    message.to = 17;
    message.term = 9;
    message.snapshot = SnapshotMeta{{1, index}, GroupAt(index)};
    return ReceiveSnapshotInto(
        *member_.store, message, outgoing_->description(),
        [this](const Message& received, std::unique_ptr<ByteSource> state) {
          received_ = received;
          state_ = std::move(state);
        });
  }
  void SendChunks(IncomingSnapshot& to) {
    while (!to.complete()) {
      const uint64_t number = to.next_chunk();
      ASSERT_TRUE(to.Append(number, *outgoing_->ReadChunk(number)).ok());
    }
  }
  // What was handed on is the snapshot at `index`.
  void ExpectReceived(uint64_t index) {
    ASSERT_TRUE(received_.has_value());
    EXPECT_EQ(received_->term, 9u);
    EXPECT_EQ(received_->snapshot->last, (EntryId{1, index}));
    EXPECT_EQ(received_->snapshot->membership, GroupAt(index));
    std::string state(300, '\0');
    state.resize(*state_->Read(state.data(), state.size()));
    EXPECT_EQ(state, SnapshotContent(index, 200).substr(0, state.size()));
    EXPECT_FALSE(state.empty());
  }

  SnapshotMember member_{17};
  SnapshotMember leader_{4};
  std::unique_ptr<OutgoingSnapshot> outgoing_;
  std::optional<Message> received_;
  std::unique_ptr<ByteSource> state_;
};

TEST_F(SnapshotTransferTest, AWholeOneIsHandedOn) {
  Take(leader_, 40);
  auto incoming = *Announce(40);
  SendChunks(*incoming);
  EXPECT_FALSE(received_.has_value());
  ASSERT_TRUE(incoming->Commit().ok());
  ExpectReceived(40);
  // The leader did not hear of it: no chunk is needed again.
  received_.reset();
  incoming = *Announce(40);
  EXPECT_TRUE(incoming->complete());
  ASSERT_TRUE(incoming->Commit().ok());
  ExpectReceived(40);
}

// Refused, the leader would send its own again, for ever.
TEST_F(SnapshotTransferTest, ANewerOneThatIsThereStandsForIt) {
  Take(leader_, 40);
  Take(member_, 41);
  auto incoming = *Announce(40);
  EXPECT_TRUE(incoming->complete());
  ASSERT_TRUE(incoming->Commit().ok());
  ExpectReceived(41);
}

TEST_F(SnapshotTransferTest, SoDoesOneThatCameMeanwhile) {
  Take(leader_, 40);
  auto incoming = *Announce(40);
  SendChunks(*incoming);
  Take(member_, 41);
  ASSERT_TRUE(incoming->Commit().ok());
  ExpectReceived(41);
}

TEST_F(SnapshotTransferTest, WhatIsSentIsWhatWasAnnounced) {
  Take(leader_, 40);
  EXPECT_TRUE(
      absl::IsNotFound(OpenOutgoingSnapshot(*leader_.store, {1, 39}).status()));
  Message message;
  message.snapshot = SnapshotMeta{{1, 40}, GroupAt(41)};
  EXPECT_TRUE(absl::IsDataLoss(
      ReceiveSnapshotInto(
          *member_.store, message,
          (*OpenOutgoingSnapshot(*leader_.store, {1, 40}))->description(),
          nullptr)
          .status()));
}

}  // namespace
}  // namespace millrace::raft
