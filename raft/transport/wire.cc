#include "raft/transport/wire.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/membership.h"
#include "raft/replicated_log.h"

namespace millrace::raft {
namespace {

// Far from where arithmetic on them would wrap around.
constexpr uint64_t kNumberMax = uint64_t{1} << 62;
constexpr auto kLastType = MessageType::kTimeoutNow;
constexpr size_t kLengthBytes = 4;
static_assert(std::endian::native == std::endian::little,
              "lengths are copied as they are in memory");

absl::Status Bad(std::string_view what) {
  return absl::InvalidArgumentError(Av(Cat("a Raft message ", what)));
}

void Put(const EntryId& id, proto::RaftEntryId* out) {
  if (id.term != 0) out->set_term(id.term);
  if (id.index != 0) out->set_index(id.index);
}

absl::StatusOr<EntryId> Get(const proto::RaftEntryId& in) {
  if (in.term() >= kNumberMax || in.index() >= kNumberMax) {
    return Bad("names an entry that cannot be");
  }
  return EntryId{in.term(), in.index()};
}

absl::Status TakeEntries(proto::RaftMessage& in, Message* out) {
  if (in.entries_size() == 0) return absl::OkStatus();
  if (out->type != MessageType::kAppend) {
    return Bad("that is no append has entries");
  }
  out->entries.reserve(static_cast<size_t>(in.entries_size()));
  uint64_t term = std::max<uint64_t>(out->prev.term, 1);
  for (proto::RaftEntry& entry : *in.mutable_entries()) {
    if (entry.term() < term || entry.term() > out->term) {
      return Bad("has entries whose terms are out of order");
    }
    if (entry.kind() > UINT8_MAX || entry.payload().size() > kPayloadBytesMax) {
      return Bad("has an entry that is too long, or of no kind");
    }
    term = entry.term();
    LogEntry& added = out->entries.emplace_back();
    added.index = out->prev.index + out->entries.size();
    added.term = term;
    added.kind = static_cast<uint8_t>(entry.kind());
    added.payload = std::move(*entry.mutable_payload());
  }
  return absl::OkStatus();
}

absl::Status TakeSnapshot(const proto::RaftMessage& in, Message* out) {
  if (in.has_snapshot() != (out->type == MessageType::kSnapshot)) {
    return Bad("has a snapshot in the wrong place");
  }
  if (!in.has_snapshot()) return absl::OkStatus();
  SnapshotMeta& snapshot = out->snapshot.emplace();
  MR_ASSIGN_OR_RETURN(snapshot.last, Get(in.snapshot().last()));
  if (snapshot.last.index == 0 || snapshot.last.term == 0 ||
      snapshot.last.term > out->term) {
    return Bad("has a snapshot of an entry that cannot be");
  }
  auto membership = DecodeMembership(in.snapshot().membership());
  if (!membership.ok()) return Bad("has a snapshot without a membership");
  snapshot.membership = *std::move(membership);
  return absl::OkStatus();
}

}  // namespace

// ------------------------------------------------------------------ messages

proto::RaftMessage EncodeMessage(Message message) {
  proto::RaftMessage out;
  out.set_type(static_cast<uint32_t>(message.type) + 1);
  out.set_term(message.term);
  if (message.prev != EntryId()) Put(message.prev, out.mutable_prev());
  out.set_commit(message.commit);
  out.mutable_entries()->Reserve(static_cast<int>(message.entries.size()));
  for (LogEntry& entry : message.entries) {
    proto::RaftEntry& added = *out.add_entries();
    added.set_term(entry.term);
    added.set_kind(entry.kind);
    added.set_payload(std::move(entry.payload));
  }
  out.set_rejected(message.rejected);
  if (message.hint != EntryId()) Put(message.hint, out.mutable_hint());
  out.set_transfer(message.transfer);
  out.set_read_context(message.read_context);
  if (message.snapshot.has_value()) {
    Put(message.snapshot->last, out.mutable_snapshot()->mutable_last());
    out.mutable_snapshot()->set_membership(
        EncodeMembership(message.snapshot->membership));
  }
  return out;
}

absl::StatusOr<Message> DecodeMessage(proto::RaftMessage in, NodeId from,
                                      NodeId to) {
  if (in.type() < 1 || in.type() > static_cast<uint32_t>(kLastType) + 1) {
    return Bad("is of no kind");
  }
  if (in.term() >= kNumberMax || in.commit() >= kNumberMax) {
    return Bad("has numbers that cannot be");
  }
  Message out;
  out.type = static_cast<MessageType>(in.type() - 1);
  out.from = from;
  out.to = to;
  out.term = in.term();
  MR_ASSIGN_OR_RETURN(out.prev, Get(in.prev()));
  out.commit = in.commit();
  MR_RETURN_IF_ERROR(TakeEntries(in, &out));
  out.rejected = in.rejected();
  MR_ASSIGN_OR_RETURN(out.hint, Get(in.hint()));
  out.transfer = in.transfer();
  out.read_context = in.read_context();
  MR_RETURN_IF_ERROR(TakeSnapshot(in, &out));
  return out;
}

// --------------------------------------------------------------------- hello

proto::RaftHello EncodeHello(const LogIdentity& self, NodeId to,
                             std::string_view address) {
  proto::RaftHello hello;
  hello.set_version(proto::RAFT_PROTOCOL_VERSION);
  hello.set_cluster(std::string(self.cluster.bytes()));
  hello.set_from(self.member);
  hello.set_to(to);
  hello.set_address(std::string(address));
  return hello;
}

absl::Status CheckHello(const proto::RaftHello& hello,
                        const LogIdentity& self) {
  if (hello.version() != proto::RAFT_PROTOCOL_VERSION) {
    return absl::FailedPreconditionError(
        Av(Cat("this master speaks version ",
               static_cast<int>(proto::RAFT_PROTOCOL_VERSION),
               " of the Raft protocol, not ", hello.version())));
  }
  if (hello.from() == kNobody || hello.address().size() > kAddressBytesMax) {
    return absl::InvalidArgumentError("a Raft stream of nobody");
  }
  if (hello.cluster() != self.cluster.bytes()) {
    return absl::FailedPreconditionError(
        Av(Cat("this master belongs to cluster ", self.cluster.ToHex(),
               ", not to ", HexEncode(hello.cluster().substr(0, 16)))));
  }
  if (hello.to() != self.member || hello.from() == self.member) {
    return absl::FailedPreconditionError(
        Av(Cat("this master is member ", absl::StrCat(absl::Hex(self.member)),
               " of its cluster, not ", absl::StrCat(absl::Hex(hello.to())))));
  }
  return absl::OkStatus();
}

uint64_t SeedOf(const proto::RaftHello& hello) {
  std::string bytes(hello.cluster());
  for (const uint64_t number :
       {uint64_t{hello.version()}, hello.from(), hello.to()}) {
    bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  return Hash64(bytes + hello.address());
}

// ----------------------------------------------------------------- snapshots

proto::RaftSnapshotBegin EncodeSnapshotBegin(proto::RaftHello hello,
                                             Message message,
                                             std::string_view description) {
  proto::RaftSnapshotBegin begin;
  begin.set_message(EncodeMessage(std::move(message)).SerializeAsString());
  begin.set_description(std::string(description));
  begin.set_checksum(Hash64Seeded(begin.message(), SeedOf(hello)));
  *begin.mutable_hello() = std::move(hello);
  return begin;
}

absl::StatusOr<Message> DecodeSnapshotBegin(
    const proto::RaftSnapshotBegin& begin) {
  if (begin.checksum() !=
      Hash64Seeded(begin.message(), SeedOf(begin.hello()))) {
    return absl::DataLossError("a Raft message arrived damaged");
  }
  proto::RaftMessage encoded;
  if (!encoded.ParseFromString(begin.message())) {
    return Bad("cannot be decoded");
  }
  MR_ASSIGN_OR_RETURN(Message message,
                      DecodeMessage(std::move(encoded), begin.hello().from(),
                                    begin.hello().to()));
  if (message.type != MessageType::kSnapshot) {
    return Bad("announces a snapshot and has none");
  }
  return message;
}

// -------------------------------------------------------------------- frames

proto::RaftFrame FrameQueue::Begin(proto::RaftHello hello) {
  seed_ = SeedOf(hello);
  taken_ = 0;
  proto::RaftFrame frame = Seal("");
  *frame.mutable_hello() = std::move(hello);
  return frame;
}

bool FrameQueue::Push(Message message) {
  const proto::RaftMessage encoded = EncodeMessage(std::move(message));
  const auto size = static_cast<uint32_t>(encoded.ByteSizeLong());
  CHECK_LE(size, kWireMessageBytesMax);
  if (!messages_.empty() && (messages_.size() >= limits_.messages_max ||
                             bytes_ + size > limits_.bytes_max)) {
    return false;
  }
  std::string bytes;
  bytes.reserve(kLengthBytes + size);
  bytes.append(reinterpret_cast<const char*>(&size), kLengthBytes);
  encoded.AppendToString(&bytes);
  bytes_ += bytes.size();
  messages_.push_back(std::move(bytes));
  return true;
}

proto::RaftFrame FrameQueue::Take() {
  std::string body;
  while (!messages_.empty() && body.size() < kFrameBytesMax) {
    std::string& first = messages_.front();
    const size_t left = first.size() - taken_;
    const size_t part = std::min(left, kFrameBytesMax - body.size());
    if (body.empty() && part == first.size()) {
      body = std::move(first);
    } else {
      body.append(first, taken_, part);
    }
    taken_ += part;
    bytes_ -= part;
    if (part < left) break;
    messages_.pop_front();
    taken_ = 0;
  }
  return Seal(std::move(body));
}

proto::RaftFrame FrameQueue::Seal(std::string body) const {
  proto::RaftFrame frame;
  frame.set_checksum(Hash64Seeded(body, seed_));
  frame.set_body(std::move(body));
  return frame;
}

void FrameQueue::Clear() {
  messages_.clear();
  taken_ = 0;
  bytes_ = 0;
}

absl::StatusOr<std::vector<Message>> FrameReader::Add(
    const proto::RaftFrame& frame) {
  if (frame.checksum() != Hash64Seeded(frame.body(), seed_)) {
    return absl::DataLossError("a Raft message arrived damaged");
  }
  // Mostly nothing is left from before, and the frame need not be copied.
  std::string_view rest = frame.body();
  if (!bytes_.empty()) {
    bytes_ += frame.body();
    rest = bytes_;
  }
  std::vector<Message> messages;
  while (rest.size() >= kLengthBytes) {
    uint32_t size = 0;
    std::memcpy(&size, rest.data(), kLengthBytes);
    if (size > kWireMessageBytesMax) return Bad("is too long");
    if (rest.size() - kLengthBytes < size) break;
    proto::RaftMessage encoded;
    if (!encoded.ParseFromArray(rest.data() + kLengthBytes,
                                static_cast<int>(size))) {
      return Bad("cannot be decoded");
    }
    MR_ASSIGN_OR_RETURN(Message message,
                        DecodeMessage(std::move(encoded), from_, to_));
    messages.push_back(std::move(message));
    rest.remove_prefix(kLengthBytes + size);
  }
  bytes_ = std::string(rest);
  return messages;
}

}  // namespace millrace::raft
