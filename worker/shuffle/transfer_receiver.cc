#include "worker/shuffle/transfer_receiver.h"

#include <memory>
#include <utility>

#include "common/strings.h"
#include "rpc/limits.h"
#include "worker/shuffle/remote_index.h"

namespace millrace::worker {

using fetch::TransferEnded;
using Blame = TransferEnded::Blame;

namespace {

// What a holder says of a section, whatever it says.
absl::Status StatusOf(const proto::FetchRefusal& refusal) {
  auto code = absl::StatusCode::kUnknown;
  if (refusal.code() > 0 &&
      refusal.code() <=
          static_cast<uint32_t>(absl::StatusCode::kUnauthenticated)) {
    code = static_cast<absl::StatusCode>(refusal.code());
  }
  return absl::Status(
      code, Av(refusal.message().substr(0, rpc::kStatusTextBytesMax)));
}

}  // namespace

TransferEnded TransferReceiver::End(Blame blame, absl::Status status) const {
  return TransferEnded{start_.transfer, section_, blame, std::move(status)};
}

TransferEnded TransferReceiver::Wrong(std::string_view what) const {
  return End(Blame::kData, absl::DataLossError(Av(what)));
}

void TransferReceiver::NextSection() {
  target_.reset();
  ++section_;
}

std::optional<TransferEnded> TransferReceiver::TakeHeader(
    const proto::FetchPiece& piece) {
  const fetch::StartTransfer::Section& asked = start_.sections[section_];
  const proto::FetchHeader& header = piece.header();
  // Before the section can be complete: the next one has no part in it.
  if (header.partition_bytes() < asked.offset ||
      piece.data().size() > header.partition_bytes() - asked.offset) {
    return Wrong("there are more bytes than the holder announces");
  }
  fetch::HeaderArrived arrived{start_.transfer, section_, nullptr,
                               header.partition_bytes()};
  if (asked.want_index) {
    auto index =
        VerifyRemoteIndex(header.index(), header.index_offset(), asked.identity,
                          start_.num_partitions, asked.root);
    if (!index.ok()) return End(Blame::kData, index.status());
    arrived.index =
        std::make_shared<const engine::MapOutputSummary>(*std::move(index));
  }
  target_ = edge_.OnHeader(arrived);
  if (!target_.has_value()) {
    return Wrong(
        "the holder announces another length of the partition than the index");
  }
  if (!target_->write.ok()) return End(Blame::kLocal, target_->write.status());
  if (target_->section.verifier->complete()) NextSection();
  return std::nullopt;
}

std::optional<TransferEnded> TransferReceiver::TakePiece(
    const proto::FetchPiece& piece) {
  if (section_ == start_.sections.size()) {
    return Wrong("there are more sections than were asked for");
  }
  if (piece.has_refusal()) {
    edge_.OnRefused({start_.transfer, section_, StatusOf(piece.refusal())});
    NextSection();
    return std::nullopt;
  }
  if (piece.has_header() != !target_.has_value()) {
    return Wrong(piece.has_header()
                     ? "another section begins before this one is complete"
                     : "bytes before their header");
  }
  if (piece.has_header()) {
    if (auto ended = TakeHeader(piece)) return ended;
  }
  if (piece.data().empty()) return std::nullopt;
  BlockVerifier& verifier = *target_->section.verifier;
  if (piece.offset() != verifier.bytes()) {
    return Wrong(Cat("bytes from ", piece.offset(), " where those from ",
                     verifier.bytes(), " were due"));
  }
  const uint64_t offset = target_->section.placement.offset + piece.offset();
  if (absl::Status s = verifier.Add(piece.data()); !s.ok()) {
    return End(Blame::kData, std::move(s));
  }
  if (absl::Status s = (*target_->write)(offset, piece.data()); !s.ok()) {
    return End(Blame::kLocal, std::move(s));
  }
  const fetch::Stored stored{start_.transfer, section_, piece.data().size()};
  // Let go of first: when the core hears of the last bytes the attempt may end.
  if (verifier.complete()) NextSection();
  edge_.OnStored(stored);
  return std::nullopt;
}

std::optional<TransferEnded> TransferReceiver::Take(
    const proto::FetchSlice& slice) {
  for (const proto::FetchPiece& piece : slice.pieces()) {
    if (auto ended = TakePiece(piece)) return ended;
  }
  return std::nullopt;
}

}  // namespace millrace::worker
