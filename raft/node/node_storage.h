// What a member keeps on its disk, opened, and what it knows by it when it
// starts. The first start decides here, durably, whether it founds a group or
// joins one.
#ifndef MILLRACE_RAFT_NODE_NODE_STORAGE_H_
#define MILLRACE_RAFT_NODE_NODE_STORAGE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/member_store.h"
#include "raft/node/node_core.h"
#include "raft/node/node_log.h"

namespace millrace::raft {

struct NodeStorageOptions {
  // With `join`: a new directory joins the group of `store.log.cluster`, which
  // must be given.
  MemberStoreOptions store;
  // Of this member, for the first entry of a group that it founds; may be
  // empty.
  std::string address;
  // Newest entries that stay in memory.
  uint64_t cache_bytes_max = uint64_t{32} << 20;
};

// In this order: what is below refers to what is above.
struct NodeStorage {
  MemberStore store;
  std::unique_ptr<NodeLog> view;
  NodeStart start;
};

// Errors are those of OpenMemberStore; kDataLoss also for a snapshot or an
// entry that says nothing of the members. `disk` outlives the storage.
//
// A member that founds writes the first entry of the log, which makes it the
// only voter. Until that is durable, or when the log began without such an
// entry, it is the only voter all the same: what makes it so is that its
// directory says it did not join. When it leads it adds itself by an entry
// before it adds anybody else.
absl::StatusOr<NodeStorage> OpenNodeStorage(const NodeStorageOptions& options,
                                            Disk& disk, Random& random);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_NODE_STORAGE_H_
