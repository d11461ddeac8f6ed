#include "master/service/grpc_worker_streams.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <utility>

#include "common/logging.h"
#include "proto/services/cluster.grpc.pb.h"

namespace millrace::master {

// One stream. Reads and writes are one at a time each; the stream is finished
// when no write is under way, once.
class GrpcWorkerStreams::Stream final
    : public grpc::ServerBidiReactor<proto::WorkerMessage,
                                     proto::MasterMessage> {
 public:
  Stream(GrpcWorkerStreams& owner, StreamId id) : owner_(owner), id_(id) {}

  StreamId id() const { return id_; }

  void Begin(std::shared_ptr<Stream> self) {
    self_ = std::move(self);
    owner_.listener_.OnStreamOpened(id_);
    StartRead(&incoming_);
  }

  void Send(std::shared_ptr<const proto::MasterMessage> message) {
    absl::MutexLock lock(&mu_);
    if (closing_) return;
    queued_bytes_ += message->ByteSizeLong();
    if (queued_bytes_ > kQueueBytesMax) {
      LOG(WARNING) << "worker stream " << id_ << ": the worker does not read; "
                   << queued_bytes_ << " bytes are waiting; ending the stream";
      queue_.clear();
      CloseLocked();
      return;
    }
    queue_.push_back(std::move(message));
    WriteLocked();
  }

  void Close() {
    absl::MutexLock lock(&mu_);
    CloseLocked();
  }

  void Resume() {
    absl::MutexLock lock(&mu_);
    if (!finished_ && !peer_done_) StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      // Emptied before it is handed over: from then on Resume() may have the
      // next message read into it, on another thread, at any moment.
      proto::WorkerMessage message = std::move(incoming_);
      incoming_.Clear();
      owner_.listener_.OnStreamMessage(id_, std::move(message));
      return;
    }
    absl::MutexLock lock(&mu_);
    peer_done_ = true;
    queue_.clear();
    CloseLocked();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) {
      queue_.clear();
      CloseLocked();
      return;
    }
    WriteLocked();
    if (closing_) FinishIfIdleLocked();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    queue_.clear();
    CloseLocked();
  }

  void OnDone() override {
    owner_.Forget(id_);
    owner_.listener_.OnStreamClosed(id_);
    self_.reset();  // May delete this.
  }

 private:
  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || finished_ || queue_.empty()) return;
    outgoing_ = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= outgoing_->ByteSizeLong();
    writing_ = true;
    StartWrite(outgoing_.get());
  }

  void CloseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    closing_ = true;
    FinishIfIdleLocked();
  }

  void FinishIfIdleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (finished_ || writing_ || !queue_.empty()) return;
    finished_ = true;
    Finish(grpc::Status::OK);
  }

  GrpcWorkerStreams& owner_;
  const StreamId id_;
  std::shared_ptr<Stream> self_;  // Until OnDone.
  proto::WorkerMessage incoming_;
  // These are shared with other streams that are told the same.
  std::shared_ptr<const proto::MasterMessage> outgoing_;

  absl::Mutex mu_;
  std::deque<std::shared_ptr<const proto::MasterMessage>> queue_
      ABSL_GUARDED_BY(mu_);
  uint64_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;  // Nothing more is queued.
  bool peer_done_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

class GrpcWorkerStreams::Service final
    : public proto::WorkerService::CallbackService {
 public:
  explicit Service(GrpcWorkerStreams& owner) : owner_(owner) {}

  grpc::ServerBidiReactor<proto::WorkerMessage, proto::MasterMessage>* Connect(
      grpc::CallbackServerContext*) override {
    const std::shared_ptr<Stream> stream = owner_.Add();
    Stream* const reactor = stream.get();
    reactor->Begin(stream);
    return reactor;
  }

 private:
  GrpcWorkerStreams& owner_;
};

GrpcWorkerStreams::GrpcWorkerStreams(WorkerStreamListener& listener)
    : listener_(listener), service_(std::make_unique<Service>(*this)) {}

GrpcWorkerStreams::~GrpcWorkerStreams() {
  absl::MutexLock lock(&mu_);
  CHECK(streams_.empty()) << "the server has to be shut down first";
}

grpc::Service* GrpcWorkerStreams::service() { return service_.get(); }

std::shared_ptr<GrpcWorkerStreams::Stream> GrpcWorkerStreams::Find(
    StreamId stream) {
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second;
}

std::shared_ptr<GrpcWorkerStreams::Stream> GrpcWorkerStreams::Add() {
  absl::MutexLock lock(&mu_);
  const StreamId id = next_id_++;
  return streams_[id] = std::make_shared<Stream>(*this, id);
}

void GrpcWorkerStreams::Forget(StreamId stream) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream);
}

void GrpcWorkerStreams::Send(
    StreamId stream, std::shared_ptr<const proto::MasterMessage> message) {
  if (const auto found = Find(stream)) found->Send(std::move(message));
}

void GrpcWorkerStreams::Close(StreamId stream) {
  if (const auto found = Find(stream)) found->Close();
}

void GrpcWorkerStreams::Resume(StreamId stream) {
  if (const auto found = Find(stream)) found->Resume();
}

}  // namespace millrace::master
