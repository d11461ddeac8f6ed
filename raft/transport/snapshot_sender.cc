#include "raft/transport/snapshot_sender.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/services/raft.grpc.pb.h"
#include "raft/transport/wire.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace millrace::raft {
namespace {

// Tries in a row of which none moved a chunk.
constexpr int kFruitlessTriesMax = 3;

}  // namespace

SnapshotSender::SnapshotSender(const rpc::Credentials& credentials,
                               Clock& clock, std::unique_ptr<Random> random,
                               const GrpcTransportOptions& options,
                               ReceiverDoor& door, AddressOf address_of,
                               std::function<std::string()> own_address)
    : credentials_(credentials),
      clock_(clock),
      random_(std::move(random)),
      options_(options),
      door_(door),
      address_of_(std::move(address_of)),
      own_address_(std::move(own_address)),
      thread_([this] { Loop(); }) {}

SnapshotSender::~SnapshotSender() { Stop(); }

void SnapshotSender::Send(Message message,
                          std::unique_ptr<OutgoingSnapshot> bytes) {
  Job job{std::move(message), std::move(bytes)};
  absl::MutexLock lock(&mu_);
  if (stopping_) return;
  for (Job& waiting : jobs_) {
    if (waiting.message.to == job.message.to) {
      std::swap(waiting, job);
      return;
    }
  }
  jobs_.push_back(std::move(job));
}

void SnapshotSender::CheckSilence() {
  absl::MutexLock lock(&mu_);
  if (context_ == nullptr ||
      clock_.Monotonic() - moved_ < options_.snapshot_timeout) {
    return;
  }
  silent_ = true;
  context_->TryCancel();
}

void SnapshotSender::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
}

void SnapshotSender::Loop() {
  const auto has_work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || !jobs_.empty();
  };
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&has_work));
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    const absl::Status status = Transfer(job);
    if (stop_.stopped()) return;
    const NodeId to = job.message.to;
    job.bytes.reset();
    door_
        .With([&](TransportReceiver& receiver) {
          receiver.OnSnapshotSent(to, status);
          return absl::OkStatus();
        })
        .IgnoreError();
  }
}

absl::Status SnapshotSender::Transfer(Job& job) {
  const std::string member = absl::StrCat(absl::Hex(job.message.to));
  const EntryId last = job.message.snapshot->last;
  rpc::Backoff backoff(options_.backoff, *random_);
  absl::Status status;
  for (int fruitless = 0; fruitless < kFruitlessTriesMax;) {
    const std::string address = address_of_(job.message.to);
    if (address.empty()) {
      return absl::FailedPreconditionError("where it is is not known");
    }
    uint64_t taken = 0;
    status = TryOnce(job, address, &taken);
    if (status.ok()) {
      LOG(INFO) << "member " << member << " has the snapshot at entry "
                << last.index;
      return status;
    }
    VLOG(1) << "snapshot at entry " << last.index << " to member " << member
            << " at " << address << ": " << status.message();
    if (absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status)) {
      break;
    }
    if (taken > 0) {
      fruitless = 0;
      backoff.Reset();
    } else {
      ++fruitless;
    }
    if (stop_.WaitFor(backoff.Next())) return absl::CancelledError("stopping");
  }
  LOG(WARNING) << "the snapshot at entry " << last.index
               << " did not reach member " << member << ": "
               << OneLine(ToStd(status.message()));
  return status;
}

absl::Status SnapshotSender::TryOnce(Job& job, const std::string& address,
                                     uint64_t* taken) {
  const auto self = door_.self();
  if (!self.has_value()) return absl::CancelledError("stopping");
  MR_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                      rpc::Dial(credentials_, address));
  const auto stub = proto::RaftService::NewStub(channel);
  grpc::ClientContext context;
  if (!Begin(&context)) return absl::CancelledError("stopping");
  const auto stream = stub->SendSnapshot(&context);

  bool done = false;
  // An error of ours, beside what the stream ends with.
  const auto talk = [&]() -> absl::Status {
    proto::RaftSnapshotPart part;
    *part.mutable_begin() =
        EncodeSnapshotBegin(EncodeHello(*self, job.message.to, own_address_()),
                            job.message, job.bytes->description());
    const absl::Duration start = clock_.Monotonic();
    uint64_t sent = 0;
    bool first = true;
    while (!done) {
      if (!stream->Write(part)) return absl::OkStatus();
      proto::RaftSnapshotProgress progress;
      if (!stream->Read(&progress)) return absl::OkStatus();
      Moved();
      if (!first) ++*taken;
      first = false;
      done = progress.done();
      if (done) break;
      const uint64_t next = progress.next_chunk();
      if (next >= job.bytes->chunks()) {
        return absl::InternalError(
            "the member asks for a chunk behind the end");
      }
      const absl::Duration due =
          start + absl::Seconds(
                      static_cast<double>(sent) /
                      static_cast<double>(options_.snapshot_bytes_per_second));
      if (const absl::Duration early = due - clock_.Monotonic();
          early > absl::ZeroDuration() && stop_.WaitFor(early)) {
        return absl::CancelledError("stopping");
      }
      Moved();
      proto::RaftSnapshotChunk& chunk = *part.mutable_chunk();
      MR_ASSIGN_OR_RETURN(std::string bytes, job.bytes->ReadChunk(next));
      sent += bytes.size();
      chunk.set_number(next);
      chunk.set_bytes(std::move(bytes));
    }
    return absl::OkStatus();
  };
  absl::Status status = talk();
  if (!status.ok()) context.TryCancel();
  const absl::Status end = rpc::FromGrpc(stream->Finish());
  absl::MutexLock lock(&mu_);
  context_ = nullptr;
  if (silent_) {
    return absl::DeadlineExceededError("the member does not answer");
  }
  MR_RETURN_IF_ERROR(status);
  MR_RETURN_IF_ERROR(end);
  if (!done) return absl::UnavailableError("the member ended it early");
  return absl::OkStatus();
}

bool SnapshotSender::Begin(grpc::ClientContext* context) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  context_ = context;
  moved_ = clock_.Monotonic();
  silent_ = false;
  return true;
}

void SnapshotSender::Moved() {
  absl::MutexLock lock(&mu_);
  moved_ = clock_.Monotonic();
}

}  // namespace millrace::raft
