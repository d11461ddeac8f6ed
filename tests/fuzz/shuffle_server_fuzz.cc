// The shuffle server under any requests, as they come off the wire, over a
// channel in memory. A twin in forty lines says what each section must get: a
// refusal, or the bytes from the offset on and the index if it was asked for.
// Transfers
// are read side by side, at any pace, cut off at any place, more of them than
// are served at once.
#include <fuzzer/FuzzedDataProvider.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/grpc_library.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "tests/fuzz/dice.h"
#include "worker/shuffle/output_store.h"
#include "worker/shuffle/server.h"
#include "worker/shuffle/testing/map_outputs.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

constexpr int kStreamsMax = 3;
constexpr char kFetch[] = "/millrace.proto.ShuffleService/Fetch";
constexpr char kReadLog[] = "/millrace.proto.ShuffleService/ReadLog";

// Two outputs that are whole and one that is damaged, a log, and a server.
class Holder {
 public:
  Holder()
      : store_(WorkerLayout{"/w"}, live_), shuffle_(fs_, store_, Options()) {
    rpc::StartGrpc();
    for (uint32_t map = 0; map < 3; ++map) {
      TestOutputOptions options;
      options.map_index = map;
      options.records = 30;
      if (map == 1) options.empty_partitions = {0, 2};
      outputs_.push_back(MakeTestOutput(options));
      std::string file = outputs_.back().file;
      if (map == 2) file[file.size() - 9] ^= 1;
      const auto& id = outputs_.back().identity;
      fs_.SetContents(store_.MapOutput(id.job, map, id.attempt), file);
    }
    const auto& id = outputs_[0].identity;
    fs_.SetContents(store_.Log(id.job, id.attempt), log());
    grpc::ServerBuilder builder;
    builder.RegisterService(shuffle_.service());
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel(grpc::ChannelArguments());
  }
  static ShuffleServerOptions Options() {
    ShuffleServerOptions options;
    options.streams_max = kStreamsMax;
    options.log_streams_max = kStreamsMax;
    options.slice_bytes = 1000;
    options.index_rows_max = 16;
    return options;
  }
  static std::string log() { return std::string(100'000, 'l'); }

  const std::vector<TestOutput>& outputs() const { return outputs_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  MemoryFileSystem fs_;
  LiveAttempts live_;
  SpoolStore store_;
  ShuffleServer shuffle_;
  std::vector<TestOutput> outputs_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

const Holder& TheHolder() {
  static const Holder& holder = *new Holder();  // Up until the process ends.
  return holder;
}

// Of a section, or of a log.
struct Answer {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string data;
  std::string index;
  uint64_t partition_bytes = 0;
};
// Of a call.
struct Answers {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::vector<Answer> sections;
};

Answer ExpectedSection(const proto::FetchRequest& request,
                       const proto::FetchRequest::Section& section) {
  for (const TestOutput& output : TheHolder().outputs()) {
    if (output.identity.attempt.bytes() != section.attempt_uid() ||
        output.identity.job.bytes() != request.job_id()) {
      continue;
    }
    if (output.identity.map_index == 2 ||
        output.identity.map_index != section.map_index()) {
      return {absl::StatusCode::kDataLoss, "", "", 0};
    }
    if (request.partition() >= output.summary.partitions.size()) {
      return {absl::StatusCode::kInvalidArgument, "", "", 0};
    }
    const std::string all = output.partition(request.partition());
    if (section.offset() > all.size()) {
      return {absl::StatusCode::kInvalidArgument, "", "", 0};
    }
    return {absl::StatusCode::kOk, all.substr(section.offset()),
            section.want_index() ? output.index() : "", all.size()};
  }
  return {absl::StatusCode::kNotFound, "", "", 0};
}

Answers Expected(const std::string& bytes) {
  proto::FetchRequest request;
  Answers answers;
  answers.code = absl::StatusCode::kInvalidArgument;
  if (!request.ParseFromString(bytes) || request.job_id().size() != 16 ||
      request.sections_size() == 0 ||
      request.sections_size() > kFetchSectionsMax) {
    return answers;
  }
  for (const auto& section : request.sections()) {
    if (section.attempt_uid().size() != 16) return answers;
  }
  answers.code = absl::StatusCode::kOk;
  for (const auto& section : request.sections()) {
    answers.sections.push_back(ExpectedSection(request, section));
  }
  return answers;
}

Answer ExpectedLog(const std::string& bytes) {
  proto::ReadLogRequest request;
  // What gRPC itself cannot read; this is what its callback API says then.
  if (!request.ParseFromString(bytes)) {
    return {absl::StatusCode::kUnimplemented, "", "", 0};
  }
  if (request.job_id().size() != 16 || request.attempt_uid().size() != 16) {
    return {absl::StatusCode::kInvalidArgument, "", "", 0};
  }
  const auto& id = TheHolder().outputs()[0].identity;
  if (id.job.bytes() != request.job_id() ||
      id.attempt.bytes() != request.attempt_uid()) {
    return {absl::StatusCode::kNotFound, "", "", 0};
  }
  const std::string log = Holder::log();
  return {absl::StatusCode::kOk,
          log.substr(std::min<uint64_t>(request.offset(), log.size())), "", 0};
}

// One call, compared with what it must get.
class Call {
 public:
  Call(bool log, std::string request)
      : log_(log),
        request_(std::move(request)),
        expected_(
            log ? Answers{ExpectedLog(request_).code, {ExpectedLog(request_)}}
                : Expected(request_)) {
    Start();
  }

  bool over() const { return over_; }
  // One message, or the end.
  void Advance(bool alone) {
    grpc::ByteBuffer bytes;
    if (reader_->Read(&bytes)) return Take(bytes);
    const absl::Status status = rpc::FromGrpc(reader_->Finish());
    if (absl::IsResourceExhausted(status) && nothing_yet_) {
      // Too many at once: the last ones may be leaving just now.
      if (alone) return Start();
      over_ = true;
      return;
    }
    CHECK(status.code() == expected_.code) << status;
    CHECK(status.message().find("/w/") == absl::string_view::npos)
        << "a path travels: " << status;
    if (log_) {
      CHECK(got_ == expected_.sections[0].data);
    } else if (status.ok()) {
      CHECK_EQ(at_, expected_.sections.size());
    }
    over_ = true;
  }
  void Cancel() {
    context_->TryCancel();
    grpc::ByteBuffer bytes;
    while (reader_->Read(&bytes)) Take(bytes);
    const absl::Status status = rpc::FromGrpc(reader_->Finish());
    CHECK(status.code() == expected_.code || absl::IsCancelled(status) ||
          absl::IsResourceExhausted(status))
        << status;
    over_ = true;
  }

 private:
  void Start() {
    context_ = std::make_unique<grpc::ClientContext>();
    grpc::Slice slice(request_);
    const grpc::ByteBuffer bytes(&slice, 1);
    const grpc::internal::RpcMethod method(
        log_ ? kReadLog : kFetch, grpc::internal::RpcMethod::SERVER_STREAMING);
    reader_.reset(grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(
        TheHolder().channel().get(), method, context_.get(), bytes));
  }
  void Take(const grpc::ByteBuffer& bytes) {
    nothing_yet_ = false;
    grpc::Slice slice;
    CHECK(bytes.DumpToSingleSlice(&slice).ok());
    CHECK_LE(slice.size(), rpc::kMessageBytesMax);
    if (log_) {
      proto::LogSlice part;
      CHECK(part.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
      got_ += part.data();
      return;
    }
    proto::FetchSlice part;
    CHECK(part.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    CHECK_GT(part.pieces_size(), 0);
    for (const proto::FetchPiece& piece : part.pieces()) Take(piece);
  }
  void Take(const proto::FetchPiece& piece) {
    CHECK_LT(at_, expected_.sections.size());
    const Answer& expected = expected_.sections[at_];
    if (piece.has_refusal()) {
      CHECK(first_) << "every section here can be read to its end";
      CHECK_EQ(piece.refusal().code(), static_cast<uint32_t>(expected.code));
      CHECK(expected.code != absl::StatusCode::kOk);
      CHECK(piece.refusal().message().find("/w/") == std::string::npos)
          << "a path travels: " << piece.refusal().message();
      ++at_;
      return;
    }
    CHECK(expected.code == absl::StatusCode::kOk);
    CHECK_EQ(piece.has_header(), first_);
    if (first_) {
      CHECK(piece.header().index() == expected.index);
      CHECK_EQ(piece.header().partition_bytes(), expected.partition_bytes);
      first_ = false;
    }
    if (!piece.data().empty()) {
      CHECK_EQ(piece.offset(),
               expected.partition_bytes - expected.data.size() + got_.size());
    }
    got_ += piece.data();
    CHECK(expected.data.compare(0, got_.size(), got_) == 0);
    if (got_.size() < expected.data.size()) return;
    got_.clear();
    first_ = true;
    ++at_;
  }

  const bool log_;
  const std::string request_;
  const Answers expected_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> reader_;
  bool nothing_yet_ = true;
  bool over_ = false;
  size_t at_ = 0;      // Of the sections.
  bool first_ = true;  // Of its pieces.
  std::string got_;    // Of it, or of the log.
};

// Any output's ids, or nobody's.
std::string AnyUid(Dice& dice, const engine::MapOutputIdentity& id) {
  return dice.OneIn(8) ? dice.Bytes(20) : std::string(id.attempt.bytes());
}

std::string AnyRequest(Dice& dice, bool log) {
  const auto any = [&dice] { return dice.Of(TheHolder().outputs()).identity; };
  std::string job(any().job.bytes());
  if (dice.OneIn(8)) job = dice.Bytes(20);
  std::string bytes;
  if (log) {
    proto::ReadLogRequest request;
    request.set_job_id(job);
    request.set_attempt_uid(AnyUid(dice, any()));
    request.set_offset(dice.Number(110'000));
    request.set_follow(dice.OneIn(2));
    bytes = request.SerializeAsString();
  } else {
    proto::FetchRequest request;
    request.set_job_id(job);
    request.set_partition(dice.Number(4));
    for (uint32_t n = dice.OneIn(30) ? dice.Below(300) : 1 + dice.Below(6);
         n > 0; --n) {
      const auto id = any();
      proto::FetchRequest::Section* section = request.add_sections();
      section->set_map_index(dice.OneIn(8) ? dice.Number(4) : id.map_index);
      section->set_attempt_uid(AnyUid(dice, id));
      section->set_offset(dice.OneIn(2) ? 0 : dice.Number(12'000));
      section->set_want_index(dice.OneIn(2));
    }
    bytes = request.SerializeAsString();
  }
  return dice.OneIn(4) ? dice.Garbled(std::move(bytes)) : bytes;
}

void Fuzz(Dice& dice) {
  std::vector<std::unique_ptr<Call>> calls;
  for (int step = 0; step < 60 && !dice.Done(); ++step) {
    if (calls.empty() || (calls.size() < 6 && dice.OneIn(4))) {
      const bool log = dice.OneIn(5);
      calls.push_back(std::make_unique<Call>(log, AnyRequest(dice, log)));
      continue;
    }
    const auto at =
        calls.begin() + dice.Below(static_cast<uint32_t>(calls.size()));
    if (dice.OneIn(12)) {
      (*at)->Cancel();
    } else {
      (*at)->Advance(calls.size() == 1);
    }
    if ((*at)->over()) calls.erase(at);
  }
  for (; !calls.empty(); calls.pop_back()) {
    while (!calls.back()->over()) calls.back()->Advance(calls.size() == 1);
  }
}

}  // namespace
}  // namespace millrace::worker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::Dice dice(data);
  millrace::worker::Fuzz(dice);
  return 0;
}
