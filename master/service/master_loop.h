// The one thread that owns the replicated state and the scheduler core.
//
//   log ── committed entries ──►┌─────────────┐── proposals ──► log
//   worker streams ── messages ►│ master loop │── commands ───► worker streams
//   client service ── calls ───►└─────────────┘── answers ────► client service
//
// Everybody else posts and returns. The loop takes all that has been posted,
// steps the core for each, and then hands the proposals to the log in one
// batch, so that one write to the disk serves them all.
#ifndef MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_
#define MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/random.h"
#include "master/scheduler/scheduler_core.h"
#include "master/service/worker_streams.h"
#include "master/state/state.h"
#include "proto/messages/client.pb.h"
#include "raft/replicated_log.h"

namespace millrace::master {

// Thread-safe, except where a member says otherwise.
class MasterLoop final : public raft::LogSink, public WorkerStreamListener {
 public:
  // Clock and random outlive the loop; the loop alone uses `random`.
  MasterLoop(const SchedulerOptions& options, Clock& clock, Random& random);
  ~MasterLoop() override;

  // The loop runs from here on. What came before waits; both outlive Stop.
  // `cluster` is the one that the log belongs to.
  void Start(raft::ReplicatedLog& log, const ClusterId& cluster,
             WorkerStreams& streams);
  // Returns when the loop has ended. Calls that wait for an answer get
  // kCancelled. No-op the second time.
  void Stop();

  // ----------------------------------------------------------- for clients
  //
  // Each callback is called once, on the loop's thread, and returns at once.

  using OnReply = std::function<void(const Reply&)>;
  // The blobs that the spec names are stored.
  void Submit(const RequestId& request_id, proto::JobSpec spec, OnReply done);
  void Kill(std::string id_prefix, std::string reason, OnReply done);
  void Drain(std::string worker, bool draining, OnReply done);

  // Looks at state and core. The status is NotLeaderError on a master that does
  // not lead, and then the other two must not be relied on.
  using Reader = std::function<void(const absl::Status& status, const State&,
                                    const SchedulerCore&)>;
  void Read(Reader reader);

  // Reports the status of a job now and at each change, progress at most ten
  // times a second; `last` with the job's end. An error ends the watch, too.
  using WatchId = uint64_t;
  using OnStatus = std::function<void(const absl::Status& status,
                                      const proto::JobStatus&, bool last)>;
  WatchId Watch(std::string id_prefix, OnStatus on_status);
  void Unwatch(WatchId watch);

  // ------------------------------------------------------- from the others

  void OnCommitted(std::vector<raft::CommittedEntry> entries) override;
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
  void Loop();
  absl::Duration Deadline() const;

  // All below: confined to the loop's thread.
  void Step(const Event& event);
  void Carry(Effect& effect);
  void ApplyEntry(const raft::CommittedEntry& committed);
  void ProposeQueued();
  absl::Status Leading() const;
  void AwaitReply(ReplyTag tag, OnReply done);
  void Show(WatchId id, Watcher& watcher);
  void ShowChanged();
  void EndWatches(const absl::Status& status);

  Clock& clock_;
  State state_;
  SchedulerCore core_;
  raft::ReplicatedLog* log_ = nullptr;
  ClusterId cluster_;
  WorkerStreams* streams_ = nullptr;

  // Confined to the loop's thread.
  std::string leader_address_;
  std::deque<std::string> proposals_;  // Not yet taken by the log.
  absl::Duration propose_again_ = absl::InfiniteDuration();
  ReplyTag next_tag_ = 1;
  std::map<ReplyTag, OnReply> replies_;
  std::map<WatchId, Watcher> watchers_;
  std::set<JobId> changed_;  // Since their watchers were last shown.
  absl::Duration show_at_ = absl::InfiniteDuration();

  absl::Mutex mu_;
  std::deque<std::function<void()>> mailbox_ ABSL_GUARDED_BY(mu_);
  WatchId next_watch_ ABSL_GUARDED_BY(mu_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_MASTER_LOOP_H_
