#include "worker/rpc/grpc_blob_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/backoff.h"
#include "rpc/leader_channel.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "rpc/stop_signal.h"

namespace millrace::worker {
namespace {

// Copies of a blob that do not match its hash, before it is given up.
constexpr int kDamagedMax = 3;
// Slowest upload that a deadline allows for.
constexpr int64_t kPutBytesPerSecond = 2 << 20;

// A blob on its way to a file, over as many streams as it takes.
struct Download {
  std::unique_ptr<WriteFile> file;
  Sha256 hash;
  uint64_t offset = 0;  // Of the next byte.
  std::optional<uint64_t> size;
  absl::Status local;  // An error of this host.

  bool complete() const { return size.has_value() && offset == *size; }
};

class GrpcBlobClientImpl final : public GrpcBlobClient {
 public:
  GrpcBlobClientImpl(const rpc::Credentials& credentials,
                     std::vector<std::string> masters, Clock& clock,
                     FileSystem& fs, std::unique_ptr<Random> random,
                     const BlobClientOptions& options)
      : clock_(clock),
        fs_(fs),
        options_(options),
        seeds_(Random::Seeded(random->Next64())),
        masters_(credentials, std::move(masters), clock, std::move(random),
                 stop_) {}

  absl::Status Get(const std::string& sha256,
                   const std::string& path) override {
    const std::string what = Cat("blob ", HexEncode(sha256).substr(0, 8));
    absl::Status status;
    for (int i = 0; i < kDamagedMax; ++i) {
      if (i > 0) MR_RETURN_IF_ERROR(fs_.RemoveFile(path));
      Download download;
      MR_ASSIGN_OR_RETURN(download.file, fs_.Create(path));
      status = Fetch(sha256, &download);
      if (!status.ok()) break;
      if (download.hash.Finish() == sha256) return download.file->Close();
      status = absl::DataLossError("what came does not match its hash");
    }
    return Annotate(status, what);
  }

  absl::Status Put(const std::string& sha256,
                   const std::string& path) override {
    const std::string what = Cat("put blob ", HexEncode(sha256).substr(0, 8));
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file,
                        fs_.OpenRead(path));
    MR_ASSIGN_OR_RETURN(const FileInfo info, file->Stat());
    const uint64_t size = info.identity.size;

    rpc::CallOptions options;
    options.total_timeout = options_.total_timeout;
    proto::FindBlobsReply found;
    MR_RETURN_IF_ERROR(
        masters_.Call(what, options, [&](rpc::LeaderChannel::Attempt& attempt) {
          proto::FindBlobsRequest request;
          request.add_sha256(sha256);
          return proto::BlobService::NewStub(attempt.channel)
              ->Find(&attempt.context, request, &found);
        }));
    if (found.missing_size() == 0) return absl::OkStatus();

    options.attempt_timeout =
        options_.stream_timeout +
        absl::Seconds(static_cast<int64_t>(size) / kPutBytesPerSecond);
    options.total_timeout =
        std::max(options.total_timeout, 2 * options.attempt_timeout);
    absl::Status local;
    const absl::Status status =
        masters_.Call(what, options, [&](rpc::LeaderChannel::Attempt& attempt) {
          return PutOnce(attempt, sha256, *file, size, &local);
        });
    return local.ok() ? status : local;
  }

  void Shutdown() override { stop_.Stop(); }

  void Learn(const std::vector<std::string>& masters) override {
    masters_.finder().Learn(masters);
  }

 private:
  // Until the download is complete. What came is not compared with the hash.
  absl::Status Fetch(const std::string& sha256, Download* download);
  // One stream from one master, from download->offset on.
  grpc::Status ReadStream(rpc::LeaderChannel::Attempt& attempt,
                          const std::string& sha256, Download* download);
  absl::Status TakeChunk(const proto::BlobChunk& chunk, bool first,
                         const std::string& sha256, Download* download);
  grpc::Status PutOnce(rpc::LeaderChannel::Attempt& attempt,
                       const std::string& sha256, ReadFile& file, uint64_t size,
                       absl::Status* local);
  uint64_t NextSeed() ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return seeds_->Next64();
  }

  Clock& clock_;
  FileSystem& fs_;
  const BlobClientOptions options_;
  rpc::StopSignal stop_;
  absl::Mutex mu_;
  const std::unique_ptr<Random> seeds_ ABSL_PT_GUARDED_BY(mu_);
  rpc::LeaderChannel masters_;
};

absl::Status GrpcBlobClientImpl::Fetch(const std::string& sha256,
                                       Download* download) {
  const std::unique_ptr<Random> random = Random::Seeded(NextSeed());
  rpc::Backoff backoff({absl::Milliseconds(50), absl::Seconds(2), 2.0},
                       *random);
  rpc::CallOptions once;
  once.attempt_timeout = options_.stream_timeout;
  once.total_timeout = absl::ZeroDuration();
  absl::Duration last_byte = clock_.Monotonic();
  for (;;) {
    // The leader first: it has what it has promised.
    std::vector<std::string> order = {masters_.finder().Current()};
    for (const std::string& address : masters_.finder().masters()) {
      if (address != order.front()) order.push_back(address);
    }
    size_t without = 0;
    absl::Status last;
    for (const std::string& address : order) {
      for (bool again = true; again;) {
        const uint64_t before = download->offset;
        const absl::Status status =
            masters_.CallOne(Cat("from ", address), address, once,
                             [&](rpc::LeaderChannel::Attempt& attempt) {
                               return ReadStream(attempt, sha256, download);
                             });
        MR_RETURN_IF_ERROR(download->local);
        if (download->complete()) return absl::OkStatus();
        if (absl::IsCancelled(status) && stop_.stopped()) return status;
        again = download->offset > before;  // It goes well there.
        if (again) {
          last_byte = clock_.Monotonic();
          backoff.Reset();
        }
        last = status.ok() ? absl::UnavailableError("the blob is cut short")
                           : status;
      }
      if (absl::IsNotFound(last)) ++without;
    }
    if (without == order.size()) return last;
    const absl::Duration wait = backoff.Next();
    if (clock_.Monotonic() + wait >= last_byte + options_.total_timeout) {
      return absl::UnavailableError(last.message());
    }
    if (stop_.WaitFor(wait)) return absl::CancelledError("stopped");
  }
}

grpc::Status GrpcBlobClientImpl::ReadStream(
    rpc::LeaderChannel::Attempt& attempt, const std::string& sha256,
    Download* download) {
  proto::GetBlobRequest request;
  request.set_sha256(sha256);
  request.set_offset(download->offset);
  const auto stub = proto::BlobService::NewStub(attempt.channel);
  const auto reader = stub->Get(&attempt.context, request);
  proto::BlobChunk chunk;
  absl::Status wrong;
  for (bool first = true; wrong.ok() && reader->Read(&chunk); first = false) {
    wrong = TakeChunk(chunk, first, sha256, download);
  }
  if (!wrong.ok()) {
    attempt.context.TryCancel();
    while (reader->Read(&chunk)) {
    }
    reader->Finish();
    return rpc::ToGrpc(wrong);
  }
  return reader->Finish();
}

absl::Status GrpcBlobClientImpl::TakeChunk(const proto::BlobChunk& chunk,
                                           bool first,
                                           const std::string& sha256,
                                           Download* download) {
  if (first) {
    if (chunk.sha256() != sha256) {
      return absl::InternalError("the master sends another blob");
    }
    if (download->size.has_value() && *download->size != chunk.size()) {
      return absl::InternalError("the master sends another length");
    }
    download->size = chunk.size();
  }
  if (chunk.data().size() > *download->size - download->offset) {
    return absl::InternalError("the master sends more than it announced");
  }
  download->local = download->file->Append(chunk.data());
  MR_RETURN_IF_ERROR(download->local);
  download->hash.Add(chunk.data());
  download->offset += chunk.data().size();
  return absl::OkStatus();
}

grpc::Status GrpcBlobClientImpl::PutOnce(rpc::LeaderChannel::Attempt& attempt,
                                         const std::string& sha256,
                                         ReadFile& file, uint64_t size,
                                         absl::Status* local) {
  const auto stub = proto::BlobService::NewStub(attempt.channel);
  proto::PutBlobReply reply;
  const auto writer = stub->Put(&attempt.context, &reply);
  proto::BlobChunk chunk;
  chunk.set_sha256(sha256);
  chunk.set_size(size);
  uint64_t offset = 0;
  do {
    const size_t n = std::min<uint64_t>(rpc::kChunkBytesMax, size - offset);
    chunk.mutable_data()->resize(n);
    absl::StatusOr<size_t> got =
        file.ReadAt(offset, chunk.mutable_data()->data(), n);
    if (got.ok() && *got != n) {
      got = absl::DataLossError("the blob's file shrinks while it is sent");
    }
    if (!got.ok()) {
      *local = got.status();
      attempt.context.TryCancel();
      writer->Finish();
      return grpc::Status(grpc::StatusCode::ABORTED, "not read");
    }
    // It says no, or has it already: the status tells.
    if (!writer->Write(chunk)) break;
    offset += n;
    chunk.clear_sha256();
    chunk.clear_size();
  } while (offset < size);
  writer->WritesDone();
  return writer->Finish();
}

}  // namespace

std::unique_ptr<GrpcBlobClient> MakeBlobClient(
    const rpc::Credentials& credentials, std::vector<std::string> masters,
    Clock& clock, FileSystem& fs, std::unique_ptr<Random> random,
    const BlobClientOptions& options) {
  return std::make_unique<GrpcBlobClientImpl>(
      credentials, std::move(masters), clock, fs, std::move(random), options);
}

}  // namespace millrace::worker
