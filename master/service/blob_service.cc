#include "master/service/blob_service.h"

#include <grpc/support/time.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/strings.h"
#include "master/service/blob_uploads.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/limits.h"
#include "rpc/put_metadata.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// Resumes one that waits when its patience is at its end. Deletes itself then;
// by that time the one it is about may be gone.
class Patience {
 public:
  static void Start(std::shared_ptr<BlobUploads> uploads, std::string sha256,
                    uint64_t ticket, std::function<void()> resume) {
    auto* self = new Patience;
    const gpr_timespec end = gpr_time_add(
        gpr_now(GPR_CLOCK_MONOTONIC),
        gpr_time_from_millis(absl::ToInt64Milliseconds(uploads->patience()),
                             GPR_TIMESPAN));
    self->alarm_.Set(
        end, [self, uploads = std::move(uploads), sha256 = std::move(sha256),
              ticket, resume = std::move(resume)](bool) {
          if (uploads->StopWaiting(sha256, ticket)) resume();
          delete self;
        });
  }

 private:
  grpc::Alarm alarm_;
};

// One blob coming in: read a chunk, write it on the pool, read the next. If
// another call brings the same blob nothing is read behind the first chunk
// until that one is over; the client hears by the initial metadata when its
// bytes are wanted, so it need not even read them from its disk before. At the
// end it waits until enough masters hold the blob.
class PutReactor final : public grpc::ServerReadReactor<proto::BlobChunk> {
 public:
  PutReactor(BlobStore& store, std::shared_ptr<BlobUploads> uploads,
             ThreadPool& pool, const BlobGroup& group,
             grpc::CallbackServerContext* context, proto::PutBlobReply* reply)
      : store_(store),
        uploads_(std::move(uploads)),
        ticket_(uploads_->NewTicket()),
        pool_(pool),
        group_(group),
        context_(context),
        reply_(reply) {
    group_.leading([this](const absl::Status& leading) {
      if (leading.ok()) {
        StartRead(&chunk_);
      } else {
        Finish(rpc::ToGrpc(leading));
      }
    });
  }

  void OnReadDone(bool ok) override {
    pool_.Run([this, ok] { ok ? Take() : Complete(); });
  }
  void OnCancel() override {
    std::string sha256;
    {
      const absl::MutexLock lock(&mu_);
      cancelled_ = true;
      sha256 = sha256_;
    }
    if (uploads_->StopWaiting(sha256, ticket_)) Resume();
  }
  void OnDone() override { delete this; }

 private:
  void Resume() {
    pool_.Run([this] { Begin(); });
  }

  void Take() {
    if (!first_) return Append();
    first_ = false;
    {
      const absl::MutexLock lock(&mu_);
      sha256_ = chunk_.sha256();
    }
    Begin();
  }

  // The first chunk is here.
  void Begin() {
    if (cancelled()) return Finish(grpc::Status::CANCELLED);
    if (store_.Has(chunk_.sha256())) return FinishKnown();
    // From the moment at which it waits this object may be gone.
    const std::shared_ptr<BlobUploads> uploads = uploads_;
    const std::string sha256 = chunk_.sha256();
    const uint64_t ticket = ticket_;
    const auto resume = [this] { Resume(); };
    if (!uploads->Begin(sha256, ticket, resume)) {
      Patience::Start(uploads, sha256, ticket, resume);
      return;
    }
    sends_ = true;
    // Between the look and the turn it may have come.
    if (store_.Has(sha256)) return FinishKnown();
    absl::StatusOr<std::unique_ptr<BlobStore::Writer>> writer =
        store_.Put(sha256, chunk_.size());
    if (!writer.ok()) return End(writer.status());
    writer_ = *std::move(writer);
    context_->AddInitialMetadata(rpc::kWantedMetadata, "1");
    StartSendInitialMetadata();
    Append();
  }

  void Append() {
    if (absl::Status status = writer_->Append(chunk_.data()); !status.ok()) {
      return End(status);
    }
    uploads_->Progress(sha256_);
    // Another one, which lost patience with this one, may have been quicker.
    if (store_.Has(sha256_)) return FinishKnown();
    chunk_.Clear();
    StartRead(&chunk_);
  }

  void Complete() {
    if (first_) {
      return End(absl::InvalidArgumentError("a blob was put without a chunk"));
    }
    End(writer_->Finish());
  }

  // Nothing more is read: the client finds its stream over, and well.
  void FinishKnown() {
    reply_->set_existed(true);
    End(absl::OkStatus());
  }

  void End(const absl::Status& status) {
    writer_.reset();
    if (sends_) uploads_->End(sha256_);
    if (!status.ok()) return Finish(rpc::ToGrpc(status));
    group_.held(sha256_, [this](const absl::Status& held) {
      // Whether another leader will find it is not known; so put it again.
      Finish(rpc::ToGrpc(absl::IsAborted(held)
                             ? absl::UnavailableError(held.message())
                             : held));
    });
  }

  bool cancelled() ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return cancelled_;
  }

  BlobStore& store_;
  // Others: the service, and who waits for its patience to end.
  const std::shared_ptr<BlobUploads> uploads_;
  const uint64_t ticket_;
  ThreadPool& pool_;
  const BlobGroup& group_;
  grpc::CallbackServerContext* const context_;
  proto::PutBlobReply* const reply_;

  // Of one step at a time.
  proto::BlobChunk chunk_;
  bool first_ = true;
  bool sends_ = false;
  std::unique_ptr<BlobStore::Writer> writer_;

  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  // Written once, by the first step; later steps read it without the lock.
  std::string sha256_;
};

class GetReactor final : public grpc::ServerWriteReactor<proto::BlobChunk> {
 public:
  GetReactor(BlobStore& store, ThreadPool& pool,
             const proto::GetBlobRequest& request)
      : pool_(pool), offset_(request.offset()) {
    absl::StatusOr<std::unique_ptr<ReadFile>> file =
        store.OpenRead(request.sha256());
    if (!file.ok()) {
      Finish(rpc::ToGrpc(file.status()));
      return;
    }
    file_ = *std::move(file);
    chunk_.set_sha256(request.sha256());
    pool_.Run([this] { Next(); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::CANCELLED);
      return;
    }
    pool_.Run([this] { Next(); });
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (first_) {
      const absl::StatusOr<FileInfo> info = file_->Stat();
      if (!info.ok()) {
        Finish(rpc::ToGrpc(info.status()));
        return;
      }
      chunk_.set_size(info->identity.size);
    }
    std::string& data = *chunk_.mutable_data();
    data.resize(rpc::kChunkBytesMax);
    const absl::StatusOr<size_t> read =
        file_->ReadAt(offset_, data.data(), data.size());
    if (!read.ok()) {
      Finish(rpc::ToGrpc(read.status()));
      return;
    }
    if (*read == 0 && !first_) {
      Finish(grpc::Status::OK);
      return;
    }
    data.resize(*read);
    offset_ += *read;
    if (!first_) {
      chunk_.clear_sha256();
      chunk_.clear_size();
    }
    first_ = false;
    StartWrite(&chunk_);
  }

  ThreadPool& pool_;
  uint64_t offset_;
  std::unique_ptr<ReadFile> file_;
  proto::BlobChunk chunk_;
  bool first_ = true;
};

class BlobServiceImpl final : public proto::BlobService::CallbackService {
 public:
  BlobServiceImpl(BlobStore& store, ThreadPool& pool, Clock& clock,
                  BlobGroup group, absl::Duration patience)
      : store_(store),
        pool_(pool),
        group_(std::move(group)),
        uploads_(std::make_shared<BlobUploads>(clock, patience)) {}

  grpc::ServerReadReactor<proto::BlobChunk>* Put(
      grpc::CallbackServerContext* context,
      proto::PutBlobReply* reply) override {
    return new PutReactor(store_, uploads_, pool_, group_, context, reply);
  }

  grpc::ServerWriteReactor<proto::BlobChunk>* Get(
      grpc::CallbackServerContext*,
      const proto::GetBlobRequest* request) override {
    return new GetReactor(store_, pool_, *request);
  }

  // Of the leader, which is where a put would go.
  grpc::ServerUnaryReactor* Find(grpc::CallbackServerContext* context,
                                 const proto::FindBlobsRequest* request,
                                 proto::FindBlobsReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    group_.leading(
        [this, request, reply, reactor](const absl::Status& leading) {
          for (const std::string& sha256 : request->sha256()) {
            if (!store_.Has(sha256)) reply->add_missing(sha256);
          }
          reply->set_says_when_wanted(true);
          reactor->Finish(rpc::ToGrpc(leading));
        });
    return reactor;
  }

 private:
  BlobStore& store_;
  ThreadPool& pool_;
  const BlobGroup group_;
  const std::shared_ptr<BlobUploads> uploads_;  // Others: see PutReactor.
};

}  // namespace

std::unique_ptr<grpc::Service> MakeBlobService(BlobStore& store,
                                               ThreadPool& pool, Clock& clock,
                                               BlobGroup group,
                                               absl::Duration patience) {
  return std::make_unique<BlobServiceImpl>(store, pool, clock, std::move(group),
                                           patience);
}

}  // namespace millrace::master
