// A member of the group: the ReplicatedLog of a master. A single master is a
// group of one, with the same log, the same threads and the same recovery.
//
//   Propose, ConfirmLeading, ...          messages of the others
//             │                                    │
//             ▼          bounded mailbox           ▼
//   ┌─────────────── who has the node's turn ──────────────┐   ticks
//   │ NodeCore: every decision (raft/node/node_core.h)     │◄──────
//   └──┬─────────────┬─────────────────┬────────────────┬──┘
//      ▼             ▼                 ▼                ▼
//   the log:      the sink's        Transport        snapshot thread
//   write, one    calls, in         (its threads     FrozenState ─► disk
//   fdatasync     order             are its own)
//
// A way to another thread and back costs as much as a fast disk, so what
// decides also acts. There are two node threads. One has the turn: it alone
// uses the core. When it has decided it gives the turn back, and writes the log
// and calls the sink itself if nothing of the kind is under way; meanwhile the
// other one hears messages and ticks, so that a disk that stands still does not
// silence the member. When a write or a call is under way already, the next one
// is left to the log's or the sink's own thread, and everything that comes
// until then shares one write. A group of one has nobody to listen to: its
// turn is kept meanwhile.
//
// One more thread keeps the next segment of the log ready.
//
// Where a directory comes from is decided at its first start and is durable
// before anything else is: it *founds* a group (mints the cluster's id; the
// first entry makes this member the only voter) or it *joins* one (`join`; it
// belongs to nobody's group until a leader sends it entries or a snapshot, and
// never stands for election before).
#ifndef MILLRACE_RAFT_NODE_NODE_H_
#define MILLRACE_RAFT_NODE_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/log_types.h"
#include "raft/replicated_log.h"
#include "raft/transport/transport.h"

namespace millrace::raft {

struct NodeOptions {
  // Made if it is not there; its parent must be. Holds id, lock, log/, snap/.
  std::string directory;
  // The cluster that it must belong to. None: any, and a new directory founds
  // a new one.
  std::optional<ClusterId> cluster;
  // Of a new directory alone: it joins the group of `cluster`, which must then
  // be given. In a directory that has been used it changes nothing.
  bool join = false;
  // Where the other members reach this one. May be left empty until it is known
  // (Node::SetAddress); a leader makes it known to the group by an entry.
  std::string address;

  // ------------------------------------------------------------------ timing
  // A follower that hears no leader for election_ticks to twice as many stands
  // for election. Equal on all members, by and large; each tick takes half of
  // `tick` more or less, at random (see Ticker).
  absl::Duration tick = absl::Milliseconds(100);
  int election_ticks = 10;
  int heartbeat_ticks = 1;

  // --------------------------------------------------------------------- log
  // See SegmentLogOptions. Equal on all members: what one can write the others
  // must be able to write.
  uint64_t segment_bytes = uint64_t{64} << 20;
  uint64_t free_bytes_min = uint64_t{64} << 20;
  // Payloads (and a little for each) that are proposed here and not yet handed
  // over; beyond it Propose says kResourceExhausted. A proposal of more than
  // this is kInvalidArgument.
  uint64_t uncommitted_bytes_max = uint64_t{64} << 20;
  // Payloads that one fdatasync makes durable: a limit on how long a proposal
  // waits for others.
  uint64_t group_bytes_max = uint64_t{8} << 20;
  // How long to wait before a full disk is tried again.
  absl::Duration retry_interval = absl::Seconds(1);

  // --------------------------------------------------------------- snapshots
  // One is taken after so many entries of the sink's since the last, or when
  // they are four times as long as the state was then, but at least
  // snapshot_bytes_min, and so much time has passed; after snapshot_bytes_max in
  // any case. It is what a restart has to replay, and the log of two is in
  // memory, up to NodeStorageOptions::cache_bytes_max.
  uint64_t snapshot_entries = 200'000;
  uint64_t snapshot_bytes_min = uint64_t{2} << 20;
  uint64_t snapshot_bytes_max = uint64_t{256} << 20;
  absl::Duration snapshot_interval = absl::Seconds(10);
  // Entries that stay in the log behind a snapshot, so that a member that was
  // away for a moment needs no transfer. What follows the snapshot before the
  // newest stays in any case.
  uint64_t keep_entries = 1'000;

  // Called with what cannot be gone on with (an error of the disk, a log that
  // contradicts itself), once. Empty: the process ends with a line on stderr.
  // Others are for tests; when it returns, the node is dead until destroyed.
  std::function<void(const absl::Status&)> on_fatal;
};

// Thread-safe. Beyond the interface:
//   * Propose, ConfirmLeading and ChangeMembership answer kResourceExhausted
//     when too many calls are waiting.
//   * status() is as of the last step; `progress` as of the last tick.
//   * TransferLeadership waits for the node's thread: never call it in a call
//     of the sink or in a callback. With kNobody before a planned stop: then
//     wait (a little) for OnFollowing.
//   * Callbacks that are not yet answered when it is destroyed get
//     kUnavailable, from the destructor.
class Node : public ReplicatedLog {
 public:
  virtual const LogIdentity& identity() const = 0;
  // See NodeOptions::address.
  virtual void SetAddress(std::string address) = 0;
};

// Recovers what is on the disk, which may take as long as reading it does, and
// starts the threads. `sink` gets everything from them, also before this
// returns. `random` is used during the call. Everything that is passed by
// reference outlives the node; `transport` is started by this call and stopped
// by the node's destructor, and can be used for one node only.
//   kFailedPrecondition  another process uses the directory, it belongs to
//                        another cluster, or to another version
//   kInvalidArgument     an option is out of range; `join` without `cluster`
//   kDataLoss            log or snapshot are damaged: the message says where
//                        and what to do
//   others               the disk's
absl::StatusOr<std::unique_ptr<Node>> OpenNode(const NodeOptions& options,
                                               Disk& disk, Clock& clock,
                                               Random& random,
                                               Transport& transport,
                                               LogSink& sink);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_NODE_H_
