// What a leader asks of those who know which masters hold which blobs.
#ifndef MILLRACE_MASTER_GROUP_BLOB_QUORUM_H_
#define MILLRACE_MASTER_GROUP_BLOB_QUORUM_H_

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "raft/replicated_log.h"

namespace millrace::master {

// Thread-safe. Implementations: BlobHolders, and one of tests that have all
// blobs.
class BlobQuorum {
 public:
  virtual ~BlobQuorum() = default;

  // Calls `done` once: with OK when a majority of the voters hold the blobs,
  // also when that is so at once, before it returns; with kNotFound when one of
  // them is lost; with kAborted at Reset. On any thread.
  using Done = std::function<void(const absl::Status&)>;
  virtual void Want(const std::set<std::string>& blobs, Done done) = 0;

  // `holder` asks whether it may delete these. Returns those that are counted
  // for nothing from now on. REQUIRES: nothing names them or is about to.
  virtual std::vector<std::string> Release(
      raft::NodeId holder, const std::vector<std::string>& blobs) = 0;

  // Another term: what was known of the others may no longer be so.
  virtual void Reset() = 0;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_BLOB_QUORUM_H_
