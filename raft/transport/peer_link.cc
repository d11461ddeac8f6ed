#include "raft/transport/peer_link.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "common/fault_point.h"
#include "common/logging.h"
#include "common/strings.h"
#include "proto/services/raft.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace millrace::raft {

// One call. Reads and writes are one at a time each, the link sees to it; it is
// gone when gRPC has said so by OnDone.
class PeerLink::Stream final
    : public grpc::ClientBidiReactor<proto::RaftFrame, proto::RaftReceived> {
 public:
  Stream(std::shared_ptr<PeerLink> link, std::shared_ptr<grpc::Channel> channel)
      : link_(std::move(link)),
        stub_(proto::RaftService::NewStub(std::move(channel))) {}

  void Begin(std::shared_ptr<Stream> self, proto::RaftFrame first) {
    self_ = std::move(self);
    stub_->async()->Speak(&context_, this);
    frame_ = std::move(first);
    AddHold();  // For writes that come from elsewhere; until Break().
    StartRead(&received_);
    StartWrite(&frame_);
    StartCall();
  }
  // No write after it. Once, under the link's lock. `cancel`: unless the stream
  // has ended by itself, with a status that should not be lost.
  void Break(bool cancel) {
    if (cancel) context_.TryCancel();
    RemoveHold();
  }
  // Under the link's lock, not while another is under way, not after Break.
  void Write(proto::RaftFrame frame) {
    frame_ = std::move(frame);
    StartWrite(&frame_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      link_->OnEnded(this, absl::OkStatus());
      return;
    }
    link_->OnReceived(this);
    StartRead(&received_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      link_->OnWritten(this);
    } else {
      link_->OnEnded(this, absl::OkStatus());
    }
  }
  void OnDone(const grpc::Status& status) override {
    link_->OnEnded(this, rpc::FromGrpc(status));
    const std::shared_ptr<Stream> self = std::move(self_);
    Shared& shared = link_->shared_;
    // Nothing of the link is touched after this.
    stub_.reset();
    link_.reset();
    shared.streams_changed(-1);
  }

 private:
  std::shared_ptr<PeerLink> link_;
  std::unique_ptr<proto::RaftService::Stub> stub_;
  grpc::ClientContext context_;
  proto::RaftFrame frame_;
  proto::RaftReceived received_;
  std::shared_ptr<Stream> self_;  // Until OnDone.
};

PeerLink::PeerLink(Shared& shared, NodeId node, std::string address,
                   uint64_t seed)
    : shared_(shared),
      node_(node),
      random_(Random::Seeded(seed)),
      address_(std::move(address)),
      backoff_(shared.options.backoff, *random_),
      queue_({shared.options.queue_messages_max,
              shared.options.queue_bytes_max}) {}

PeerLink::~PeerLink() = default;

std::string PeerLink::address() const {
  absl::MutexLock lock(&mu_);
  return address_;
}

void PeerLink::SetAddress(const std::string& address) {
  absl::MutexLock lock(&mu_);
  if (address == address_) return;
  address_ = address;
  DropStreamLocked(true);
  backoff_.Reset();
  not_before_ = -absl::InfiniteDuration();
}

void PeerLink::Heard() {
  absl::MutexLock lock(&mu_);
  if (stream_ != nullptr) return;
  backoff_.Reset();
  not_before_ = -absl::InfiniteDuration();
}

void PeerLink::Send(Message message) {
  bool lost = false;
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    if (stream_ == nullptr && !connecting_) {
      // Whoever sends knows already that the member is not reached.
      if (address_.empty() || shared_.clock.Monotonic() < not_before_) return;
      connecting_ = true;
      shared_.wants_connection(shared_from_this());
    }
    lost = !queue_.Push(std::move(message));
    if (!lost) WriteLocked();
  }
  if (lost) shared_.lost(node_);
}

void PeerLink::WriteLocked() {
  if (stream_ == nullptr || writing_ || queue_.empty()) return;
  writing_ = true;
  if (unanswered_since_ == absl::InfiniteDuration()) {
    unanswered_since_ = shared_.clock.Monotonic();
  }
  FaultPoint("raft.send");
  stream_->Write(queue_.Take());
  FaultPoint("raft.sent");
}

void PeerLink::Connect(const LogIdentity& self,
                       const std::string& own_address) {
  std::string address;
  {
    absl::MutexLock lock(&mu_);
    if (closed_ || stream_ != nullptr) return;
    address = address_;
  }
  // A channel of its own for each stream: an old one might be in the middle of
  // a pause, and ours is the only pause that there should be.
  auto channel = rpc::Dial(shared_.credentials, address);
  absl::MutexLock lock(&mu_);
  connecting_ = false;
  if (closed_ || stream_ != nullptr) return;
  if (!channel.ok()) {
    LOG(ERROR) << "member " << absl::StrCat(absl::Hex(node_)) << ": "
               << channel.status().message();
    PauseLocked();
    return;
  }
  stream_ = std::make_shared<Stream>(shared_from_this(), *std::move(channel));
  shared_.streams_changed(1);
  writing_ = true;
  unanswered_since_ = shared_.clock.Monotonic();
  stream_->Begin(stream_, queue_.Begin(EncodeHello(self, node_, own_address)));
}

void PeerLink::CheckSilence() {
  {
    absl::MutexLock lock(&mu_);
    if (stream_ == nullptr || unanswered_since_ == absl::InfiniteDuration()) {
      return;
    }
    const absl::Duration silent = shared_.clock.Monotonic() - unanswered_since_;
    if (silent < shared_.options.silence_timeout) {
      // The last frame may have come too soon behind another to be answered
      // for; an empty one is an occasion.
      if (!writing_ && silent >= shared_.options.silence_timeout / 3) {
        writing_ = true;
        stream_->Write(queue_.Take());
      }
      return;
    }
    VLOG(1) << "member " << absl::StrCat(absl::Hex(node_)) << " at " << address_
            << " says nothing; connecting anew";
    DropStreamLocked(true);
    PauseLocked();
  }
  shared_.lost(node_);
}

void PeerLink::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
  DropStreamLocked(true);
}

void PeerLink::DropStreamLocked(bool cancel) {
  if (stream_ != nullptr) stream_->Break(cancel);
  stream_ = nullptr;
  writing_ = false;
  unanswered_since_ = absl::InfiniteDuration();
  queue_.Clear();
}

void PeerLink::PauseLocked() {
  not_before_ = shared_.clock.Monotonic() + backoff_.Next();
}

void PeerLink::OnReceived(Stream* stream) {
  absl::MutexLock lock(&mu_);
  if (stream != stream_.get()) return;
  backoff_.Reset();
  last_error_.clear();
  // Frames that are still on their way will be answered for, too, but when is
  // not known: the clock starts with the next one.
  unanswered_since_ = absl::InfiniteDuration();
}

void PeerLink::OnWritten(Stream* stream) {
  absl::MutexLock lock(&mu_);
  if (stream != stream_.get()) return;
  writing_ = false;
  WriteLocked();
}

void PeerLink::OnEnded(Stream* stream, const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (!status.ok() && !closed_ && !absl::IsCancelled(status)) {
      const std::string error = OneLine(ToStd(status.message()));
      // Once for each kind of trouble, not for each try.
      if (error != last_error_) {
        last_error_ = error;
        LOG(WARNING) << "member " << absl::StrCat(absl::Hex(node_)) << " at "
                     << address_ << ": " << error;
      }
    }
    if (stream != stream_.get()) return;
    DropStreamLocked(false);
    PauseLocked();
  }
  shared_.lost(node_);
}

}  // namespace millrace::raft
