#include "worker/shuffle/server.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "rpc/call.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "worker/shuffle/served_transfer.h"
#include "worker/shuffle/testing/served_spool.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

void AddSection(const TestOutput& output, uint64_t offset, bool want_index,
                proto::FetchRequest* request) {
  proto::FetchRequest::Section* section = request->add_sections();
  section->set_map_index(output.identity.map_index);
  section->set_attempt_uid(std::string(output.identity.attempt.bytes()));
  section->set_offset(offset);
  section->set_want_index(want_index);
}

proto::FetchRequest RequestFor(const TestOutput& output, uint32_t partition,
                               uint64_t offset = 0, bool want_index = false) {
  proto::FetchRequest request;
  request.set_job_id(std::string(output.identity.job.bytes()));
  request.set_partition(partition);
  AddSection(output, offset, want_index, &request);
  return request;
}

struct FetchedSection {
  absl::Status status;  // Of its own.
  proto::FetchHeader header;
  std::string bytes;
};
struct Fetched {
  absl::Status status;  // Of the call.
  std::vector<FetchedSection> sections;
  int slices = 0;
};

// What a call brings; that it is in order is expected.
Fetched FetchSections(ServedSpool& spool, const proto::FetchRequest& request) {
  Fetched fetched;
  grpc::ClientContext context;
  rpc::SetTimeout(context, absl::Seconds(60));
  const auto reader = spool.stub_->Fetch(&context, request);
  proto::FetchSlice slice;
  int at = 0;  // The section that is due or under way.
  bool under_way = false;
  while (reader->Read(&slice)) {
    ++fetched.slices;
    size_t bytes = 0;
    EXPECT_GT(slice.pieces_size(), 0);
    for (const proto::FetchPiece& piece : slice.pieces()) {
      if (at >= request.sections_size()) {
        ADD_FAILURE() << "more than was asked for";
        break;
      }
      if (!under_way) fetched.sections.emplace_back();
      FetchedSection& section = fetched.sections.back();
      bytes += piece.data().size();
      if (piece.has_refusal()) {
        EXPECT_TRUE(piece.data().empty());
        section.status =
            absl::Status(static_cast<absl::StatusCode>(piece.refusal().code()),
                         Av(piece.refusal().message()));
        EXPECT_FALSE(section.status.ok());
        under_way = false;
        ++at;
        continue;
      }
      EXPECT_EQ(piece.has_header(), !under_way);
      if (piece.has_header()) section.header = piece.header();
      const uint64_t asked = request.sections(at).offset();
      if (!piece.data().empty()) {
        EXPECT_EQ(piece.offset(), asked + section.bytes.size());
      }
      section.bytes += piece.data();
      under_way =
          asked + section.bytes.size() < section.header.partition_bytes();
      if (!under_way) ++at;
    }
    EXPECT_LE(bytes, rpc::kChunkBytesMax + ServedTransfer::kSharedBytes);
  }
  fetched.status = rpc::FromGrpc(reader->Finish());
  if (fetched.status.ok()) {
    EXPECT_EQ(at, request.sections_size());
    EXPECT_FALSE(under_way);
  }
  return fetched;
}

// Of a request for one section; the status is the call's or its own.
struct FetchedOne {
  absl::Status status;
  proto::FetchHeader header;
  std::string bytes;
  int slices = 0;
};

FetchedOne FetchAll(ServedSpool& spool, const proto::FetchRequest& request) {
  Fetched fetched = FetchSections(spool, request);
  FetchedOne one{fetched.status, {}, "", fetched.slices};
  if (fetched.sections.empty()) return one;
  one.header = fetched.sections[0].header;
  one.bytes = std::move(fetched.sections[0].bytes);
  if (one.status.ok()) one.status = fetched.sections[0].status;
  return one;
}

TEST(Wire, IsWhatProtobufWouldHaveWritten) {
  proto::FetchHeader header;
  header.set_index(std::string(300, 'i'));
  header.set_index_offset(1ull << 40);
  header.set_partition_bytes(77);
  proto::FetchRefusal refusal;
  refusal.set_code(5);
  refusal.set_message("no \xff text");
  std::string all;
  std::vector<proto::FetchPiece> pieces;
  for (const proto::FetchHeader* h :
       {static_cast<proto::FetchHeader*>(nullptr), &header}) {
    for (uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 35}) {
      for (size_t size : {0, 1, 127, 128, 1 << 20}) {
        const std::string data(size, 'd');
        std::string bytes;
        AppendPiece(h, offset, size, &bytes);
        all += bytes + data;
        proto::FetchPiece& piece = pieces.emplace_back();
        if (h != nullptr) *piece.mutable_header() = *h;
        piece.set_offset(offset);
        piece.set_data(data);
      }
    }
    AppendRefusal(refusal, &all);
    *pieces.emplace_back().mutable_refusal() = refusal;
  }
  proto::FetchSlice slice;
  ASSERT_TRUE(slice.ParseFromString(all));
  ASSERT_EQ(slice.pieces_size(), pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(slice.pieces(static_cast<int>(i)).SerializeAsString(),
              pieces[i].SerializeAsString());
  }
}

TEST(ShuffleServer, SendsPartitionsWithAndWithoutTheIndex) {
  ServedSpool spool;
  const TestOutput output = MakeTestOutput({});
  spool.Hold(output);
  for (uint32_t p = 0; p < 3; ++p) {
    const FetchedOne fetched =
        FetchAll(spool, RequestFor(output, p, 0, p == 1));
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
    const FetchedOne fetched = FetchAll(spool, RequestFor(output, 2, offset));
    ASSERT_TRUE(fetched.status.ok()) << fetched.status;
    EXPECT_EQ(fetched.bytes, bytes.substr(offset));
    EXPECT_EQ(fetched.slices,
              std::max<size_t>(1, (bytes.size() - offset + 65'535) / 65'536));
  }
}

// Sections of all lengths behind each other, each with what it would have got
// alone.
TEST(ShuffleServer, SectionsOfACallComeInTheOrderAskedFor) {
  ServedSpool spool;
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 40; ++map) {
    TestOutputOptions options;
    options.map_index = map;
    // 0, some hundred bytes, some 10 KB, 100 KB, 1.3 MB.
    options.records = map % 5 == 4 ? 40'000 : map % 5 == 3 ? 3000 : 300;
    if (map % 5 == 1) options.records = 3;
    if (map % 5 == 2) options.empty_partitions = {1};
    outputs.push_back(MakeTestOutput(options));
    spool.Hold(outputs.back());
  }
  proto::FetchRequest request = RequestFor(outputs[0], 1, 7, true);
  for (uint32_t map = 1; map < 40; ++map) {
    const uint64_t size = outputs[map].partition(1).size();
    AddSection(outputs[map], map % 3 == 0 ? size / 2 : 0, map % 2 == 0,
               &request);
  }
  const Fetched fetched = FetchSections(spool, request);
  ASSERT_TRUE(fetched.status.ok()) << fetched.status;
  ASSERT_EQ(fetched.sections.size(), 40);
  for (uint32_t map = 0; map < 40; ++map) {
    const auto& asked = request.sections(static_cast<int>(map));
    const FetchedSection& section = fetched.sections[map];
    EXPECT_TRUE(section.status.ok());
    EXPECT_TRUE(section.bytes ==
                outputs[map].partition(1).substr(asked.offset()))
        << map;
    EXPECT_EQ(section.header.SerializeAsString(),
              outputs[map].header(1, asked.want_index()).SerializeAsString());
  }
}

TEST(ShuffleServer, SmallSectionsShareMessages) {
  ServedSpool spool;
  std::vector<TestOutput> outputs;
  proto::FetchRequest request;
  for (uint32_t map = 0; map < 64; ++map) {
    TestOutputOptions options;
    options.map_index = map;
    options.records = 5;
    outputs.push_back(MakeTestOutput(options));
    spool.Hold(outputs.back());
    if (map == 0) {
      request = RequestFor(outputs[0], 2, 0, true);
    } else {
      AddSection(outputs[map], 0, true, &request);
    }
  }
  const Fetched fetched = FetchSections(spool, request);
  ASSERT_TRUE(fetched.status.ok()) << fetched.status;
  ASSERT_EQ(fetched.sections.size(), 64);
  for (uint32_t map = 0; map < 64; ++map) {
    EXPECT_EQ(fetched.sections[map].bytes, outputs[map].partition(2));
  }
  EXPECT_EQ(fetched.slices, 64 / ServedTransfer::kSharedSections);
}

// What is wrong with one does not concern the others.
TEST(ShuffleServer, ASectionThatCannotBeSentIsRefusedAlone) {
  ServedSpool spool;
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 6; ++map) {
    TestOutputOptions options;
    options.map_index = map;
    // The last ones are longer than a buffer.
    options.records = map < 3 ? 60 : 60'000;
    outputs.push_back(MakeTestOutput(options));
    if (map % 3 != 1) spool.Hold(outputs.back());
  }
  proto::FetchRequest request = RequestFor(outputs[0], 0);
  AddSection(outputs[1], 0, true, &request);
  AddSection(outputs[2], outputs[2].partition(0).size() + 1, false, &request);
  AddSection(outputs[3], 0, false, &request);
  AddSection(outputs[4], 0, false, &request);
  request.add_sections()->set_attempt_uid(
      std::string(outputs[5].identity.attempt.bytes()));  // Of another map.
  AddSection(outputs[5], 0, false, &request);
  const Fetched fetched = FetchSections(spool, request);
  ASSERT_TRUE(fetched.status.ok()) << fetched.status;
  ASSERT_EQ(fetched.sections.size(), 7);
  EXPECT_TRUE(absl::IsNotFound(fetched.sections[1].status));
  EXPECT_TRUE(absl::IsInvalidArgument(fetched.sections[2].status));
  EXPECT_TRUE(absl::IsNotFound(fetched.sections[4].status));
  EXPECT_TRUE(absl::IsDataLoss(fetched.sections[5].status));
  for (const size_t good : {0, 3, 6}) {
    EXPECT_TRUE(fetched.sections[good].status.ok());
    EXPECT_TRUE(fetched.sections[good].bytes ==
                outputs[good == 6 ? 5 : good].partition(0));
  }
  for (const FetchedSection& section : fetched.sections) {
    EXPECT_EQ(section.status.message().find(spool.dir_.path()),
              std::string::npos);
  }
}

TEST(ShuffleServer, AnEmptyPartitionIsAHeaderAlone) {
  ServedSpool spool;
  TestOutputOptions options;
  options.empty_partitions = {1};
  const TestOutput output = MakeTestOutput(options);
  spool.Hold(output);
  const FetchedOne fetched = FetchAll(spool, RequestFor(output, 1, 0, true));
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
  const FetchedOne fetched =
      FetchAll(spool, RequestFor(output, 39'999, 0, true));
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
  request.mutable_sections(0)->set_map_index(8);
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
  path.mutable_sections(0)->set_attempt_uid("../../../../etc/passwd");
  EXPECT_TRUE(refused(path));
  path = RequestFor(output, 0);
  path.set_job_id("../../../../etc/passwd");
  EXPECT_TRUE(refused(path));
  proto::FetchRequest many = RequestFor(output, 0);
  while (many.sections_size() < kFetchSectionsMax) {
    AddSection(output, 0, false, &many);
  }
  EXPECT_EQ(FetchSections(spool, many).sections.size(), kFetchSectionsMax);
  AddSection(output, 0, false, &many);
  EXPECT_TRUE(refused(many));
  many.clear_sections();
  EXPECT_TRUE(refused(many));
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
    const FetchedOne fetched = FetchAll(spool, RequestFor(output, 0));
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
        const FetchedOne fetched = FetchAll(spool, RequestFor(output, p));
        EXPECT_TRUE(fetched.status.ok()) << fetched.status;
        EXPECT_EQ(fetched.bytes, output.partition(p));
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace millrace::worker
