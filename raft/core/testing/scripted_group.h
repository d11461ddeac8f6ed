// A group of cores that does what a transcript says, and tells what it did in
// the words of etcd-raft's interaction tests.
//
// A core knows asynchronous writes alone. A member of a group without
// async-storage-writes plays a synchronous one: what a Ready wants written is
// written and synced at once, and its messages leave at once. Then etcd-raft
// hands out entries as committed before it knows them to be durable, and ours
// afterwards; such a member shows, and applies, both in one Ready.
//
//   add-nodes N voters=(1,2) learners=(3) index=I inflight=K prevote=true
//       checkquorum=true async-storage-writes=true step-down-on-removal=true
//       [more, of our own:] append-bytes=B mutant=NAME
//   campaign N           compact N FIRST        tick-election N
//   deliver-msgs N.. type=MsgApp drop=(M,..)    tick-heartbeat N
//   process-ready N..    process-append-thread N..   process-apply-thread N..
//   propose N TEXT       propose-conf-change N, input: v1 | l1 | r1 | u1
//   raft-log N           raft-state             status N
//   report-unreachable N M   send-snapshot N M  set-randomized-election-timeout
//   stabilize [N..]      transfer-leadership from=N to=M     log-level LEVEL
//   [of our own:]
//   tick N COUNT         read N ID              committed N
//   crash N              loses what is not written, and starts again
//   deliver-msgs N from=M
//   snapshot-sent N M ok=true
#ifndef MILLRACE_RAFT_CORE_TESTING_SCRIPTED_GROUP_H_
#define MILLRACE_RAFT_CORE_TESTING_SCRIPTED_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/message.h"
#include "raft/core/testing/memory_log.h"
#include "raft/core/testing/transcript.h"

namespace millrace::raft {

// Thread-compatible.
class ScriptedGroup {
 public:
  struct Options {
    // Whether the parts of a write, and what waits for it, are printed.
    bool print_writes = true;
    // Of all members.
    CoreMutant mutant;
    CoreHabits habits;
  };

  explicit ScriptedGroup(const Options& options) : options_(options) {}

  // What the command printed, with "\n" at the end.
  std::string Execute(const TranscriptCommand& command);

 private:
  struct Node {
    CoreConfig config;
    MemoryLog log;
    std::unique_ptr<Core> core;
    bool async = false;
    // Taken from the core and not processed yet.
    Ready ready;
    std::vector<LogWrite> writes;
    // As printed last.
    HardState hard_state;
    SoftState soft_state;
    // Handed to apply, or printed as such.
    uint64_t shown_committed = 0;

    std::deque<std::vector<LogWrite>> append_work;
    std::deque<std::vector<LogEntry>> apply_work;
    // Memberships by the index from which on they hold.
    std::map<uint64_t, Membership> history;
    std::string applied;  // Payloads, for the eye.
  };

  // On its way to a member; or news of its own disk or apply thread.
  struct Envelope {
    Message message;
    uint64_t durable_write = 0;
    uint64_t applied_index = 0;
    bool local() const { return durable_write + applied_index > 0; }
  };

  void Print(const std::string& text);
  void Check(const absl::Status& status);
  void Indented(const std::function<void()>& body);
  Node& NodeAt(uint64_t id) { return nodes_.at(id); }

  void AddNodes(const TranscriptCommand& command);
  void StartCore(Node& node, const HardState& hard_state);
  void Crash(uint64_t id);
  void DeliverCommand(const TranscriptCommand& command);
  void ForEach(const TranscriptCommand& command, const std::string& title,
               void (ScriptedGroup::*process)(uint64_t));
  // `from`: kNobody for all.
  int Deliver(uint64_t to, const std::string& type, NodeId from, bool drop);
  void DeliverOne(const Envelope& envelope);
  bool Awaits(uint64_t to) const;

  void Pull(Node& node);
  bool HasVisibleReady(Node& node);
  void ProcessReady(uint64_t id);
  void ProcessAppendThread(uint64_t id);
  void ProcessApplyThread(uint64_t id);
  std::string DescribeVisible(const Node& node, const Ready& shown,
                              const std::vector<LogWrite>& writes);
  void ApplyEntries(Node& node, const std::vector<LogEntry>& entries);
  void Stabilize(std::vector<uint64_t> ids);

  void RaftLog(const Node& node);
  void RaftState();
  void Status(const Node& node);
  void SendSnapshot(uint64_t from, uint64_t to);

  const Options options_;
  std::map<uint64_t, Node> nodes_;
  std::deque<Envelope> wire_;
  bool quiet_ = false;
  std::string out_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_SCRIPTED_GROUP_H_
