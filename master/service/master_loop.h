// The one thread that owns the replicated state and the scheduler core.
//
//   log ── committed entries ──►┌─────────────┐── proposals ──► log
//   worker streams ── messages ►│ master loop │── commands ───► worker streams
//   client service ── calls ───►└─────────────┘── answers ────► client service
//
// Everybody else posts and returns. The loop takes all that has been posted,
// steps the core for each, and then hands the proposals to the log in one
// batch, so that one write to the disk serves them all. One confirmation of
// leadership serves all reads that came in meanwhile, likewise.
//
// An entry that names a blob is proposed once a majority of the masters hold it
// (BlobQuorum); what is said to a client about it waits, too.
#ifndef MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_
#define MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/random.h"
#include "master/group/blob_quorum.h"
#include "master/group/group_view.h"
#include "master/scheduler/scheduler_core.h"
#include "master/service/worker_streams.h"
#include "master/state/state.h"
#include "proto/messages/client.pb.h"
#include "raft/replicated_log.h"

namespace millrace::master {

// Thread-safe, except where a member says otherwise.
class MasterLoop final : public raft::LogSink, public WorkerStreamListener {
 public:
  // Clock, random and group outlive the loop; the loop alone uses `random`.
  MasterLoop(const SchedulerOptions& options, Clock& clock, Random& random,
             const GroupView& group);
  ~MasterLoop() override;

  // The loop runs from here on. What came before waits; both outlive Stop.
  // Until there is a log, everybody hears that this master does not lead.
  void Start(WorkerStreams& streams, BlobQuorum& blobs);
  // What the log has said before is looked at from now on. `cluster` is the one
  // that it belongs to; the log outlives Stop or DropLog.
  void SetLog(raft::ReplicatedLog& log, const ClusterId& cluster);
  // Returns when the log is used no more. REQUIRES: this master does not lead.
  void DropLog();
  // Why this master does not lead, where that is not for the usual reason: it
  // has not been added to a group yet, or was removed.
  void SetStanding(std::string why);
  // Tells workers at once who the masters are, if they have changed; else they
  // hear it with whatever is said to them next, a heartbeat later at most. A
  // worker that knows nobody but a master that goes away then is lost.
  void TellMasters();
  // Returns when the loop has ended. Calls that wait for an answer get
  // kCancelled. No-op the second time.
  void Stop();

  // ----------------------------------------------------------- for clients
  //
  // Each callback is called once, on the loop's thread, and returns at once.

  using OnReply = std::function<void(const Reply&)>;
  // kNotFound: a blob that the spec names has not been put.
  void Submit(const RequestId& request_id, proto::JobSpec spec, OnReply done);
  void Kill(std::string id_prefix, std::string reason, OnReply done);
  void Drain(std::string worker, bool draining, OnReply done);

  // Looks at state and core. OK: this master led at some moment after the call
  // and all that was committed before it is in the state, so the read is
  // linearizable. NotLeaderError on a master that does not lead, and then the
  // state is what has come here so far.
  using Reader = std::function<void(const absl::Status& status, const State&,
                                    const SchedulerCore&)>;
  void Read(Reader reader);
  // The same without asking the others: whether it leads as far as it knows,
  // and what it has applied.
  void Look(Reader reader);

  // Reports the status of a job now and at each change, progress at most ten
  // times a second; `last` with the job's end. An error ends the watch, too.
  using WatchId = uint64_t;
  using OnStatus = std::function<void(const absl::Status& status,
                                      const proto::JobStatus&, bool last)>;
  WatchId Watch(std::string id_prefix, OnStatus on_status);
  void Unwatch(WatchId watch);

  // Whether the log says within `patience` that this master does not lead.
  bool AwaitFollowing(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_);

  // -------------------------------------------------------------- for blobs

  // What the retained jobs name, and what is about to be named. The status as
  // Read's.
  void NamedBlobs(std::function<void(const absl::Status& status,
                                     const std::set<std::string>& blobs)>
                      done);
  // `holder` may delete those of `blobs` that are handed to `done`: they are
  // named by nothing, and it is not counted as their holder any more.
  void ReleaseBlobs(raft::NodeId holder, std::vector<std::string> blobs,
                    std::function<void(const absl::Status& status,
                                       const std::vector<std::string>&)>
                        done);
  // Told the blobs that an entry names, when it is applied; before Start.
  void SetOnBlobsNamed(std::function<void(std::vector<std::string>)> told) {
    on_blobs_named_ = std::move(told);
  }

  // Told once that a snapshot cannot be read although its bytes are right:
  // there is nothing to go on with. Before Start; otherwise the process ends.
  void SetOnUnusable(std::function<void(const absl::Status&)> told) {
    on_unusable_ = std::move(told);
  }

  // ------------------------------------------------------- from the others

  void OnCommitted(std::vector<raft::CommittedEntry> entries) override;
  void OnSnapshot(uint64_t index, uint64_t term,
                  std::unique_ptr<ByteSource> state) override;
  void OnSnapshotWanted(SnapshotTaken done) override;
  void OnLeading(uint64_t term) override;
  void OnFollowing(uint64_t term, std::string leader_address) override;

  void OnStreamOpened(StreamId stream) override;
  void OnStreamMessage(StreamId stream, proto::WorkerMessage message) override;
  void OnStreamClosed(StreamId stream) override;

 private:
  struct Watcher {
    JobId job;
    OnStatus on_status;
    std::string shown;  // Status last reported, serialised.
  };

  void Post(std::function<void()> work) ABSL_LOCKS_EXCLUDED(mu_);
  void PostOfLog(std::function<void()> work) ABSL_LOCKS_EXCLUDED(mu_);
  void Loop();
  absl::Duration Deadline() const;

  // All below: confined to the loop's thread.
  void Step(Event event);
  void Carry(Effect& effect);
  // With who the masters are, to a worker that has not heard it.
  void SendNamingMasters(StreamId stream,
                         std::shared_ptr<const proto::MasterMessage> message);
  void ApplyEntry(const raft::CommittedEntry& committed);
  void ProposeWhenHeld(proto::LogEntry entry, std::set<std::string> blobs);
  void ProposeWhenConfirmed(proto::LogEntry entry);
  void ProposeQueued();
  absl::Status Leading() const;
  // No other master could lead by now: it takes this one's vote.
  bool LeadsAlone() const;
  // Calls `then` on the loop with what ConfirmLeading says.
  using Confirmed = std::function<void(const absl::Status&)>;
  void Confirm(Confirmed then);
  void ConfirmQueued();
  void StepSubmit(const RequestId& request_id, proto::JobSpec spec,
                  OnReply done);
  void BeginTerm();
  void AwaitReply(ReplyTag tag, OnReply done);
  void Show(WatchId id, Watcher& watcher);
  void ShowChanged();
  void EndWatches(const absl::Status& status);

  Clock& clock_;
  const GroupView& group_;
  State state_;
  SchedulerCore core_;
  WorkerStreams* streams_ = nullptr;
  BlobQuorum* blobs_ = nullptr;
  std::function<void(std::vector<std::string>)> on_blobs_named_;
  std::function<void(const absl::Status&)> on_unusable_;

  // Confined to the loop's thread.
  raft::ReplicatedLog* log_ = nullptr;
  ClusterId cluster_;
  std::string standing_;
  std::string leader_address_;
  std::deque<std::string> proposals_;  // Not yet taken by the log.
  std::map<StreamId, std::vector<std::string>> masters_told_;  // Workers.
  // About to be named: by submits that are not answered, and by what waits to
  // be proposed in this term, or is proposed and not yet applied.
  std::multiset<std::string> submitted_blobs_;
  std::multiset<std::string> proposed_blobs_;
  std::vector<Confirmed> unconfirmed_;
  bool confirming_ = false;
  absl::Duration propose_again_ = absl::InfiniteDuration();
  ReplyTag next_tag_ = 1;
  std::map<ReplyTag, OnReply> replies_;
  std::set<WatchId> begun_;  // Watches that wait for a confirmation.
  std::map<WatchId, Watcher> watchers_;
  std::set<JobId> changed_;  // Since their watchers were last shown.
  absl::Duration show_at_ = absl::InfiniteDuration();

  absl::Mutex mu_;
  std::deque<std::function<void()>> mailbox_ ABSL_GUARDED_BY(mu_);
  WatchId next_watch_ ABSL_GUARDED_BY(mu_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool has_log_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::function<void()>> before_log_ ABSL_GUARDED_BY(mu_);
  bool leads_ ABSL_GUARDED_BY(mu_) = false;  // As the log said last.
  std::thread thread_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_
