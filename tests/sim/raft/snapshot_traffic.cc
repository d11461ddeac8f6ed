#include "tests/sim/raft/snapshot_traffic.h"

#include <utility>

#include "common/strings.h"
#include "raft/node/snapshot_transfer.h"

namespace millrace::raftsim {
namespace {

using Kind = SnapshotPiece::Kind;

// Without a word from the other.
constexpr absl::Duration kSenderPatience = absl::Seconds(2);
constexpr absl::Duration kReceiverPatience = absl::Seconds(4);

}  // namespace

void SnapshotTraffic::OnPiece(const SnapshotPiece& piece) {
  switch (piece.kind) {
    case Kind::kBegin:
      return Begin(piece);
    case Kind::kChunk:
      return Take(piece);
    case Kind::kWanted:
      return SendChunk(piece.transfer, piece.number);
    case Kind::kDone:
      return EndSending(piece.transfer, true);
    case Kind::kRefused:
      return EndSending(piece.transfer, false);
  }
}

// --------------------------------------------------------------------- sending

void SnapshotTraffic::Send(const raft::Message& message) {
  auto bytes = raft::OpenOutgoingSnapshot(store_, message.snapshot->last);
  if (!bytes.ok()) {
    host_.After(absl::ZeroDuration(), Step::kSnapshotPiece,
                [this, to = message.to] { node_.sent(to, false); });
    return;
  }
  const uint64_t transfer = next_transfer_++;
  host_.trace().Note(
      "sends a snapshot", host_.machine(),
      {{"transfer", transfer}, {"index", message.snapshot->last.index}});
  SnapshotPiece piece;
  piece.kind = Kind::kBegin;
  piece.to = message.to;
  piece.transfer = transfer;
  piece.message = message;
  piece.bytes = (*bytes)->description();
  outgoing_[transfer] = {message.to, *std::move(bytes), 0};
  host_.Send(std::move(piece));
  GiveUpSending(transfer);
}

void SnapshotTraffic::SendChunk(uint64_t transfer, uint64_t number) {
  const auto found = outgoing_.find(transfer);
  if (found == outgoing_.end()) return;
  Outgoing& outgoing = found->second;
  ++outgoing.progress;
  absl::StatusOr<std::string> chunk = outgoing.bytes->ReadChunk(number);
  if (!chunk.ok()) {
    host_.trace().Say(ToStd(chunk.status().message()));
    EndSending(transfer, false);
    return;
  }
  SnapshotPiece piece;
  piece.kind = Kind::kChunk;
  piece.to = outgoing.to;
  piece.transfer = transfer;
  piece.number = number;
  piece.bytes = *std::move(chunk);
  host_.Send(std::move(piece));
}

void SnapshotTraffic::GiveUpSending(uint64_t transfer) {
  host_.After(kSenderPatience, Step::kSnapshotPiece,
              [this, transfer, progress = outgoing_[transfer].progress] {
                const auto found = outgoing_.find(transfer);
                if (found == outgoing_.end()) return;
                if (found->second.progress == progress) {
                  EndSending(transfer, false);
                } else {
                  GiveUpSending(transfer);
                }
              });
}

void SnapshotTraffic::EndSending(uint64_t transfer, bool ok) {
  const auto found = outgoing_.find(transfer);
  if (found == outgoing_.end()) return;
  const raft::NodeId to = found->second.to;
  outgoing_.erase(found);
  host_.trace().Note(ok ? "snapshot sent" : "snapshot not sent",
                     host_.machine(), {{"transfer", transfer}});
  node_.sent(to, ok);
}

// ------------------------------------------------------------------- receiving

void SnapshotTraffic::Say(Kind kind, const SnapshotPiece& to, uint64_t number) {
  SnapshotPiece piece;
  piece.kind = kind;
  piece.to = to.from;
  piece.transfer = to.transfer;
  piece.number = number;
  host_.Send(std::move(piece));
}

void SnapshotTraffic::Begin(const SnapshotPiece& piece) {
  incoming_.erase(piece.from);
  auto bytes = raft::ReceiveSnapshotInto(store_, piece.message, piece.bytes,
                                         node_.received);
  if (!bytes.ok()) {
    host_.trace().Say(ToStd(bytes.status().message()));
    Say(Kind::kRefused, piece, 0);
    return;
  }
  incoming_[piece.from] = {piece.transfer, *std::move(bytes), 0};
  GiveUpReceiving(piece.from);
  GoOn(piece, absl::OkStatus());
}

void SnapshotTraffic::Take(const SnapshotPiece& piece) {
  const auto found = incoming_.find(piece.from);
  if (found == incoming_.end() || found->second.transfer != piece.transfer) {
    return;
  }
  Incoming& incoming = found->second;
  // Doubled or overtaken: a transport with a stream has neither.
  if (piece.number != incoming.bytes->next_chunk()) return;
  ++incoming.progress;
  GoOn(piece, incoming.bytes->Append(piece.number, piece.bytes));
}

// `piece` was taken with `status`.
void SnapshotTraffic::GoOn(const SnapshotPiece& piece, absl::Status status) {
  Incoming& incoming = incoming_.at(piece.from);
  if (status.ok() && !incoming.bytes->complete()) {
    Say(Kind::kWanted, piece, incoming.bytes->next_chunk());
    return;
  }
  const auto bytes = std::move(incoming.bytes);
  incoming_.erase(piece.from);
  if (status.ok()) status = bytes->Commit();
  host_.trace().Note(status.ok() ? "snapshot received" : "snapshot refused",
                     host_.machine(), {{"transfer", piece.transfer}});
  if (!status.ok()) host_.trace().Say(ToStd(status.message()));
  Say(status.ok() ? Kind::kDone : Kind::kRefused, piece, 0);
}

void SnapshotTraffic::GiveUpReceiving(raft::NodeId from) {
  const Incoming& now = incoming_[from];
  host_.After(
      kReceiverPatience, Step::kSnapshotPiece,
      [this, from, transfer = now.transfer, progress = now.progress] {
        const auto found = incoming_.find(from);
        if (found == incoming_.end() || found->second.transfer != transfer) {
          return;
        }
        if (found->second.progress == progress) {
          incoming_.erase(found);
        } else {
          GiveUpReceiving(from);
        }
      });
}

}  // namespace millrace::raftsim
