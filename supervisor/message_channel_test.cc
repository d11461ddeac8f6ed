#include "supervisor/message_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "proto/messages/task.pb.h"
#include "supervisor/unique_fd.h"

namespace millrace::supervisor {
namespace {

std::string Header(uint32_t length) {
  std::string header;
  for (int shift = 0; shift < 32; shift += 8) {
    header += static_cast<char>(length >> shift & 0xff);
  }
  return header;
}

std::string Frame(std::string_view payload) {
  return Cat(Header(static_cast<uint32_t>(payload.size())), payload);
}

TEST(FrameMessageTest, PutsLittleEndianLengthFirst) {
  proto::TaskEvent event;
  event.mutable_ready()->set_job_name(std::string(300, 'n'));
  const absl::StatusOr<std::string> frame = FrameMessage(event);
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(*frame, Frame(event.SerializeAsString()));
  EXPECT_EQ((*frame)[1], 1);  // 256 and some.
}

TEST(FrameMessageTest, RefusesWhatTheOtherEndWouldRefuse) {
  proto::TaskEvent event;
  event.mutable_ready()->set_job_name(std::string(kMessageBytesMax, 'n'));
  EXPECT_EQ(FrameMessage(event).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(FrameParserTest, GivesNothingBeforeAFrameIsWhole) {
  const std::string frame = Frame("hello");
  FrameParser parser;
  for (size_t i = 0; i + 1 < frame.size(); ++i) {
    ASSERT_TRUE(parser.Append(frame.substr(i, 1)).ok());
    EXPECT_EQ(parser.Next(), std::nullopt);
    EXPECT_FALSE(parser.at_boundary());
  }
  ASSERT_TRUE(parser.Append("o").ok());
  EXPECT_EQ(parser.Next(), "hello");
  EXPECT_EQ(parser.Next(), std::nullopt);
  EXPECT_TRUE(parser.at_boundary());
}

TEST(FrameParserTest, GivesEmptyFrames) {
  FrameParser parser;
  ASSERT_TRUE(parser.Append(Cat(Frame(""), Frame(""))).ok());
  EXPECT_EQ(parser.Next(), "");
  EXPECT_EQ(parser.Next(), "");
  EXPECT_EQ(parser.Next(), std::nullopt);
}

TEST(FrameParserTest, AcceptsLongestLengthAndRefusesOneMore) {
  FrameParser parser;
  EXPECT_TRUE(parser.Append(Header(kMessageBytesMax)).ok());
  FrameParser other;
  EXPECT_EQ(other.Append(Header(kMessageBytesMax + 1)).code(),
            absl::StatusCode::kDataLoss);
  // Nothing can follow.
  EXPECT_EQ(other.Append(Frame("x")).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(other.Next(), std::nullopt);
}

TEST(FrameParserTest, GivesWhatCameBeforeABadLength) {
  FrameParser parser;
  EXPECT_EQ(
      parser.Append(Cat(Frame("a"), Frame("b"), Header(~0u), "rest")).code(),
      absl::StatusCode::kDataLoss);
  EXPECT_EQ(parser.Next(), "a");
  EXPECT_EQ(parser.Next(), "b");
  EXPECT_EQ(parser.Next(), std::nullopt);
}

// Any frames, cut anywhere, come out as they went in.
TEST(FrameParserTest, DoesNotCareHowBytesArrive) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    std::vector<std::string> frames(random->Uniform(6));
    std::string stream;
    for (std::string& frame : frames) {
      frame.assign(random->Uniform(random->Uniform(2) ? 40 : 2),
                   static_cast<char>(random->Next64()));
      stream += Frame(frame);
    }
    FrameParser parser;
    std::vector<std::string> out;
    for (std::string_view rest = stream; !rest.empty();) {
      const size_t n = 1 + random->Uniform(rest.size());
      ASSERT_TRUE(parser.Append(rest.substr(0, n)).ok());
      rest.remove_prefix(n);
      if (random->Uniform(3) == 0) continue;  // Let some gather.
      while (const auto frame = parser.Next()) out.emplace_back(*frame);
    }
    while (const auto frame = parser.Next()) out.emplace_back(*frame);
    ASSERT_EQ(out, frames);
    ASSERT_TRUE(parser.at_boundary());
  }
}

class BlockingChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
  }
  void Write(const std::string& bytes) {
    ASSERT_EQ(write(theirs_.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }

  UniqueFd ours_;
  UniqueFd theirs_;
};

TEST_F(BlockingChannelTest, CarriesMessagesLargerThanTheSocketHolds) {
  proto::TaskCommand sent;
  sent.mutable_run()->mutable_plan()->set_plan_path(std::string(9 << 20, 'p'));
  std::thread sender([&] {
    BlockingChannel channel(theirs_.get());
    EXPECT_TRUE(channel.Send(sent).ok());
    EXPECT_TRUE(channel.Send(proto::TaskCommand()).ok());
  });
  BlockingChannel channel(ours_.get());
  proto::TaskCommand received;
  absl::StatusOr<bool> more = channel.Receive(&received);
  EXPECT_TRUE(more.ok() && *more) << more.status();
  EXPECT_EQ(received.SerializeAsString(), sent.SerializeAsString());
  more = channel.Receive(&received);
  EXPECT_TRUE(more.ok() && *more) << more.status();
  EXPECT_EQ(received.SerializeAsString(), "");
  sender.join();
}

TEST_F(BlockingChannelTest, EndBetweenMessagesIsNoError) {
  Write(Frame(""));
  theirs_.Reset();
  BlockingChannel channel(ours_.get());
  proto::TaskCommand command;
  absl::StatusOr<bool> more = channel.Receive(&command);
  EXPECT_TRUE(more.ok() && *more) << more.status();
  more = channel.Receive(&command);
  EXPECT_TRUE(more.ok() && !*more) << more.status();
}

TEST_F(BlockingChannelTest, EndWithUnreadBytesOfOursIsNoError) {
  BlockingChannel channel(ours_.get());
  ASSERT_TRUE(channel.Send(proto::TaskCommand()).ok());
  theirs_.Reset();  // Resets the connection.
  proto::TaskCommand command;
  const absl::StatusOr<bool> more = channel.Receive(&command);
  EXPECT_TRUE(more.ok() && !*more) << more.status();
  EXPECT_EQ(channel.Send(proto::TaskCommand()).code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(BlockingChannelTest, EndWithinMessageIsDataLoss) {
  Write(Frame("hello").substr(0, 6));
  theirs_.Reset();
  BlockingChannel channel(ours_.get());
  proto::TaskCommand command;
  EXPECT_EQ(channel.Receive(&command).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(BlockingChannelTest, BytesThatAreNoMessageAreDataLoss) {
  Write(Frame("\xff\xff\xff\xff"));
  BlockingChannel channel(ours_.get());
  proto::TaskCommand command;
  EXPECT_EQ(channel.Receive(&command).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace millrace::supervisor
