#include "raft/node/snapshot_transfer.h"

#include <string>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/membership.h"
#include "raft/log/snapshot_format.h"

namespace millrace::raft {
namespace {

bool IsAt(const SnapshotFileMeta& meta, const EntryId& last) {
  return meta.index == last.index && meta.term == last.term;
}

class Outgoing final : public OutgoingSnapshot {
 public:
  explicit Outgoing(std::unique_ptr<SnapshotReader> reader)
      : reader_(std::move(reader)),
        description_(EncodeSnapshotDescription(reader_->meta())) {}

  const std::string& description() const override { return description_; }
  uint64_t chunks() const override { return reader_->meta().chunks(); }
  absl::StatusOr<std::string> ReadChunk(uint64_t number) override {
    return reader_->ReadChunk(number);
  }

 private:
  const std::unique_ptr<SnapshotReader> reader_;
  const std::string description_;
};

// Hands the message on, as one of the store's newest snapshot. That may be
// newer than what was sent: it serves as well, and the leader has to hear of
// it, or would send its own for ever.
absl::Status Announce(const SnapshotStore& store, Message message,
                      const OnSnapshotReceived& on_received) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<SnapshotReader> reader,
                      store.OpenNewest());
  const SnapshotFileMeta& meta = reader->meta();
  message.snapshot->last = {meta.term, meta.index};
  MR_ASSIGN_OR_RETURN(message.snapshot->membership,
                      DecodeMembership(meta.configuration));
  on_received(message, std::move(reader));
  return absl::OkStatus();
}

class Incoming final : public IncomingSnapshot {
 public:
  Incoming(const SnapshotStore& store, Message message,
           std::unique_ptr<SnapshotInstaller> installer,
           OnSnapshotReceived on_received)
      : store_(store),
        message_(std::move(message)),
        installer_(std::move(installer)),
        on_received_(std::move(on_received)) {}

  uint64_t next_chunk() const override { return installer_->next_chunk(); }
  bool complete() const override {
    return installer_->next_chunk() == installer_->meta().chunks();
  }
  absl::Status Append(uint64_t number, std::string_view chunk) override {
    return installer_->Append(number, chunk);
  }
  absl::Status Commit() override {
    const absl::Status status = installer_->Finish();
    // A newer one came meanwhile.
    if (!status.ok() && !absl::IsAborted(status)) return status;
    return Announce(store_, message_, on_received_);
  }

 private:
  const SnapshotStore& store_;
  const Message message_;
  const std::unique_ptr<SnapshotInstaller> installer_;
  const OnSnapshotReceived on_received_;
};

// There is nothing to send: it came in an earlier try, of which the other did
// not hear the end, or a newer one is there.
class Stored final : public IncomingSnapshot {
 public:
  Stored(const SnapshotStore& store, Message message,
         OnSnapshotReceived on_received)
      : store_(store),
        message_(std::move(message)),
        on_received_(std::move(on_received)) {}

  uint64_t next_chunk() const override { return 0; }
  bool complete() const override { return true; }
  absl::Status Append(uint64_t, std::string_view) override {
    return absl::FailedPreconditionError("nothing is missing");
  }
  absl::Status Commit() override {
    return Announce(store_, message_, on_received_);
  }

 private:
  const SnapshotStore& store_;
  const Message message_;
  const OnSnapshotReceived on_received_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OutgoingSnapshot>> OpenOutgoingSnapshot(
    const SnapshotStore& store, const EntryId& last) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<SnapshotReader> reader,
                      store.OpenNewest());
  if (!IsAt(reader->meta(), last)) {
    return absl::NotFoundError(
        Av(Cat("the newest snapshot is not that at entry ", last.index)));
  }
  return std::make_unique<Outgoing>(std::move(reader));
}

absl::StatusOr<std::unique_ptr<IncomingSnapshot>> ReceiveSnapshotInto(
    SnapshotStore& store, const Message& message, std::string_view description,
    OnSnapshotReceived on_received) {
  MR_ASSIGN_OR_RETURN(const SnapshotFileMeta meta,
                      DecodeSnapshotDescription(description));
  if (!message.snapshot.has_value() || !IsAt(meta, message.snapshot->last) ||
      meta.configuration != EncodeMembership(message.snapshot->membership)) {
    return absl::DataLossError(
        "the description of a snapshot is not its message's");
  }
  if (store.newest().index >= meta.index) {
    return std::make_unique<Stored>(store, message, std::move(on_received));
  }
  absl::StatusOr<std::unique_ptr<SnapshotInstaller>> installer =
      store.Install(description);
  // Another one is under way: for the transport that is "later".
  if (absl::IsFailedPrecondition(installer.status())) {
    return absl::ResourceExhaustedError(installer.status().message());
  }
  MR_RETURN_IF_ERROR(installer.status());
  return std::make_unique<Incoming>(store, message, *std::move(installer),
                                    std::move(on_received));
}

}  // namespace millrace::raft
