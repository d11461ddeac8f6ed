// Worker streams in memory, by the rules of those over gRPC, for masters and
// workers of one process.
//
//   worker ── MemoryLink ── its thread ──► MemoryStreams ── listener ──► loop
#ifndef MILLRACE_TESTS_IN_PROCESS_MEMORY_STREAMS_H_
#define MILLRACE_TESTS_IN_PROCESS_MEMORY_STREAMS_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "master/service/worker_streams.h"
#include "proto/messages/worker.pb.h"
#include "worker/master_link.h"

namespace millrace {

class MemoryLink;

// Of one master. Thread-safe. The listener is called on the threads of links,
// and outlives Shutdown().
class MemoryStreams final : public master::WorkerStreams {
 public:
  MemoryStreams(std::string address, master::WorkerStreamListener& listener)
      : address_(std::move(address)), listener_(listener) {}

  const std::string& address() const { return address_; }
  master::WorkerStreamListener& listener() { return listener_; }

  // Breaks all that are open; what was on its way is lost.
  void BreakAll() ABSL_LOCKS_EXCLUDED(mu_);
  // The same, and none is opened any more. Returns when the listener has heard
  // the end of all.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

  void Send(master::StreamId stream,
            std::shared_ptr<const proto::MasterMessage> message) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Close(master::StreamId stream) override ABSL_LOCKS_EXCLUDED(mu_);
  void Resume(master::StreamId stream) override ABSL_LOCKS_EXCLUDED(mu_);

  // For links. 0: nobody is there. Each stream that was opened is forgotten
  // after the listener's last call for it.
  master::StreamId Open(MemoryLink& link) ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(master::StreamId stream) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::string address_;
  master::WorkerStreamListener& listener_;

  absl::Mutex mu_;
  bool down_ ABSL_GUARDED_BY(mu_) = false;
  master::StreamId last_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<master::StreamId, MemoryLink*> open_ ABSL_GUARDED_BY(mu_);
};

// The masters that can be reached, by their addresses. Thread-safe.
class MemoryMasters {
 public:
  void Add(std::shared_ptr<MemoryStreams> master) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(const std::string& address) ABSL_LOCKS_EXCLUDED(mu_);
  // Null: it is not there.
  std::shared_ptr<MemoryStreams> Find(const std::string& address)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The one whose turn it is after that; null: there is none.
  std::shared_ptr<MemoryStreams> After(const std::string& address)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Mutex mu_;
  // Second owners: links that have a stream there.
  std::map<std::string, std::shared_ptr<MemoryStreams>> masters_
      ABSL_GUARDED_BY(mu_);
};

// Of one worker. Goes from master to master until one leads, by the hints of
// those that do not. `masters` outlives it.
class MemoryLink final : public worker::MasterLink {
 public:
  explicit MemoryLink(MemoryMasters& masters) : masters_(masters) {}
  ~MemoryLink() override;

  void Start(Observer& observer) override;
  void Send(worker::StreamId stream, proto::WorkerMessage message) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Close(worker::StreamId stream) override ABSL_LOCKS_EXCLUDED(mu_);

  // What the master does with the stream that is open.
  void FromMaster(std::shared_ptr<const proto::MasterMessage> message)
      ABSL_LOCKS_EXCLUDED(mu_);
  void ClosedByMaster() ABSL_LOCKS_EXCLUDED(mu_);
  void Resume() ABSL_LOCKS_EXCLUDED(mu_);
  void Break() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run(Observer& observer) ABSL_LOCKS_EXCLUDED(mu_);
  // One stream, from its opening to its end. `*next`: the master that was named
  // as leader.
  void Serve(MemoryStreams& master, Observer& observer, std::string* next)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for what there is to carry, either way. False: the stream has ended.
  bool Carry(MemoryStreams& master, master::StreamId at_master,
             worker::StreamId at_worker, Observer& observer, std::string* next)
      ABSL_LOCKS_EXCLUDED(mu_);

  MemoryMasters& masters_;
  std::thread thread_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  worker::StreamId stream_ ABSL_GUARDED_BY(mu_) = 0;  // Also when it has ended.
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;  // When all to the worker is said.
  bool resumed_ ABSL_GUARDED_BY(mu_) = false;  // The master takes a message.
  std::deque<proto::WorkerMessage> to_master_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<const proto::MasterMessage>> to_worker_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_IN_PROCESS_MEMORY_STREAMS_H_
