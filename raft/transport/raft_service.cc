#include "raft/transport/raft_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"
#include "proto/services/raft.grpc.pb.h"
#include "raft/transport/wire.h"
#include "rpc/status.h"

namespace millrace::raft {
namespace {

// Streams of both kinds; a group has far fewer members.
constexpr int kStreamsMax = 64;
// A transfer on which nothing has come for so long gives way to another.
constexpr absl::Duration kTransferIdle = absl::Seconds(5);

}  // namespace

class RaftServiceHost::Service final
    : public proto::RaftService::CallbackService {
 public:
  Service(ReceiverDoor& door, Clock& clock, absl::Duration confirm_interval,
          OnHello on_hello)
      : door_(door),
        clock_(clock),
        confirm_interval_(confirm_interval),
        on_hello_(std::move(on_hello)),
        pool_(1) {}
  ~Service() override {
    CHECK_EQ(streams_.load(), 0) << "the server has to be shut down first";
  }

  grpc::ServerBidiReactor<proto::RaftFrame, proto::RaftReceived>* Speak(
      grpc::CallbackServerContext*) override;
  grpc::ServerBidiReactor<proto::RaftSnapshotPart, proto::RaftSnapshotProgress>*
  SendSnapshot(grpc::CallbackServerContext*) override;

  void Stop() {
    absl::MutexLock lock(&transfer_mu_);
    stopped_ = true;
    transfer_.reset();
  }

 private:
  class Speaker;
  class Transfer;

  absl::Status Greet(const proto::RaftHello& hello) {
    const auto self = door_.self();
    if (!self.has_value()) {
      return absl::UnavailableError("this master is starting or stopping");
    }
    MR_RETURN_IF_ERROR(CheckHello(hello, *self));
    if (streams_.load() > kStreamsMax) {
      return absl::ResourceExhaustedError("too many Raft streams");
    }
    on_hello_(hello.from(), hello.address());
    return absl::OkStatus();
  }

  ReceiverDoor& door_;
  Clock& clock_;
  const absl::Duration confirm_interval_;
  const OnHello on_hello_;
  std::atomic<int> streams_ = 0;
  ThreadPool pool_;  // Writes what comes of a snapshot.

  // Held while a chunk is written.
  absl::Mutex transfer_mu_;
  bool stopped_ ABSL_GUARDED_BY(transfer_mu_) = false;
  // The one transfer that there may be, whose it is, when it last moved.
  std::unique_ptr<IncomingSnapshot> transfer_ ABSL_GUARDED_BY(transfer_mu_);
  const Transfer* transfer_stream_ ABSL_GUARDED_BY(transfer_mu_) = nullptr;
  NodeId transfer_from_ ABSL_GUARDED_BY(transfer_mu_) = kNobody;
  absl::Duration transfer_moved_ ABSL_GUARDED_BY(transfer_mu_);
};

// ------------------------------------------------------------------ messages

class RaftServiceHost::Service::Speaker final
    : public grpc::ServerBidiReactor<proto::RaftFrame, proto::RaftReceived> {
 public:
  explicit Speaker(Service& service) : service_(service) {
    ++service_.streams_;
    StartRead(&frame_);
  }

  void OnReadDone(bool ok) override {
    const absl::Status status =
        ok ? Take(frame_) : absl::CancelledError("the peer ended it");
    if (!status.ok()) {
      End(status);
      return;
    }
    frame_.Clear();
    Confirm();
    StartRead(&frame_);
  }
  void OnWriteDone(bool) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    FinishLocked();
  }
  void OnDone() override {
    Service& service = service_;
    delete this;
    --service.streams_;
  }

 private:
  absl::Status Take(const proto::RaftFrame& frame) {
    if (!reader_.has_value()) {
      // First whether it arrived as it was sent.
      FrameReader reader(frame.hello());
      MR_RETURN_IF_ERROR(reader.Add(frame).status());
      MR_RETURN_IF_ERROR(service_.Greet(frame.hello()));
      reader_ = std::move(reader);
      return absl::OkStatus();
    }
    MR_ASSIGN_OR_RETURN(std::vector<Message> messages, reader_->Add(frame));
    return service_.door_.With([&messages](TransportReceiver& receiver) {
      for (Message& message : messages) receiver.OnMessage(std::move(message));
      return absl::OkStatus();
    });
  }

  void Confirm() {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = service_.clock_.Monotonic();
    if (writing_ || now - confirmed_ < service_.confirm_interval_) return;
    confirmed_ = now;
    writing_ = true;
    StartWrite(&received_);
  }

  void End(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    end_ = status;
    FinishLocked();
  }

  void FinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!end_.has_value() || writing_ || finished_) return;
    finished_ = true;
    Finish(rpc::ToGrpc(*end_));
  }

  Service& service_;
  proto::RaftFrame frame_;
  const proto::RaftReceived received_;
  std::optional<FrameReader> reader_;  // Confined to the reads; after Hello.

  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  absl::Duration confirmed_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

grpc::ServerBidiReactor<proto::RaftFrame, proto::RaftReceived>*
RaftServiceHost::Service::Speak(grpc::CallbackServerContext*) {
  return new Speaker(*this);
}

// ----------------------------------------------------------------- snapshots

// One part at a time: read it, write it to the disk on the pool, say so, read
// the next. So nothing is under way when it finishes.
class RaftServiceHost::Service::Transfer final
    : public grpc::ServerBidiReactor<proto::RaftSnapshotPart,
                                     proto::RaftSnapshotProgress> {
 public:
  explicit Transfer(Service& service) : service_(service) {
    ++service_.streams_;
    StartRead(&part_);
  }

  void OnReadDone(bool ok) override {
    service_.pool_.Run([this, ok] { Step(ok); });
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      part_.Clear();
      StartRead(&part_);
    } else {
      service_.pool_.Run([this] { Step(false); });
    }
  }
  void OnDone() override {
    Service& service = service_;
    delete this;
    --service.streams_;
  }

 private:
  void Step(bool ok) {
    absl::Status status;
    {
      absl::MutexLock lock(&service_.transfer_mu_);
      status = ok ? TakeLocked() : absl::CancelledError("the peer ended it");
      const bool ours = service_.transfer_stream_ == this;
      if (ours && (!status.ok() || progress_.done())) {
        service_.transfer_.reset();
        service_.transfer_stream_ = nullptr;
      }
    }
    if (!status.ok()) {
      Finish(rpc::ToGrpc(status));
    } else if (progress_.done()) {
      StartWriteAndFinish(&progress_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      StartWrite(&progress_);
    }
  }

  absl::Status TakeLocked()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.transfer_mu_) {
    if (part_.has_begin() != !begun_) {
      return absl::InvalidArgumentError("a snapshot's parts are out of order");
    }
    if (!begun_) MR_RETURN_IF_ERROR(BeginLocked());
    if (service_.transfer_stream_ != this || service_.stopped_) {
      return absl::AbortedError("another transfer took its place");
    }
    service_.transfer_moved_ = service_.clock_.Monotonic();
    IncomingSnapshot& transfer = *service_.transfer_;
    if (begun_) {
      MR_RETURN_IF_ERROR(
          transfer.Append(part_.chunk().number(), part_.chunk().bytes()));
    }
    begun_ = true;
    progress_.set_next_chunk(transfer.next_chunk());
    if (transfer.complete()) {
      MR_RETURN_IF_ERROR(transfer.Commit());
      progress_.set_done(true);
    }
    return absl::OkStatus();
  }

  absl::Status BeginLocked()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.transfer_mu_) {
    if (service_.stopped_) {
      return absl::UnavailableError("this master is stopping");
    }
    const proto::RaftSnapshotBegin& begin = part_.begin();
    MR_ASSIGN_OR_RETURN(const Message message, DecodeSnapshotBegin(begin));
    MR_RETURN_IF_ERROR(service_.Greet(begin.hello()));
    if (service_.transfer_ != nullptr) {
      // The same sender gave up the old one, whether or not we heard of it.
      if (message.from != service_.transfer_from_ &&
          service_.clock_.Monotonic() - service_.transfer_moved_ <
              kTransferIdle) {
        return absl::ResourceExhaustedError(
            "another snapshot is being received");
      }
      service_.transfer_.reset();
    }
    return service_.door_.With(
        [&](TransportReceiver& receiver) ABSL_NO_THREAD_SAFETY_ANALYSIS {
          auto transfer =
              receiver.ReceiveSnapshot(message, begin.description());
          MR_RETURN_IF_ERROR(transfer.status());
          service_.transfer_ = *std::move(transfer);
          service_.transfer_stream_ = this;
          service_.transfer_from_ = message.from;
          return absl::OkStatus();
        });
  }

  Service& service_;
  proto::RaftSnapshotPart part_;
  proto::RaftSnapshotProgress progress_;
  bool begun_ = false;
};

grpc::ServerBidiReactor<proto::RaftSnapshotPart, proto::RaftSnapshotProgress>*
RaftServiceHost::Service::SendSnapshot(grpc::CallbackServerContext*) {
  return new Transfer(*this);
}

RaftServiceHost::RaftServiceHost(ReceiverDoor& door, Clock& clock,
                                 absl::Duration confirm_interval,
                                 OnHello on_hello)
    : service_(std::make_unique<Service>(door, clock, confirm_interval,
                                         std::move(on_hello))) {}

RaftServiceHost::~RaftServiceHost() = default;

grpc::Service* RaftServiceHost::service() { return service_.get(); }

void RaftServiceHost::Stop() { service_->Stop(); }

}  // namespace millrace::raft
