// Gets blobs from the other masters into the store here.
#ifndef MILLRACE_MASTER_GROUP_BLOB_FETCHER_H_
#define MILLRACE_MASTER_GROUP_BLOB_FETCHER_H_

#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "master/blobs/blob_store.h"
#include "master/group/peers.h"

namespace millrace::master {

// Thread-safe. Calls block; of one blob, one transfer is under way at a time.
class BlobFetcher {
 public:
  // Both outlive the fetcher.
  BlobFetcher(BlobStore& store, Peers& peers) : store_(store), peers_(peers) {}

  // Returns OK when the blob is durable here. `first` is asked before the
  // others; kNobody: nobody in particular.
  //   kNotFound     a majority of the voters does not have it, this master
  //                 among them if it votes
  //   kUnavailable  who might have it was not reached
  //   others        the store's
  absl::Status Fetch(const std::string& sha256,
                     raft::NodeId first = raft::kNobody)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Status FetchFromAny(const std::string& sha256, raft::NodeId first);
  // Whether it has the blob.
  absl::StatusOr<bool> AskPeer(const Peer& peer, const std::string& sha256);
  absl::Status FetchFrom(const Peer& peer, const std::string& sha256);

  BlobStore& store_;
  Peers& peers_;

  absl::Mutex mu_;
  std::set<std::string> under_way_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_BLOB_FETCHER_H_
