#include "worker/shuffle/server.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "rpc/call.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "worker/shuffle/testing/served_spool.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

proto::FetchRequest RequestFor(const TestOutput& output, uint32_t partition,
                               uint64_t offset = 0, bool want_index = false) {
  proto::FetchRequest request;
  request.set_job_id(std::string(output.identity.job.bytes()));
  request.set_map_index(output.identity.map_index);
  request.set_attempt_uid(std::string(output.identity.attempt.bytes()));
  request.set_partition(partition);
  request.set_offset(offset);
  request.set_want_index(want_index);
  return request;
}

struct Fetched {
  absl::Status status;
  proto::FetchHeader header;
  std::string bytes;
  int slices = 0;
};

Fetched FetchAll(ServedSpool& spool, const proto::FetchRequest& request) {
  Fetched fetched;
  grpc::ClientContext context;
  rpc::SetTimeout(context, absl::Seconds(60));
  const auto reader = spool.stub_->Fetch(&context, request);
  proto::FetchSlice slice;
  while (reader->Read(&slice)) {
    EXPECT_EQ(slice.has_header(), fetched.slices == 0);
    if (slice.has_header()) fetched.header = slice.header();
    EXPECT_EQ(slice.offset(), request.offset() + fetched.bytes.size());
    EXPECT_LE(slice.data().size(), rpc::kChunkBytesMax);
    fetched.bytes += slice.data();
    ++fetched.slices;
  }
  fetched.status = rpc::FromGrpc(reader->Finish());
  return fetched;
}

TEST(Wire, IsWhatProtobufWouldHaveWritten) {
  proto::FetchHeader header;
  header.set_index(std::string(300, 'i'));
  header.set_index_offset(1ull << 40);
  header.set_partition_bytes(77);
  for (const proto::FetchHeader* h :
       {static_cast<proto::FetchHeader*>(nullptr), &header}) {
    for (uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 35}) {
      for (size_t size : {0, 1, 127, 128, 1 << 20}) {
        const std::string data(size, 'd');
        proto::FetchSlice slice;
        ASSERT_TRUE(
            slice.ParseFromString(EncodeSlicePrefix(h, offset, size) + data));
        EXPECT_EQ(slice.has_header(), h != nullptr);
        if (h != nullptr) {
          EXPECT_EQ(slice.header().SerializeAsString(),
                    header.SerializeAsString());
        }
        EXPECT_EQ(slice.offset(), offset);
        EXPECT_EQ(slice.data(), data);
      }
    }
  }
}

TEST(ShuffleServer, SendsPartitionsWithAndWithoutTheIndex) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  spool.Hold(output);
  for (uint32_t p = 0; p < 3; ++p) {
    const Fetched fetched = FetchAll(spool, RequestFor(output, p, 0, p == 1));
    ASSERT_TRUE(fetched.status.ok()) << fetched.status;
    EXPECT_EQ(fetched.bytes, output.partition(p));
    EXPECT_EQ(fetched.header.SerializeAsString(),
              output.header(p, p == 1).SerializeAsString());
  }
}

TEST(ShuffleServer, LargePartitionsComeInSlicesFromAnyOffset) {
  ShuffleServerOptions options;
  options.slice_bytes = 64 << 10;
  ServedSpool spool(options);
  TestOutputOptions large;
  large.records = 20'000;
  large.block_bytes = 100'000;
  const TestOutput output = MakeTestOutput(large);
  spool.Hold(output);
  const std::string bytes = output.partition(2);
  for (uint64_t offset :
       {uint64_t{0}, uint64_t{1}, uint64_t{65'536},
        uint64_t{bytes.size() / 2 + 7}, bytes.size() - 1, bytes.size()}) {
    const Fetched fetched = FetchAll(spool, RequestFor(output, 2, offset));
    ASSERT_TRUE(fetched.status.ok()) << fetched.status;
    EXPECT_EQ(fetched.bytes, bytes.substr(offset));
    EXPECT_EQ(fetched.slices,
              std::max<size_t>(1, (bytes.size() - offset + 65'535) / 65'536));
  }
}

TEST(ShuffleServer, AnEmptyPartitionIsAHeaderAlone) {
  ServedSpool spool;
  TestOutputOptions options;
  options.empty_partitions = {1};
  const TestOutput output = MakeTestOutput(options);
  spool.Hold(output);
  const Fetched fetched = FetchAll(spool, RequestFor(output, 1, 0, true));
  ASSERT_TRUE(fetched.status.ok());
  EXPECT_EQ(fetched.slices, 1);
  EXPECT_EQ(fetched.header.index(), output.index());
}

TEST(ShuffleServer, AnIndexOfManyPartitionsStillFitsAMessage) {
  ServedSpool spool;
  TestOutputOptions options;
  options.num_partitions = 40'000;
  options.records = 1;
  const TestOutput output = MakeTestOutput(options);
  ASSERT_GT(output.index().size(), 1 << 20);
  spool.Hold(output);
  const Fetched fetched = FetchAll(spool, RequestFor(output, 39'999, 0, true));
  ASSERT_TRUE(fetched.status.ok()) << fetched.status;
  EXPECT_EQ(fetched.header.index(), output.index());
  EXPECT_EQ(fetched.bytes, output.partition(39'999));
}

TEST(ShuffleServer, WhatIsNotThereIsNotFound) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  EXPECT_TRUE(absl::IsNotFound(FetchAll(spool, RequestFor(output, 0)).status));
  spool.Hold(output);
  EXPECT_TRUE(FetchAll(spool, RequestFor(output, 0)).status.ok());
  // Gone although it was open.
  ASSERT_TRUE(FileSystem::Posix().RemoveFile(spool.PathOf(output)).ok());
  const absl::Status status = FetchAll(spool, RequestFor(output, 0)).status;
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(status.message().find(spool.dir_.path()), std::string::npos);
}

TEST(ShuffleServer, RightIdsInTheWrongPlaceAreDataLoss) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  spool.Hold(output);
  proto::FetchRequest request = RequestFor(output, 0);
  request.set_map_index(8);
  EXPECT_TRUE(absl::IsDataLoss(FetchAll(spool, request).status));
}

TEST(ShuffleServer, RequestsThatMakeNoSenseAreRefused) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  spool.Hold(output);
  const auto refused = [&](const proto::FetchRequest& request) {
    return absl::IsInvalidArgument(FetchAll(spool, request).status);
  };
  EXPECT_TRUE(refused(proto::FetchRequest()));
  EXPECT_TRUE(refused(RequestFor(output, 3)));
  EXPECT_TRUE(refused(RequestFor(output, 4'000'000'000)));
  EXPECT_TRUE(refused(RequestFor(output, 0, output.partition(0).size() + 1)));
  EXPECT_TRUE(refused(RequestFor(output, 0, ~uint64_t{0})));
  proto::FetchRequest path = RequestFor(output, 0);
  path.set_attempt_uid("../../../../etc/passwd");
  EXPECT_TRUE(refused(path));
  EXPECT_TRUE(FetchAll(spool, RequestFor(output, 0)).status.ok());
}

TEST(ShuffleServer, EveryTruncationIsAnErrorAndNeverTakesTheServerDown) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  for (size_t size = 0; size < output.file.size(); size += 97) {
    spool.Hold(output, output.file.substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(FetchAll(spool, RequestFor(output, 0)).status))
        << size;
  }
}

TEST(ShuffleServer, AFlippedBitInTheIndexIsDataLoss) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  for (size_t at = output.index_offset(); at < output.file.size(); at += 5) {
    std::string file = output.file;
    file[at] ^= 2;
    ASSERT_TRUE(FileSystem::Posix().RemoveTree(spool.layout_.Spool()).ok());
    spool.Hold(output, file);
    EXPECT_TRUE(absl::IsDataLoss(FetchAll(spool, RequestFor(output, 0)).status))
        << at;
  }
}

// Holds streams open by not reading them, over a channel of its own whose
// window never grows. A channel's usual window does: gRPC probes how much the
// connection carries, and a quick loopback is granted more than a whole
// partition, which the server then gets rid of although nobody reads it.
class OpenStreams {
 public:
  // Waits until each of them has begun.
  OpenStreams(ServedSpool& spool, const proto::FetchRequest& request, int n)
      : stub_(proto::ShuffleService::NewStub(grpc::CreateCustomChannel(
            spool.address(), grpc::InsecureChannelCredentials(),
            OfASmallWindow()))) {
    for (int i = 0; i < n; ++i) {
      auto& one = streams_.emplace_back(std::make_unique<One>());
      one->reader = stub_->Fetch(&one->context, request);
      proto::FetchSlice slice;
      EXPECT_TRUE(one->reader->Read(&slice)) << i;
    }
  }
  ~OpenStreams() {
    for (auto& one : streams_) {
      one->context.TryCancel();
      proto::FetchSlice slice;
      while (one->reader->Read(&slice)) {
      }
      one->reader->Finish();
    }
  }

 private:
  struct One {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<proto::FetchSlice>> reader;
  };

  static grpc::ChannelArguments OfASmallWindow() {
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 16);
    return args;
  }

  const std::unique_ptr<proto::ShuffleService::Stub> stub_;
  std::vector<std::unique_ptr<One>> streams_;
};

TestOutput LargeOutput() {
  TestOutputOptions options;
  options.num_partitions = 1;
  options.records = 250'000;  // Some 9 MB: a few slices.
  options.block_bytes = 1 << 18;
  return MakeTestOutput(options);
}

TEST(ShuffleServer, BeyondItsStreamsItSaysSoAndRecovers) {
  ShuffleServerOptions options;
  options.streams_max = 3;
  ServedSpool spool(options);
  const TestOutput output = LargeOutput();
  spool.Hold(output);
  {
    const OpenStreams streams(spool, RequestFor(output, 0), 3);
    EXPECT_TRUE(absl::IsResourceExhausted(
        FetchAll(spool, RequestFor(output, 0)).status));
  }
  // The places come back when the server has seen the ends.
  for (;;) {
    const Fetched fetched = FetchAll(spool, RequestFor(output, 0));
    if (fetched.status.ok()) {
      EXPECT_EQ(fetched.bytes, output.partition(0));
      break;
    }
    ASSERT_TRUE(absl::IsResourceExhausted(fetched.status)) << fetched.status;
  }
}

TEST(ShuffleServer, BeyondItsMemoryItSaysSo) {
  ShuffleServerOptions options;
  options.buffer_bytes_max = 3 << 20;
  ServedSpool spool(options);
  const TestOutput output = LargeOutput();
  spool.Hold(output);
  {
    const OpenStreams streams(spool, RequestFor(output, 0), 1);
    // The one that is not read holds its buffers sooner or later, and does not
    // give them back, as a transfer that has just ended does.
    for (int refused = 0; refused < 20;) {
      const absl::Status status = FetchAll(spool, RequestFor(output, 0)).status;
      refused = absl::IsResourceExhausted(status) ? refused + 1 : 0;
      ASSERT_TRUE(refused > 0 || status.ok()) << status;
    }
  }
  for (;;) {
    const absl::Status status = FetchAll(spool, RequestFor(output, 0)).status;
    if (status.ok()) break;
    ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
  }
}

TEST(ShuffleServer, ShutsDownWhileStreamsAreOpen) {
  ServedSpool spool;
  const TestOutput output = LargeOutput();
  spool.Hold(output);
  const OpenStreams streams(spool, RequestFor(output, 0), 4);
  spool.server_->Shutdown(absl::Milliseconds(10));
}

TEST(ShuffleServer, ManyAtOnceGetWhatIsTheirs) {
  ServedSpool spool;
  TestOutputOptions options;
  options.num_partitions = 8;
  options.records = 3000;
  const TestOutput output = MakeTestOutput(options);
  spool.Hold(output);
  std::vector<std::thread> clients;
  for (uint32_t p = 0; p < 8; ++p) {
    clients.emplace_back([&, p] {
      for (int i = 0; i < 5; ++i) {
        const Fetched fetched = FetchAll(spool, RequestFor(output, p));
        EXPECT_TRUE(fetched.status.ok()) << fetched.status;
        EXPECT_EQ(fetched.bytes, output.partition(p));
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

class LogTest : public testing::Test {
 protected:
  proto::ReadLogRequest Request(uint64_t offset, bool follow) {
    proto::ReadLogRequest request;
    request.set_job_id(std::string(job_.bytes()));
    request.set_attempt_uid(std::string(uid_.bytes()));
    request.set_offset(offset);
    request.set_follow(follow);
    return request;
  }
  absl::StatusOr<std::string> ReadLog(uint64_t offset, bool follow = false) {
    grpc::ClientContext context;
    rpc::SetTimeout(context, absl::Seconds(60));
    const auto reader =
        spool_.stub_->ReadLog(&context, Request(offset, follow));
    std::string bytes;
    proto::LogSlice slice;
    while (reader->Read(&slice)) bytes += slice.data();
    const absl::Status status = rpc::FromGrpc(reader->Finish());
    if (!status.ok()) return status;
    return bytes;
  }
  void Append(const std::string& text) {
    const std::string name = Cat("logs/", job_.ToHex(), "/", uid_.ToHex());
    if (text_.empty()) spool_.dir_.Write(name, "");
    text_ += text;
    std::ofstream(spool_.dir_ / name, std::ios::app) << text;
  }

  static ShuffleServerOptions ShortPages() {
    ShuffleServerOptions options;
    options.list_bytes = 1000;
    return options;
  }

  ServedSpool spool_{ShortPages()};
  const JobId job_ = TestId<JobId>(1);
  const AttemptUid uid_ = TestId<AttemptUid>(2);
  std::string text_;
};

TEST_F(LogTest, IsReadFromAnyOffset) {
  EXPECT_TRUE(absl::IsNotFound(ReadLog(0).status()));
  Append(std::string(200'000, 'a') + "end\n");
  EXPECT_EQ(*ReadLog(0), text_);
  EXPECT_EQ(*ReadLog(200'000), "end\n");
  EXPECT_EQ(*ReadLog(1'000'000), "");
}

TEST_F(LogTest, IsFollowedUntilTheAttemptEnds) {
  spool_.live_.Add(uid_);
  grpc::ClientContext context;
  rpc::SetTimeout(context, absl::Seconds(60));
  const auto reader = spool_.stub_->ReadLog(&context, Request(0, true));
  proto::LogSlice slice;
  std::string got;
  for (const char* line : {"one\n", "two\n", "three\n"}) {
    Append(line);
    while (got != text_) {
      ASSERT_TRUE(reader->Read(&slice));
      got += slice.data();
    }
  }
  Append("last\n");
  spool_.live_.Remove(uid_);
  while (reader->Read(&slice)) got += slice.data();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(got, text_);
}

// There is no file before it prints.
TEST_F(LogTest, AnAttemptThatRunsMayBeSilent) {
  spool_.live_.Add(uid_);
  EXPECT_EQ(*ReadLog(0), "");
  spool_.live_.Remove(uid_);
  EXPECT_TRUE(absl::IsNotFound(ReadLog(0).status()));
}

TEST_F(LogTest, FollowingEndsAtOnceForAnAttemptThatDoesNotRun) {
  Append("text\n");
  EXPECT_EQ(*ReadLog(0, true), "text\n");
}

TEST_F(LogTest, AFollowerThatLeavesIsLetGo) {
  spool_.live_.Add(uid_);
  Append("x");
  for (int i = 0; i < 40; ++i) {  // More than there are places.
    grpc::ClientContext context;
    const auto reader = spool_.stub_->ReadLog(&context, Request(0, true));
    proto::LogSlice slice;
    if (!reader->Read(&slice)) {
      // Nobody leaves here: to cancel it now could hide what the server said.
      const absl::Status status = rpc::FromGrpc(reader->Finish());
      EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
      continue;
    }
    context.TryCancel();
    while (reader->Read(&slice)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  spool_.live_.Remove(uid_);
  for (;;) {
    const auto text = ReadLog(0, true);
    if (text.ok()) break;
    ASSERT_TRUE(absl::IsResourceExhausted(text.status()));
  }
}

// What a pool thread, an alarm and gRPC have to say of one stream comes in any
// order. (With a sanitizer this finds an end that comes too early.)
TEST_F(LogTest, AStreamMayBeLeftAtAnyMoment) {
  spool_.live_.Add(uid_);
  Append(std::string(300'000, 'x'));
  std::vector<std::thread> readers;
  for (int thread = 0; thread < 4; ++thread) {
    readers.emplace_back([this, thread] {
      for (int i = 0; i < 200; ++i) {
        grpc::ClientContext context;
        const auto reader =
            spool_.stub_->ReadLog(&context, Request(0, (i + thread) % 2 == 0));
        proto::LogSlice slice;
        // At most four of five: a follower of the last would wait for more.
        for (int n = i % 5; n > 0 && reader->Read(&slice); --n) {
        }
        context.TryCancel();
        while (reader->Read(&slice)) {
        }
        EXPECT_FALSE(reader->Finish().error_code() ==
                     grpc::StatusCode::INTERNAL);
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
}

TEST_F(LogTest, ThoseOfAJobAreListedInPages) {
  constexpr uint32_t kAttempts = 100;
  for (uint32_t i = 0; i < kAttempts; ++i) {
    const std::string uid = TestId<AttemptUid>(i + 1).ToHex();
    spool_.dir_.Write(Cat("logs/", job_.ToHex(), "/m", i, "-0-", uid), "");
  }
  proto::ListLogsRequest request;
  request.set_job_id(std::string(job_.bytes()));
  uint32_t listed = 0;
  int pages = 0;
  proto::ListLogsReply page;
  do {
    grpc::ClientContext context;
    rpc::SetTimeout(context, absl::Seconds(60));
    const grpc::Status status =
        spool_.stub_->ListLogs(&context, request, &page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    for (const proto::AttemptRef& attempt : page.attempts()) {
      ASSERT_EQ(attempt.task().index(), listed);
      ASSERT_EQ(attempt.attempt_uid(), TestId<AttemptUid>(++listed).bytes());
    }
    ASSERT_GT(page.attempts_size(), 0);
    *request.mutable_after() = *page.attempts().rbegin();
    ++pages;
  } while (page.more());
  EXPECT_EQ(listed, kAttempts);
  EXPECT_GT(pages, 2);
  grpc::ClientContext context;
  request.set_job_id("../x");
  EXPECT_EQ(spool_.stub_->ListLogs(&context, request, &page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(LogTest, BadIdsAreRefused) {
  grpc::ClientContext context;
  proto::ReadLogRequest request = Request(0, false);
  request.set_job_id("../x");
  const auto reader = spool_.stub_->ReadLog(&context, request);
  proto::LogSlice slice;
  EXPECT_FALSE(reader->Read(&slice));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace millrace::worker
