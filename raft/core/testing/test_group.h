// Cores without a network, and with one, for tests of single steps and of whole
// conversations.
#ifndef MILLRACE_RAFT_CORE_TESTING_TEST_GROUP_H_
#define MILLRACE_RAFT_CORE_TESTING_TEST_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/message.h"
#include "raft/core/testing/memory_log.h"

namespace millrace::raft {

// Members 1 to `voters`.
Membership VotersUpTo(NodeId voters);
// 10 ticks to an election, without pre-votes and check of the quorum: the plain
// algorithm of the paper.
CoreConfig PlainConfig(NodeId id);
// Entries [first, first + terms.size()) without payload.
std::vector<LogEntry> EntriesOfTerms(uint64_t first,
                                     const std::vector<uint64_t>& terms);

// ------------------------------------------------------------------- messages

Message MakeMessage(MessageType type, NodeId from, NodeId to, uint64_t term);
// Of `from` to `to`, behind `prev`.
Message MakeAppend(NodeId from, NodeId to, uint64_t term, EntryId prev,
                   std::vector<LogEntry> entries, uint64_t commit = 0);
Message MakeAcknowledgement(NodeId from, NodeId to, uint64_t term,
                            uint64_t index);
// What a member says that has the append and all before it.
Message Acknowledge(const Message& append);
Message MakeSnapshot(NodeId from, NodeId to, uint64_t term, EntryId last,
                     const Membership& membership);

// --------------------------------------------------------------------- member

// A core with a log of its own. Thread-compatible.
class TestMember {
 public:
  struct Start {
    HardState hard_state;
    Membership membership;
    MemoryLog log;
  };
  // Fails the test if it cannot be created.
  TestMember(const CoreConfig& config, Start start);
  TestMember(const CoreConfig& config, NodeId voters)
      : TestMember(config, Start{{}, VotersUpTo(voters), {}}) {}

  Core& core() { return *core_; }
  MemoryLog& log() { return *log_; }
  CoreStatus status() const { return core_->GetStatus(); }
  Role role() const { return status().soft_state.role; }
  uint64_t term() const { return status().hard_state.term; }
  uint64_t commit() const { return status().hard_state.commit; }
  uint64_t last_index() const { return status().last_index; }
  ProgressStatus progress(NodeId of) const { return status().progress.at(of); }

  // Takes a message in, wherever it belongs. Fails the test unless OK.
  void Step(const Message& message);
  void Tick(int count = 1);
  // Campaigns and hears a yes from as many as are needed. Entries and messages
  // of the new leader are still to be taken.
  void BecomeLeader();

  // Carries out everything that is ready: writes, syncs, applies, until nothing
  // is left. Returns what leaves for others.
  std::vector<Message> Take();
  // The same without the disk: what may leave at once. The rest waits for Sync.
  std::vector<Message> TakeUnsynced();
  // Completes the `count` oldest writes that wait, and takes what that allows.
  std::vector<Message> Sync(size_t count = ~size_t{0});
  size_t writes_waiting() const { return writes_.size(); }
  // Loses what waits, and starts again with what the log has, applied anew.
  void Restart(const Membership& membership_at_start);
  void set_apply(bool apply) { apply_ = apply; }
  // Hands out entries as applied that were held back by set_apply(false).
  void ApplyNow();

  // Everything that was applied, and all reads that were answered.
  const std::vector<LogEntry>& applied() const { return applied_; }
  // Payloads of those that are not empty.
  std::vector<std::string> AppliedPayloads() const;
  std::vector<ReadState> TakeReads() { return std::exchange(reads_, {}); }
  const SoftState& soft_state() const { return soft_state_; }

 private:
  void Create(const HardState& hard_state, const Membership& membership);
  void TakeOne(std::vector<Message>* out);
  void Complete(const LogWrite& write, std::vector<Message>* out);
  void Apply(const std::vector<LogEntry>& entries);

  CoreConfig config_;
  std::unique_ptr<MemoryLog> log_;  // Stays where it is when this moves.
  std::unique_ptr<Core> core_;
  std::deque<LogWrite> writes_;
  bool apply_ = true;
  std::vector<LogEntry> held_back_;
  std::vector<LogEntry> applied_;
  std::vector<ReadState> reads_;
  SoftState soft_state_;  // As it was announced last.
};

// ---------------------------------------------------------------------- group

// Members and what is between them: messages arrive in the order in which they
// were sent, unless a rule drops them. Thread-compatible.
class TestGroup {
 public:
  using Configure = std::function<void(CoreConfig&)>;

  // Voters 1 to `voters`, all with the same log and nothing else.
  explicit TestGroup(NodeId voters, const Configure& configure = {});
  // Of that membership; logs and terms by `start`, where it has any.
  TestGroup(const Membership& membership, const Configure& configure,
            std::map<NodeId, TestMember::Start> start = {});

  TestMember& operator[](NodeId id) { return *members_.at(id); }
  // One more, who knows nobody.
  void Add(NodeId id);

  // Delivers them, and all that follows, until nothing moves.
  void Send(std::vector<Message> messages);
  void Run() { Send({}); }
  void Campaign(NodeId id);
  // Campaigns and must win.
  void Elect(NodeId id);
  // Everybody, that often, delivering after each.
  void TickAll(int count);
  void Tick(NodeId id, int count);
  // Must be taken.
  EntryId Propose(NodeId id, const std::string& payload = "x");

  // Messages between them are lost, both ways; or of one type; or of one way.
  void Cut(NodeId a, NodeId b);
  void CutOneWay(NodeId from, NodeId to) { cut_.emplace(from, to); }
  void Isolate(NodeId id);
  void Ignore(MessageType type) { ignored_.insert(type); }
  // What is true is lost.
  void Lose(std::function<bool(const Message&)> rule) { rule_ = rule; }
  void Heal();

  // The one that leads the highest term; kNobody if none does.
  NodeId Leader();

 private:
  bool IsLost(const Message& message) const;

  std::map<NodeId, std::unique_ptr<TestMember>> members_;
  Configure configure_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::set<MessageType> ignored_;
  std::function<bool(const Message&)> rule_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_TEST_GROUP_H_
