// The threads around the node's own: each takes jobs from a queue of its own
// and reports to the mailbox. What they do is decided by NodeCore.
#ifndef MILLRACE_RAFT_NODE_WORKERS_H_
#define MILLRACE_RAFT_NODE_WORKERS_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/log/segment_log.h"
#include "raft/log/snapshot_store.h"
#include "raft/node/log_writer.h"
#include "raft/node/mailbox.h"
#include "raft/node/node_core.h"
#include "raft/node/proposal_gate.h"
#include "raft/replicated_log.h"

namespace millrace::raft {

// Writes the log; and, on a second thread, keeps its next segment ready: making
// one takes as long as writing a segment of zeros does.
class LogWorker {
 public:
  struct Options {
    uint64_t group_bytes_max = 0;
    absl::Duration retry_interval;
    // Messages that may leave: called on the thread that writes.
    std::function<void(std::vector<Message>)> send;
    // An error that the process ends with.
    std::function<void(const absl::Status&)> fatal;
  };

  // References outlive it.
  LogWorker(Options options, SegmentLog& log, NodeLog& view, Mailbox& mailbox);
  // Ends the threads. What is queued is not written: nobody was told of it.
  ~LogWorker();

  // Queues them. True: the log's thread has nothing to do, so the caller is to
  // write them itself, all that wait, by WriteClaimed. The way to another
  // thread and back costs as much as a fast disk.
  bool Claim(std::vector<LogWrite> writes) ABSL_LOCKS_EXCLUDED(mu_);
  // Reports to the mailbox, without waking anybody.
  void WriteClaimed() ABSL_LOCKS_EXCLUDED(mu_);
  // Behind the writes before it.
  void Drop(uint64_t index) ABSL_LOCKS_EXCLUDED(mu_);
  // Lazy writes wait no longer.
  void Flush() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether new work should be refused. Asks the file system only if it was
  // nearly full when last asked.
  bool NearlyFull();

 private:
  void LogLoop();
  void SpareLoop();
  // The next writes to be made durable together; empty: the end.
  std::vector<LogWrite> TakeGroup(std::optional<uint64_t>* drop)
      ABSL_LOCKS_EXCLUDED(mu_);
  // False: stop.
  bool WriteGroup(std::vector<LogWrite> group);
  void AfterGroup();
  void Release() ABSL_LOCKS_EXCLUDED(mu_);
  void SetNearlyFull(bool nearly_full);
  std::optional<uint64_t> TakeDrop() ABSL_LOCKS_EXCLUDED(mu_);
  bool DropSegments(uint64_t index);

  const Options options_;
  SegmentLog& log_;
  Mailbox& mailbox_;
  LogWriter writer_;  // Of who has set busy_.
  std::atomic<bool> nearly_full_ = false;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  bool wanted_ ABSL_GUARDED_BY(mu_) = false;  // Something is not lazy.
  std::deque<LogWrite> queue_ ABSL_GUARDED_BY(mu_);
  std::optional<uint64_t> drop_ ABSL_GUARDED_BY(mu_);
  bool spare_wanted_ ABSL_GUARDED_BY(mu_) = false;

  std::thread log_thread_;  // Last: they use everything above.
  std::thread spare_thread_;
};

// Calls the sink.
class ApplyWorker {
 public:
  ApplyWorker(LogSink& sink, ProposalGate& gate, Mailbox& mailbox,
              LogSink::SnapshotTaken taken);
  ~ApplyWorker() { Stop(); }

  // Queues them. What it returns instead the caller is to deliver itself, by
  // DeliverClaimed, because the worker's thread has nothing to do.
  std::vector<Delivery> Claim(std::vector<Delivery> deliveries)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Reports to the mailbox, without waking anybody. REQUIRES: not empty.
  void DeliverClaimed(std::vector<Delivery> deliveries)
      ABSL_LOCKS_EXCLUDED(mu_);
  // No call of the sink is under way or comes afterwards. Callbacks that were
  // queued are called with kUnavailable.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Loop();

  LogSink& sink_;
  ProposalGate& gate_;
  Mailbox& mailbox_;
  const LogSink::SnapshotTaken taken_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // The sink is being called.
  std::deque<Delivery> queue_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

// Writes snapshots of this member's state.
class SnapshotWorker {
 public:
  SnapshotWorker(SnapshotStore& store, Mailbox& mailbox);
  // Breaks off what is under way.
  ~SnapshotWorker();

  // One at a time.
  void Write(NodeEffects::WriteSnapshot what, FrozenState state)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Job {
    NodeEffects::WriteSnapshot what;
    FrozenState state;
  };

  void Loop();
  // How long the state is.
  absl::StatusOr<uint64_t> WriteOne(const Job& job);

  SnapshotStore& store_;
  Mailbox& mailbox_;
  std::atomic<bool> breaking_off_ = false;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Job> job_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_WORKERS_H_
