#include "worker/shuffle/transfer_receiver.h"

#include <memory>
#include <utility>

#include "common/strings.h"
#include "worker/shuffle/remote_index.h"

namespace millrace::worker {

using fetch::TransferEnded;
using Blame = TransferEnded::Blame;

TransferEnded TransferReceiver::End(Blame blame, absl::Status status) const {
  return TransferEnded{start_.transfer, blame, std::move(status)};
}

std::optional<TransferEnded> TransferReceiver::TakeHeader(
    const proto::FetchHeader& header) {
  fetch::HeaderArrived arrived{start_.transfer, nullptr,
                               header.partition_bytes()};
  if (start_.want_index) {
    auto index =
        VerifyRemoteIndex(header.index(), header.index_offset(),
                          start_.identity, start_.num_partitions, start_.root);
    if (!index.ok()) return End(Blame::kData, index.status());
    arrived.index =
        std::make_shared<const engine::MapOutputSummary>(*std::move(index));
  }
  target_ = edge_.OnHeader(arrived);
  if (!target_.has_value()) {
    return End(Blame::kData,
               absl::DataLossError("the holder announces another length of "
                                   "the partition than the index"));
  }
  if (!target_->write.ok()) return End(Blame::kLocal, target_->write.status());
  return std::nullopt;
}

std::optional<TransferEnded> TransferReceiver::Take(
    const proto::FetchSlice& slice) {
  if (!target_.has_value()) {
    if (auto ended = TakeHeader(slice.header())) return ended;
  }
  if (slice.data().empty()) return std::nullopt;
  BlockVerifier& verifier = *target_->section.verifier;
  if (slice.offset() != verifier.bytes()) {
    return End(Blame::kData,
               absl::DataLossError(
                   Av(Cat("bytes from ", slice.offset(), " where those from ",
                          verifier.bytes(), " were due"))));
  }
  const uint64_t offset = target_->section.placement.offset + slice.offset();
  if (absl::Status s = verifier.Add(slice.data()); !s.ok()) {
    return End(Blame::kData, std::move(s));
  }
  if (absl::Status s = (*target_->write)(offset, slice.data()); !s.ok()) {
    return End(Blame::kLocal, std::move(s));
  }
  edge_.OnStored({start_.transfer, slice.data().size()});
  return std::nullopt;
}

}  // namespace millrace::worker
