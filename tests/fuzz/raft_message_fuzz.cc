// Frames of another master, and the beginnings of snapshots: any bytes, and
// frames under right checksums. What is taken must be what a member could have
// sent, and must pass again as it is.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/hash.h"
#include "common/logging.h"
#include "common/random.h"
#include "raft/replicated_log.h"
#include "raft/transport/wire.h"

namespace millrace::raft {
namespace {

constexpr NodeId kFrom = 7;
constexpr NodeId kTo = 8;

proto::RaftHello Hello() {
  LogIdentity self;
  const auto random = Random::Seeded(1);
  self.cluster = ClusterId::Generate(*random);
  self.member = kFrom;
  return EncodeHello(self, kTo, "here:1");
}

void Check(const Message& message) {
  CHECK_EQ(message.from, kFrom);
  CHECK_EQ(message.to, kTo);
  CHECK(message.entries.empty() || message.type == MessageType::kAppend);
  uint64_t index = message.prev.index;
  uint64_t term = message.prev.term;
  for (const LogEntry& entry : message.entries) {
    CHECK_EQ(entry.index, ++index);
    CHECK_GE(entry.term, term);
    CHECK_LE(entry.payload.size(), kPayloadBytesMax);
    term = entry.term;
  }
  CHECK(message.entries.empty() || term <= message.term);
  CHECK_EQ(message.snapshot.has_value(),
           message.type == MessageType::kSnapshot);
  const auto again = DecodeMessage(EncodeMessage(message), kFrom, kTo);
  CHECK(again.ok()) << again.status();
  CHECK(*again == message);
}

void CheckStatus(const absl::Status& status) {
  CHECK(status.ok() || absl::IsInvalidArgument(status) ||
        absl::IsDataLoss(status) || absl::IsFailedPrecondition(status))
      << status;
}

// A frame as it comes off the wire.
void FuzzFrameBytes(FuzzedDataProvider& data) {
  proto::RaftFrame frame;
  if (!frame.ParseFromString(data.ConsumeRemainingBytesAsString())) return;
  FrameReader reader(frame.hello());
  CheckStatus(reader.Add(frame).status());
  CheckStatus(CheckHello(frame.hello(), {ClusterId(), kTo}));
}

// Bodies that arrived as they were sent, cut anywhere.
void FuzzBodies(FuzzedDataProvider& data) {
  const proto::RaftHello hello = Hello();
  FrameReader reader(hello);
  while (data.remaining_bytes() > 0) {
    proto::RaftFrame frame;
    frame.set_body(data.ConsumeRandomLengthString());
    frame.set_checksum(Hash64Seeded(frame.body(), SeedOf(hello)));
    const auto messages = reader.Add(frame);
    CheckStatus(messages.status());
    if (!messages.ok()) return;
    for (const Message& message : *messages) Check(message);
  }
}

void FuzzMessage(FuzzedDataProvider& data) {
  proto::RaftMessage encoded;
  if (!encoded.ParseFromString(data.ConsumeRemainingBytesAsString())) return;
  const auto message = DecodeMessage(std::move(encoded), kFrom, kTo);
  CheckStatus(message.status());
  if (message.ok()) Check(*message);
}

void FuzzSnapshotBegin(FuzzedDataProvider& data) {
  proto::RaftSnapshotBegin begin;
  *begin.mutable_hello() = Hello();
  begin.set_message(data.ConsumeRemainingBytesAsString());
  begin.set_checksum(Hash64Seeded(begin.message(), SeedOf(begin.hello())));
  const auto message = DecodeSnapshotBegin(begin);
  CheckStatus(message.status());
  if (message.ok()) Check(*message);
}

}  // namespace
}  // namespace millrace::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 3)) {
    case 0:
      millrace::raft::FuzzFrameBytes(data);
      break;
    case 1:
      millrace::raft::FuzzBodies(data);
      break;
    case 2:
      millrace::raft::FuzzMessage(data);
      break;
    default:
      millrace::raft::FuzzSnapshotBegin(data);
  }
  return 0;
}
