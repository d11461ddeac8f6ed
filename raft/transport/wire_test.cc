#include "raft/transport/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/hash.h"
#include "common/random.h"
#include "raft/core/membership.h"
#include "raft/replicated_log.h"
#include "rpc/limits.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

LogIdentity Self() {
  LogIdentity self;
  const auto random = Random::Seeded(1);
  self.cluster = ClusterId::Generate(*random);
  self.member = 7;
  return self;
}

Message AppendOf(std::vector<std::string> payloads) {
  Message message;
  message.type = MessageType::kAppend;
  message.from = 7;
  message.to = 8;
  message.term = 5;
  message.prev = {3, 41};
  message.commit = 40;
  for (std::string& payload : payloads) {
    message.entries.push_back({41 + message.entries.size() + 1,
                               message.entries.empty() ? uint64_t{4} : 5,
                               kNormalEntry, std::move(payload)});
  }
  return message;
}

Message SnapshotMessage() {
  Message message;
  message.type = MessageType::kSnapshot;
  message.from = 7;
  message.to = 8;
  message.term = 5;
  message.snapshot =
      SnapshotMeta{{4, 100}, {{7, {true, "a:1"}}, {8, {false, "b:2"}}}};
  return message;
}

std::vector<Message> EveryKind() {
  std::vector<Message> all;
  for (int type = 0; type <= static_cast<int>(MessageType::kTimeoutNow);
       ++type) {
    Message message;
    message.type = static_cast<MessageType>(type);
    if (message.type == MessageType::kSnapshot) message = SnapshotMessage();
    message.from = 7;
    message.to = 8;
    message.term = 5;
    message.prev = {3, 41};
    message.commit = 40;
    message.rejected = true;
    message.hint = {2, 30};
    message.transfer = true;
    message.read_context = 99;
    all.push_back(message);
  }
  all.push_back(AppendOf({"a", "", std::string(1000, 'x')}));
  all.back().entries[1].kind = kMembershipEntry;
  return all;
}

// All frames of `queue`, read as those of one stream.
absl::StatusOr<std::vector<Message>> Pass(FrameQueue& queue) {
  const proto::RaftFrame first = queue.Begin(EncodeHello(Self(), 8, "here:1"));
  FrameReader reader(first.hello());
  std::vector<Message> all;
  for (proto::RaftFrame frame = first;; frame = queue.Take()) {
    EXPECT_LE(frame.ByteSizeLong(), rpc::kMessageBytesMax);
    auto messages = reader.Add(frame);
    if (!messages.ok()) return messages.status();
    std::move(messages->begin(), messages->end(), std::back_inserter(all));
    if (queue.empty()) return all;
  }
}

TEST(RaftWireTest, MessagesOfEveryKindPass) {
  FrameQueue queue({100, 1 << 20});
  for (const Message& message : EveryKind()) {
    EXPECT_TRUE(queue.Push(message));
    const auto decoded = DecodeMessage(EncodeMessage(message), 7, 8);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, message);
  }
  const auto passed = Pass(queue);
  ASSERT_TRUE(passed.ok()) << passed.status();
  EXPECT_EQ(*passed, EveryKind());
}

TEST(RaftWireTest, TheLongestEntryPassesAndShortOnesShareAFrame) {
  FrameQueue queue({100'000, uint64_t{1} << 30});
  std::vector<Message> sent;
  for (int i = 0; i < 50; ++i) sent.push_back(AppendOf({"small"}));
  sent.push_back(AppendOf({std::string(kPayloadBytesMax, 'x')}));
  for (int i = 0; i < 50; ++i) sent.push_back(AppendOf({"small"}));
  for (const Message& message : sent) ASSERT_TRUE(queue.Push(message));
  int frames = 0;
  FrameQueue copy = queue;
  for (; !copy.empty(); ++frames) copy.Take();
  EXPECT_EQ(frames, 9);  // 8 MiB and a little.
  const auto passed = Pass(queue);
  ASSERT_TRUE(passed.ok()) << passed.status();
  EXPECT_EQ(*passed, sent);
}

TEST(RaftWireTest, TheQueueIsBounded) {
  FrameQueue by_number({3, 1 << 20});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(by_number.Push(AppendOf({"x"})));
  EXPECT_FALSE(by_number.Push(AppendOf({"x"})));
  FrameQueue by_size({100, 1000});
  EXPECT_TRUE(by_size.Push(AppendOf({std::string(5000, 'x')})));
  EXPECT_FALSE(by_size.Push(AppendOf({"x"})));
  by_size.Take();
  EXPECT_TRUE(by_size.Push(AppendOf({"x"})));
  by_size.Clear();
  EXPECT_TRUE(by_size.empty());
}

TEST(RaftWireTest, EveryFlippedBitIsFoundOut) {
  FrameQueue queue({100, 1 << 20});
  const proto::RaftFrame hello = queue.Begin(EncodeHello(Self(), 8, "here:1"));
  ASSERT_TRUE(queue.Push(AppendOf({"payload"})));
  const std::string frame = queue.Take().SerializeAsString();
  const std::string first = hello.SerializeAsString();
  const Message sent = AppendOf({"payload"});
  for (size_t bit = 0; bit < 8 * (first.size() + frame.size()); ++bit) {
    std::string bytes = first + frame;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    proto::RaftFrame a, b;
    if (!a.ParseFromString(bytes.substr(0, first.size())) ||
        !b.ParseFromString(bytes.substr(first.size()))) {
      continue;
    }
    FrameReader reader(a.hello());
    if (!reader.Add(a).ok() ||
        !CheckHello(a.hello(), {Self().cluster, 8}).ok()) {
      continue;
    }
    const auto messages = reader.Add(b);
    // Unknown fields may change what is not looked at.
    if (messages.ok() && !messages->empty()) {
      EXPECT_EQ(*messages, std::vector<Message>{sent}) << "bit " << bit;
    }
  }
}

TEST(RaftWireTest, HellosForOthersAreRefused) {
  LogIdentity other = Self();
  other.member = 8;
  EXPECT_TRUE(CheckHello(EncodeHello(Self(), 8, ""), other).ok());
  const absl::Status wrong_member =
      CheckHello(EncodeHello(Self(), 9, ""), other);
  EXPECT_TRUE(absl::IsFailedPrecondition(wrong_member)) << wrong_member;
  const auto random = Random::Seeded(2);
  LogIdentity elsewhere = other;
  elsewhere.cluster = ClusterId::Generate(*random);
  const absl::Status wrong_cluster =
      CheckHello(EncodeHello(Self(), 8, ""), elsewhere);
  EXPECT_TRUE(absl::IsFailedPrecondition(wrong_cluster));
  EXPECT_THAT(std::string(wrong_cluster.message()),
              HasSubstr(elsewhere.cluster.ToHex()));
  proto::RaftHello hello = EncodeHello(Self(), 8, "");
  hello.set_version(2);
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckHello(hello, other)));
  hello = EncodeHello(Self(), 8, std::string(2000, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckHello(hello, other)));
  EXPECT_FALSE(CheckHello(proto::RaftHello(), other).ok());
  // Oneself.
  EXPECT_TRUE(
      absl::IsFailedPrecondition(CheckHello(EncodeHello(other, 8, ""), other)));
}

TEST(RaftWireTest, MessagesThatNoMemberSendsAreRefused) {
  const auto refused = [](const proto::RaftMessage& message) {
    return absl::IsInvalidArgument(DecodeMessage(message, 7, 8).status());
  };
  const proto::RaftMessage append = EncodeMessage(AppendOf({"a", "b"}));
  ASSERT_FALSE(refused(append));
  proto::RaftMessage bad = append;
  bad.set_type(0);
  EXPECT_TRUE(refused(bad));
  bad.set_type(11);
  EXPECT_TRUE(refused(bad));
  bad = append;
  bad.set_type(2);
  EXPECT_TRUE(refused(bad)) << "entries in an answer";
  bad = append;
  bad.set_term(uint64_t{1} << 62);
  EXPECT_TRUE(refused(bad));
  bad = append;
  bad.set_commit(UINT64_MAX);
  EXPECT_TRUE(refused(bad));
  bad = append;
  bad.mutable_prev()->set_index(UINT64_MAX);
  EXPECT_TRUE(refused(bad));
  bad = append;
  bad.mutable_entries(1)->set_term(3);
  EXPECT_TRUE(refused(bad)) << "an older entry behind a newer one";
  bad = append;
  bad.mutable_entries(1)->set_term(6);
  EXPECT_TRUE(refused(bad)) << "an entry of a later term than the leader's";
  bad = append;
  bad.mutable_entries(0)->set_kind(256);
  EXPECT_TRUE(refused(bad));
  bad = append;
  bad.mutable_entries(0)->set_payload(std::string(kPayloadBytesMax + 1, 'x'));
  EXPECT_TRUE(refused(bad));

  const proto::RaftMessage snapshot = EncodeMessage(SnapshotMessage());
  ASSERT_FALSE(refused(snapshot));
  bad = snapshot;
  bad.clear_snapshot();
  EXPECT_TRUE(refused(bad));
  bad = append;
  *bad.mutable_snapshot() = snapshot.snapshot();
  EXPECT_TRUE(refused(bad));
  bad = snapshot;
  bad.mutable_snapshot()->mutable_last()->set_index(0);
  EXPECT_TRUE(refused(bad));
  bad = snapshot;
  bad.mutable_snapshot()->mutable_last()->set_term(6);
  EXPECT_TRUE(refused(bad));
  bad = snapshot;
  bad.mutable_snapshot()->set_membership("nobody");
  EXPECT_TRUE(refused(bad));
}

TEST(RaftWireTest, LengthsThatCannotBeEndTheStream) {
  FrameQueue queue({100, 1 << 20});
  const proto::RaftFrame hello = queue.Begin(EncodeHello(Self(), 8, ""));
  const auto add = [&](const std::string& body) {
    FrameReader reader(hello.hello());
    proto::RaftFrame frame;
    frame.set_body(body);
    frame.set_checksum(Hash64Seeded(body, SeedOf(hello.hello())));
    return reader.Add(frame);
  };
  EXPECT_TRUE(absl::IsInvalidArgument(add("\xff\xff\xff\xff").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      add(std::string("\x03\0\0\0\xff\xff\xff", 7)).status()));
  // Not complete: nothing yet.
  const auto partial = add(std::string("\x03\0\0\0x", 5));
  ASSERT_TRUE(partial.ok());
  EXPECT_THAT(*partial, IsEmpty());
}

TEST(RaftWireTest, ASnapshotsBeginningPassesUndamagedOnly) {
  const proto::RaftSnapshotBegin begin = EncodeSnapshotBegin(
      EncodeHello(Self(), 8, ""), SnapshotMessage(), "described");
  const auto decoded = DecodeSnapshotBegin(begin);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, SnapshotMessage());
  proto::RaftSnapshotBegin bad = begin;
  (*bad.mutable_message())[1] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotBegin(bad).status()));
  bad = begin;
  bad.mutable_hello()->set_from(9);
  EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotBegin(bad).status()));
  const proto::RaftSnapshotBegin append =
      EncodeSnapshotBegin(EncodeHello(Self(), 8, ""), AppendOf({"x"}), "");
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeSnapshotBegin(append).status()));
}

}  // namespace
}  // namespace millrace::raft
