#include "raft/node/node_storage.h"

#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/membership.h"

namespace millrace::raft {
namespace {

MembershipChange OnlyVoter(NodeId self, const std::string& address) {
  MembershipChange change;
  change.kind = MembershipChange::Kind::kAddVoter;
  change.node = self;
  change.address = address;
  return change;
}

absl::Status Found(const std::string& address, SegmentLog& log) {
  const NodeId self = log.identity().member;
  std::vector<LogEntry> entries(1);
  entries[0].index = 1;
  entries[0].term = 1;
  entries[0].kind = kMembershipEntry;
  entries[0].payload = EncodeMembershipChange(OnlyVoter(self, address));
  LogAppend append;
  append.entries = entries;
  append.hard_state = HardState{1, self, 1};
  MR_RETURN_IF_ERROR(log.Append(append));
  return log.Sync();
}

// Of a group that began here.
absl::StatusOr<Membership> InitialMembership(const SegmentLog& log) {
  if (log.last_index() > 0) {
    MR_ASSIGN_OR_RETURN(const std::vector<LogEntry> first, log.Read(1, 2, 0));
    if (first.front().kind == kMembershipEntry) return Membership();
  }
  return ApplyChange({}, OnlyVoter(log.identity().member, ""));
}

}  // namespace

absl::StatusOr<NodeStorage> OpenNodeStorage(const NodeStorageOptions& options,
                                            Disk& disk, Random& random) {
  NodeStorage storage;
  MR_ASSIGN_OR_RETURN(storage.store,
                      OpenMemberStore(options.store, disk, random));
  SegmentLog& log = *storage.store.log;
  if (log.torn_bytes() > 0) {
    LOG(WARNING) << "removed " << log.torn_bytes()
                 << " bytes from the end of the log in "
                 << options.store.log.directory
                 << ": a crash interrupted their writing, nobody was told of "
                    "them";
  }
  NodeStart& start = storage.start;
  start.self = log.identity().member;
  SnapshotMeta snapshot;
  const LogSnapshot newest = storage.store.snapshots->newest();
  if (newest.index > 0) {
    MR_ASSIGN_OR_RETURN(std::unique_ptr<SnapshotReader> reader,
                        storage.store.snapshots->OpenNewest());
    absl::StatusOr<Membership> membership =
        DecodeMembership(reader->meta().configuration);
    if (!membership.ok()) {
      return Annotate(membership.status(),
                      Cat("the snapshot at entry ", newest.index));
    }
    start.membership = *std::move(membership);
    snapshot.last = {newest.term, newest.index};
    snapshot.membership = start.membership;
    start.state = std::move(reader);
    start.older_snapshot = storage.store.snapshots->older_index();
  } else if (!log.joined()) {
    if (log.last_index() == 0 && log.hard_state().term == 0) {
      MR_RETURN_IF_ERROR(Found(options.address, log));
    }
    MR_ASSIGN_OR_RETURN(start.membership, InitialMembership(log));
  }
  start.hard_state = log.hard_state();
  storage.view = std::make_unique<NodeLog>(log, std::move(snapshot),
                                           options.cache_bytes_max);
  return storage;
}

}  // namespace millrace::raft
