// What goes into the scheduler core, and what comes out of it.
#ifndef MILLRACE_MASTER_SCHEDULER_EVENTS_H_
#define MILLRACE_MASTER_SCHEDULER_EVENTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "master/state/state.h"
#include "proto/messages/job.pb.h"
#include "proto/messages/log_entry.pb.h"
#include "proto/messages/worker.pb.h"

namespace millrace::master {

// One stream of a worker. Chosen by the edge, never used twice.
using SessionId = uint64_t;
// A client's call that waits for an answer. Chosen by the edge.
using ReplyTag = uint64_t;

// ------------------------------------------------------------------- events

// The log says that this master leads. The core proposes TermStarted and acts
// once that is applied; what arrives before waits.
struct BecameLeader {
  uint64_t term = 0;
  // Of the log's directory: what the first leader names the cluster. Zero: one
  // is minted.
  ClusterId cluster;
};
// All soft state is forgotten: streams are refused and closed, clients are
// told to look elsewhere.
struct LostLeadership {
  std::string leader_address;  // Empty: not known.
};
// After State::Apply, for every entry, on a standby too. Both outlive the call.
struct EntryApplied {
  uint64_t index = 0;
  uint64_t term = 0;
  const proto::LogEntry* entry = nullptr;
  const ApplyResult* result = nullptr;
};
// The state is another one: the leader's snapshot has taken its place
// (State::Swap), so this master has not applied what led there. JobChanged
// follows for every job in it. REQUIRES: LostLeadership came after the last
// BecameLeader, for a leader is never sent a snapshot.
struct StateRestored {};
// An entry that the core proposed names a blob that no master has, so the edge
// does not propose it. Planned and Decided alone.
struct BlobLost {
  proto::LogEntry entry;
  std::string message;  // For people.
};
struct WorkerStreamOpened {
  SessionId session = 0;
};
struct WorkerStreamMessage {
  SessionId session = 0;
  proto::WorkerMessage message;
};
// By the worker or the network. Not sent for a session that the core closed.
struct WorkerStreamClosed {
  SessionId session = 0;
};
// The blobs that the spec names are there, durably; the edge saw to that.
struct ClientSubmit {
  ReplyTag tag = 0;
  RequestId request_id;
  proto::JobSpec spec;
};
struct ClientKill {
  ReplyTag tag = 0;
  JobId job;
  std::string reason;
};
struct ClientDrain {
  ReplyTag tag = 0;
  std::string worker;  // Name.
  bool draining = true;
};
// Time has passed: NextDeadline() has been reached. Harmless at other times.
struct Tick {};

using Event = std::variant<BecameLeader, LostLeadership, EntryApplied,
                           StateRestored, BlobLost, WorkerStreamOpened,
                           WorkerStreamMessage, WorkerStreamClosed,
                           ClientSubmit, ClientKill, ClientDrain, Tick>;

// ------------------------------------------------------------------ effects
//
// Carried out in their order.

// For ReplicatedLog::Propose at the term that is led. The edge keeps it until
// the log has taken it or leadership is lost; the core does not propose it
// again. In order, but for entries that name a blob (Planned, Decided), which
// wait until the masters hold it, or come back as BlobLost, and for WorkerLost,
// which waits until a majority of the masters has said anew whom it follows.
struct Propose {
  proto::LogEntry entry;
};
// Dropped silently if the session is gone.
struct Send {
  SessionId session = 0;
  // With the term. Shared by all sessions that are told the same, and with the
  // edge until it is written.
  std::shared_ptr<const proto::MasterMessage> message;
};
// After what was sent has left. No WorkerStreamClosed follows.
struct CloseSession {
  SessionId session = 0;
};
// The one answer to the client's call `tag`:
//   OK                   submit: `job`, `existed`; kill: `job`, `too_late`;
//                        drain: nothing more
//   kFailedPrecondition  this master does not lead (any more): NotLeader
//   kInvalidArgument, kAlreadyExists, kResourceExhausted, kNotFound
//                        refused, the message says why
struct Reply {
  ReplyTag tag = 0;
  absl::Status status;
  JobId job;
  bool existed = false;     // Submit: the request id was known.
  bool too_late = false;    // Kill: the job had ended or was decided.
  bool not_leader = false;  // The reason of kFailedPrecondition.
};
// What FillJobStatus() says of the job may have changed: watchers look again.
// At most once a job and step.
struct JobChanged {
  JobId job;
};

using Effect = std::variant<Propose, Send, CloseSession, Reply, JobChanged>;

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_EVENTS_H_
