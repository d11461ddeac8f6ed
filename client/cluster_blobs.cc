// ClusterClient: bytes that a cluster keeps.
#include <algorithm>
#include <optional>

#include "client/cluster_client_impl.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "rpc/status.h"

namespace millrace::client {
namespace {

// A stream that brings something is opened again where it broke.
constexpr absl::Duration kStreamTimeout = absl::Seconds(60);

}  // namespace

absl::Status ClusterClient::FetchBlob(const std::string& sha256,
                                      const std::string& path, FileSystem& fs) {
  const std::string what = Cat("get blob ", HexEncode(sha256).substr(0, 8));
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<WriteFile> file, fs.Create(path));
  Sha256 hash;
  uint64_t offset = 0;
  std::optional<uint64_t> size;
  absl::Status local;  // What goes wrong on this side.
  rpc::CallOptions call = impl_->Usual();
  call.attempt_timeout = std::max(call.attempt_timeout, kStreamTimeout);
  call.total_timeout = std::max(call.total_timeout, kStreamTimeout);
  const auto read = [&](Attempt& attempt) -> grpc::Status {
    proto::GetBlobRequest request;
    request.set_sha256(sha256);
    request.set_offset(offset);
    const auto stub = proto::BlobService::NewStub(attempt.channel);
    const auto reader = stub->Get(&attempt.context, request);
    proto::BlobChunk chunk;
    while (local.ok() && reader->Read(&chunk)) {
      if (!size.has_value()) size = chunk.size();
      if (chunk.data().size() > *size - offset) {
        local = absl::DataLossError("the master sends more than it announced");
        break;
      }
      local = file->Append(chunk.data());
      hash.Add(chunk.data());
      offset += chunk.data().size();
    }
    if (!local.ok()) {
      attempt.context.TryCancel();
      while (reader->Read(&chunk)) {
      }
      reader->Finish();
      return grpc::Status::OK;  // Not to be tried again.
    }
    const grpc::Status finished = reader->Finish();
    if (finished.ok() && offset != size.value_or(0)) {
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "it is cut short");
    }
    return impl_->AsSeenHere(finished);
  };
  for (uint64_t before = 0;;) {
    const absl::Status status = impl_->leader.Call(what, call, read);
    MR_RETURN_IF_ERROR(local);
    if (status.ok()) break;
    if (!absl::IsUnavailable(status) || offset == before) return status;
    before = offset;  // It goes on.
  }
  if (hash.Finish() != sha256) {
    return absl::DataLossError(Av(Cat(what, ": the bytes are not its own")));
  }
  return file->Close();
}

}  // namespace millrace::client
