// What comes of one transfer, slice by slice, is verified and stored, or ends
// it. No threads, files or sockets.
#ifndef MILLRACE_WORKER_SHUFFLE_TRANSFER_RECEIVER_H_
#define MILLRACE_WORKER_SHUFFLE_TRANSFER_RECEIVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/messages/shuffle.pb.h"
#include "worker/shuffle/fetch_core.h"

namespace millrace::worker {

// Thread-compatible.
class TransferReceiver {
 public:
  // Writes into the container of the section, at this offset of it.
  using Write =
      std::function<absl::Status(uint64_t offset, std::string_view bytes)>;
  // Where a transfer writes. An error: the container could not be made.
  struct Target {
    SectionTarget section;
    absl::StatusOr<Write> write;
  };
  // What the owner of the core does.
  class Edge {
   public:
    virtual ~Edge() = default;
    // Steps the core. What it says of WriteTo; nothing: the transfer is to end.
    virtual std::optional<Target> OnHeader(
        const fetch::HeaderArrived& arrived) = 0;
    virtual void OnStored(const fetch::Stored& stored) = 0;
    virtual void OnRefused(const fetch::SectionRefused& refused) = 0;
  };

  // Borrows both.
  TransferReceiver(const fetch::StartTransfer& start, Edge& edge)
      : start_(start), edge_(edge) {}

  // The next slice. Nothing: go on. Else the transfer is over, whatever the
  // holder has still to say; call no more.
  std::optional<fetch::TransferEnded> Take(const proto::FetchSlice& slice);
  // The stream has ended, so.
  fetch::TransferEnded Ended(absl::Status status) const {
    return End(fetch::TransferEnded::Blame::kSource, std::move(status));
  }

 private:
  std::optional<fetch::TransferEnded> TakePiece(const proto::FetchPiece& piece);
  std::optional<fetch::TransferEnded> TakeHeader(
      const proto::FetchPiece& piece);
  void NextSection();
  fetch::TransferEnded Wrong(std::string_view what) const;
  fetch::TransferEnded End(fetch::TransferEnded::Blame blame,
                           absl::Status status) const;

  const fetch::StartTransfer& start_;
  Edge& edge_;
  size_t section_ = 0;            // Under way or due.
  std::optional<Target> target_;  // Of it, once its header is here.
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_TRANSFER_RECEIVER_H_
