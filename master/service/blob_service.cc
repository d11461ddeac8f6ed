#include "master/service/blob_service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/limits.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// One blob coming in: read a chunk, write it on the pool, read the next; then
// wait until enough masters hold it.
class PutReactor final : public grpc::ServerReadReactor<proto::BlobChunk> {
 public:
  PutReactor(BlobStore& store, ThreadPool& pool, MasterLoop& loop,
             BlobHolders& holders, proto::PutBlobReply* reply)
      : store_(store),
        pool_(pool),
        loop_(loop),
        holders_(holders),
        reply_(reply) {
    loop_.Look([this](const absl::Status& leading, const State&,
                      const SchedulerCore&) {
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
  void OnDone() override { delete this; }

 private:
  void Take() {
    const absl::Status status = Append();
    if (!status.ok()) {
      writer_.reset();
      Finish(rpc::ToGrpc(status));
      return;
    }
    chunk_.Clear();
    StartRead(&chunk_);
  }

  absl::Status Append() {
    if (sha256_.empty()) {
      sha256_ = chunk_.sha256();
      if (store_.Has(sha256_)) {
        reply_->set_existed(true);
      } else {
        absl::StatusOr<std::unique_ptr<BlobStore::Writer>> writer =
            store_.Put(sha256_, chunk_.size());
        if (!writer.ok()) return writer.status();
        writer_ = *std::move(writer);
      }
    }
    if (writer_ == nullptr) return absl::OkStatus();  // Known already.
    return writer_->Append(chunk_.data());
  }

  void Complete() {
    absl::Status status;
    if (sha256_.empty()) {
      status = absl::InvalidArgumentError("a blob was put without a chunk");
    } else if (writer_ != nullptr) {
      status = writer_->Finish();
      writer_.reset();
    }
    if (!status.ok()) {
      Finish(rpc::ToGrpc(status));
      return;
    }
    holders_.Want({sha256_}, [this](const absl::Status& held) {
      // Whether another leader will find it is not known; so put it again.
      Finish(rpc::ToGrpc(absl::IsAborted(held)
                             ? absl::UnavailableError(held.message())
                             : held));
    });
  }

  BlobStore& store_;
  ThreadPool& pool_;
  MasterLoop& loop_;
  BlobHolders& holders_;
  proto::PutBlobReply* const reply_;
  proto::BlobChunk chunk_;
  std::string sha256_;  // Empty: no chunk has come.
  std::unique_ptr<BlobStore::Writer> writer_;
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
  BlobServiceImpl(BlobStore& store, ThreadPool& pool, MasterLoop& loop,
                  BlobHolders& holders)
      : store_(store), pool_(pool), loop_(loop), holders_(holders) {}

  grpc::ServerReadReactor<proto::BlobChunk>* Put(
      grpc::CallbackServerContext*, proto::PutBlobReply* reply) override {
    return new PutReactor(store_, pool_, loop_, holders_, reply);
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
    loop_.Look([this, request, reply, reactor](const absl::Status& leading,
                                               const State&,
                                               const SchedulerCore&) {
      for (const std::string& sha256 : request->sha256()) {
        if (!store_.Has(sha256)) reply->add_missing(sha256);
      }
      reactor->Finish(rpc::ToGrpc(leading));
    });
    return reactor;
  }

 private:
  BlobStore& store_;
  ThreadPool& pool_;
  MasterLoop& loop_;
  BlobHolders& holders_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeBlobService(BlobStore& store,
                                               ThreadPool& pool,
                                               MasterLoop& loop,
                                               BlobHolders& holders) {
  return std::make_unique<BlobServiceImpl>(store, pool, loop, holders);
}

}  // namespace millrace::master
