#include "master/group/blob_fetcher.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <memory>

#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "proto/services/master.grpc.pb.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// A master that stands still is not waited for longer.
constexpr absl::Duration kAskTimeout = absl::Seconds(2);
// For a whole blob, of which the largest have some gigabytes.
constexpr absl::Duration kTransferTimeout = absl::Minutes(5);

}  // namespace

absl::Status BlobFetcher::Fetch(const std::string& sha256, raft::NodeId first) {
  {
    absl::MutexLock lock(&mu_);
    const auto alone = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return under_way_.count(sha256) == 0;
    };
    mu_.Await(absl::Condition(&alone));
    if (store_.Has(sha256)) return absl::OkStatus();
    under_way_.insert(sha256);
  }
  absl::Status status = FetchFromAny(sha256, first);
  absl::MutexLock lock(&mu_);
  under_way_.erase(sha256);
  return status;
}

absl::Status BlobFetcher::FetchFromAny(const std::string& sha256,
                                       raft::NodeId first) {
  std::vector<Peer> others = peers_.Others();
  std::stable_partition(others.begin(), others.end(),
                        [&](const Peer& peer) { return peer.id == first; });
  const Peers::GroupStatus group = peers_.status();
  size_t voters = 0;
  size_t without = 0;
  for (const auto& [id, member] : group.membership) voters += member.voter;
  if (const auto self = group.membership.find(group.self);
      self != group.membership.end()) {
    without += self->second.voter;
  }
  absl::Status last = absl::UnavailableError("no other master is known");
  for (const Peer& peer : others) {
    const absl::StatusOr<bool> has = AskPeer(peer, sha256);
    if (!has.ok()) {
      last = has.status();
      continue;
    }
    if (!*has) {
      without += peer.voter;
      continue;
    }
    last = FetchFrom(peer, sha256);
    if (last.ok() || absl::IsResourceExhausted(last)) return last;
  }
  if (without > voters / 2) {
    return absl::NotFoundError(
        Cat("blob ", HexEncode(sha256).substr(0, 12),
            " is not stored at the masters, and has to be put before "
            "anything names it"));
  }
  return Annotate(last, Cat("blob ", HexEncode(sha256).substr(0, 12)));
}

absl::StatusOr<bool> BlobFetcher::AskPeer(const Peer& peer,
                                          const std::string& sha256) {
  proto::HoldBlobsRequest request;
  *request.mutable_call() = peers_.CallTo(peer.id);
  request.add_sha256(sha256);
  proto::HoldBlobsReply reply;
  MR_RETURN_IF_ERROR(
      peers_.Call(peer.address, kAskTimeout,
                  [&](grpc::ClientContext& context,
                      const std::shared_ptr<grpc::Channel>& channel) {
                    return proto::MasterService::NewStub(channel)->FindBlobs(
                        &context, request, &reply);
                  }));
  return reply.missing_size() == 0;
}

absl::Status BlobFetcher::FetchFrom(const Peer& peer,
                                    const std::string& sha256) {
  proto::GetBlobRequest request;
  request.set_sha256(sha256);
  absl::Status local;
  std::unique_ptr<BlobStore::Writer> writer;
  const absl::Status status = peers_.Call(
      peer.address, kTransferTimeout,
      [&](grpc::ClientContext& context,
          const std::shared_ptr<grpc::Channel>& channel) -> grpc::Status {
        const auto reader =
            proto::BlobService::NewStub(channel)->Get(&context, request);
        proto::BlobChunk chunk;
        while (local.ok() && reader->Read(&chunk)) {
          if (writer == nullptr) {
            auto put = store_.Put(sha256, chunk.size());
            local = put.status();
            if (put.ok()) writer = *std::move(put);
          }
          if (local.ok()) local = writer->Append(chunk.data());
        }
        if (!local.ok()) {
          context.TryCancel();
          while (reader->Read(&chunk)) {
          }
        }
        return reader->Finish();
      });
  MR_RETURN_IF_ERROR(local);
  MR_RETURN_IF_ERROR(status);
  if (writer == nullptr) return absl::UnavailableError("nothing came");
  return writer->Finish();
}

}  // namespace millrace::master
