#include "raft/core/testing/scripted_group.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "raft/core/testing/describe.h"
#include "raft/core/testing/mutants.h"

namespace millrace::raft {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

bool IsTrue(const TranscriptCommand& command, std::string_view key) {
  const std::vector<std::string> values = command.Values(key);
  return !values.empty() && values[0] == "true";
}

// What etcd-raft calls a Ready that must be synced: not of snapshots, whose
// bytes are durable by other means.
bool MustSync(const HardState& before, const HardState& now,
              const std::vector<LogEntry>& entries) {
  return !entries.empty() || before.term != now.term || before.vote != now.vote;
}

}  // namespace

void ScriptedGroup::Print(const std::string& text) {
  if (!quiet_) out_ += text;
}

void ScriptedGroup::Check(const absl::Status& status) {
  CHECK(status.ok()) << status;
}

void ScriptedGroup::Indented(const std::function<void()>& body) {
  std::string outer = std::exchange(out_, "");
  body();
  const std::string inner = std::exchange(out_, std::move(outer));
  for (const std::string& line : Lines(inner)) Print("  " + line + "\n");
}

std::string ScriptedGroup::Execute(const TranscriptCommand& command) {
  out_.clear();
  const std::string& name = command.name;
  const std::vector<uint64_t> numbers = name == "propose" || name == "log-level"
                                            ? std::vector<uint64_t>{}
                                            : command.Numbers();
  const auto node = [&]() -> Node& { return NodeAt(numbers.at(0)); };
  if (name == "add-nodes") {
    AddNodes(command);
  } else if (name == "campaign") {
    node().core->Campaign().IgnoreError();
  } else if (name == "compact") {
    node().log.DropThrough(numbers.at(1));
    RaftLog(node());
  } else if (name == "deliver-msgs") {
    DeliverCommand(command);
  } else if (name == "process-ready") {
    ForEach(command, "handling Ready", &ScriptedGroup::ProcessReady);
  } else if (name == "process-append-thread") {
    ForEach(command, "processing append thread",
            &ScriptedGroup::ProcessAppendThread);
  } else if (name == "process-apply-thread") {
    ForEach(command, "processing apply thread",
            &ScriptedGroup::ProcessApplyThread);
  } else if (name == "log-level") {
    quiet_ = command.arguments.at(0).key == "none";
  } else if (name == "raft-log") {
    RaftLog(node());
  } else if (name == "raft-state") {
    RaftState();
  } else if (name == "status") {
    Status(node());
  } else if (name == "set-randomized-election-timeout") {
    node().core->SetElectionTimeout(std::stoi(command.Values("timeout").at(0)));
  } else if (name == "stabilize") {
    const bool was_quiet = quiet_;
    if (!command.Values("log-level").empty()) {
      quiet_ = command.Values("log-level")[0] == "none";
    }
    Stabilize(numbers);
    quiet_ = was_quiet;
  } else if (name == "tick-election") {
    for (int i = 0; i < node().config.election_ticks; ++i) {
      Check(node().core->Tick());
    }
  } else if (name == "tick-heartbeat") {
    Check(node().core->Tick());
  } else if (name == "tick") {
    for (uint64_t i = 0; i < numbers.at(1); ++i) Check(node().core->Tick());
  } else if (name == "transfer-leadership") {
    const uint64_t from = std::stoull(command.Values("from").at(0));
    const uint64_t to = std::stoull(command.Values("to").at(0));
    NodeAt(from).core->TransferLeadership(to).IgnoreError();
  } else if (name == "send-snapshot") {
    SendSnapshot(numbers.at(0), numbers.at(1));
  } else if (name == "snapshot-sent") {
    node().core->SnapshotSent(numbers.at(1), IsTrue(command, "ok"));
  } else if (name == "report-unreachable") {
    node().core->ReportUnreachable(numbers.at(1));
  } else if (name == "propose") {
    const auto place = NodeAt(std::stoull(command.arguments.at(0).key))
                           .core->Propose({command.arguments.at(1).key});
    if (!place.ok()) out_ += "raft proposal dropped\n";
  } else if (name == "propose-conf-change") {
    const auto place =
        node().core->ProposeMembership(ParseChange(Lines(command.input).at(0)));
    if (!place.ok()) out_ += Cat(ToStd(place.status().message()), "\n");
  } else if (name == "read") {
    const absl::Status status = node().core->ReadIndex(numbers.at(1));
    if (!status.ok()) out_ += Cat(ToStd(status.message()), "\n");
  } else if (name == "committed") {
    Print(node().applied + "\n");
  } else if (name == "crash") {
    Crash(numbers.at(0));
  } else {
    out_ += "unknown command\n";
  }
  return out_.empty() ? "ok\n" : out_;
}

// -------------------------------------------------------------------- members

void ScriptedGroup::AddNodes(const TranscriptCommand& command) {
  SnapshotMeta snapshot;
  for (const std::string& id : command.Values("voters")) {
    snapshot.membership[std::stoull(id)].voter = true;
  }
  for (const std::string& id : command.Values("learners")) {
    snapshot.membership[std::stoull(id)].voter = false;
  }
  for (const std::string& index : command.Values("index")) {
    snapshot.last = {1, std::stoull(index)};
  }
  for (uint64_t i = 0; i < command.Numbers().at(0); ++i) {
    const NodeId id = nodes_.size() + 1;
    Node& node = nodes_[id];
    CoreConfig& config = node.config;
    config.id = id;
    config.election_ticks = 3;
    config.heartbeat_ticks = 1;
    config.append_bytes_max = kNoLimit;
    config.inflight_messages_max = 1 << 30;
    for (const std::string& count : command.Values("inflight")) {
      config.inflight_messages_max = std::stoi(count);
    }
    for (const std::string& bytes : command.Values("append-bytes")) {
      config.append_bytes_max = std::stoull(bytes);
    }
    config.inflight_bytes_max = kNoLimit;
    config.uncommitted_bytes_max = kNoLimit;
    config.committed_bytes_max = kNoLimit;
    config.stuck_write_ticks = 0;
    config.applied = snapshot.last.index;
    config.pre_vote = IsTrue(command, "prevote");
    config.check_quorum = IsTrue(command, "checkquorum");
    config.mutant = options_.mutant;
    config.habits = options_.habits;
    for (const std::string& name : command.Values("mutant")) {
      CHECK(SetMutant(name, &config.mutant)) << name;
    }
    node.async = IsTrue(command, "async-storage-writes");
    if (snapshot.last.index > 0) node.log = MemoryLog(snapshot);
    node.history[snapshot.last.index] = snapshot.membership;
    StartCore(node, HardState{});
  }
}

void ScriptedGroup::StartCore(Node& node, const HardState& hard_state) {
  auto core = Core::Create(node.config, hard_state,
                           std::prev(node.history.end())->second, node.log);
  CHECK(core.ok()) << core.status();
  node.core = *std::move(core);
  node.hard_state = node.core->GetStatus().hard_state;
  node.soft_state = node.core->GetStatus().soft_state;
  node.shown_committed = node.config.applied;
}

// The disk keeps what the append thread has written; the rest of the log's
// entries is applied again.
void ScriptedGroup::Crash(uint64_t id) {
  Node& node = NodeAt(id);
  node.ready = {};
  node.writes.clear();
  node.append_work.clear();
  node.apply_work.clear();
  std::erase_if(wire_, [id](const Envelope& envelope) {
    return envelope.local() && envelope.message.to == id;
  });
  node.config.applied = node.log.first_index() - 1;
  node.history.erase(node.history.upper_bound(node.config.applied),
                     node.history.end());
  node.applied.clear();
  StartCore(node, node.log.hard_state());
}

// ------------------------------------------------------------------- messages

void ScriptedGroup::DeliverCommand(const TranscriptCommand& command) {
  const std::vector<std::string> types = command.Values("type");
  const std::string type = types.empty() ? "" : types[0];
  const std::vector<std::string> senders = command.Values("from");
  const NodeId from = senders.empty() ? kNobody : std::stoull(senders[0]);
  int count = 0;
  for (const TranscriptArgument& argument : command.arguments) {
    if (argument.values.empty()) {
      count += Deliver(std::stoull(argument.key), type, from, false);
    } else if (argument.key == "drop") {
      for (const std::string& id : argument.values) {
        count += Deliver(std::stoull(id), type, from, true);
      }
    }
  }
  if (count == 0) Print("no messages\n");
}

int ScriptedGroup::Deliver(uint64_t to, const std::string& type, NodeId from,
                           bool drop) {
  const auto is_wanted = [&](const Envelope& envelope) {
    const Message& message = envelope.message;
    if (message.to != to) return false;
    if (envelope.local()) return type.empty() && from == kNobody && !drop;
    return (from == kNobody || message.from == from) &&
           (type.empty() || DescribeMessage(message).find(" " + type + " ") !=
                                std::string::npos);
  };
  std::deque<Envelope> taken;
  std::deque<Envelope> left;
  for (Envelope& envelope : wire_) {
    (is_wanted(envelope) ? taken : left).push_back(std::move(envelope));
  }
  wire_ = std::move(left);
  for (const Envelope& envelope : taken) {
    if (!envelope.local()) {
      Print(Cat(drop ? "dropped: " : "", DescribeMessage(envelope.message),
                "\n"));
    }
    if (!drop) DeliverOne(envelope);
  }
  return static_cast<int>(taken.size());
}

void ScriptedGroup::DeliverOne(const Envelope& envelope) {
  const Message& message = envelope.message;
  Core& core = *NodeAt(message.to).core;
  if (envelope.durable_write > 0) {
    Check(core.LogDurable(envelope.durable_write));
  } else if (envelope.applied_index > 0) {
    Check(core.Applied(envelope.applied_index));
  } else if (message.type == MessageType::kSnapshot) {
    Check(core.InstallSnapshot(message));
  } else {
    const bool response = message.type == MessageType::kAppendResponse ||
                          message.type == MessageType::kVoteResponse ||
                          message.type == MessageType::kPreVoteResponse ||
                          message.type == MessageType::kHeartbeatResponse;
    if (response && !core.GetStatus().membership.contains(message.from)) {
      Print("raft: cannot step as peer not found\n");
    }
    Check(core.Step(message));
  }
}

void ScriptedGroup::SendSnapshot(uint64_t from, uint64_t to) {
  const Node& node = NodeAt(from);
  Message message;
  message.type = MessageType::kSnapshot;
  message.from = from;
  message.to = to;
  message.term = node.core->GetStatus().hard_state.term;
  message.snapshot = node.log.Snapshot();
  Print(DescribeMessage(message) + "\n");
  wire_.push_back({message, 0, 0});
}

bool ScriptedGroup::Awaits(uint64_t to) const {
  return std::any_of(wire_.begin(), wire_.end(),
                     [to](const Envelope& e) { return e.message.to == to; });
}

// ---------------------------------------------------------------------- Ready

// A core's Readys are taken as they come and shown as one, as a core would have
// given it that is asked later.
void ScriptedGroup::Pull(Node& node) {
  if (!node.core->HasReady()) return;
  absl::StatusOr<Ready> taken = node.core->TakeReady();
  Check(taken.status());
  Ready& ready = node.ready;
  for (Message& message : taken->messages) ready.messages.push_back(message);
  for (LogEntry& entry : taken->committed) ready.committed.push_back(entry);
  for (ReadState& read : taken->reads) ready.reads.push_back(read);
  if (taken->write.has_value()) node.writes.push_back(*taken->write);
}

bool ScriptedGroup::HasVisibleReady(Node& node) {
  Pull(node);
  const SoftState soft = node.core->GetStatus().soft_state;
  return !node.ready.messages.empty() || !node.ready.committed.empty() ||
         !node.ready.reads.empty() || !node.writes.empty() ||
         soft.leader != node.soft_state.leader ||
         soft.role != node.soft_state.role;
}

std::string ScriptedGroup::DescribeVisible(
    const Node& node, const Ready& shown, const std::vector<LogWrite>& writes) {
  const CoreStatus status = node.core->GetStatus();
  const SoftState& soft = status.soft_state;
  std::string text;
  if (soft.leader != node.soft_state.leader ||
      soft.role != node.soft_state.role) {
    text += Cat("Lead:", soft.leader, " State:", DescribeRole(soft.role), "\n");
  }
  if (status.hard_state != node.hard_state) {
    text += Cat("HardState ", DescribeHardState(status.hard_state), "\n");
  }
  for (const ReadState& read : shown.reads) {
    text +=
        Cat("Read ", read.id, " ",
            read.index.has_value() ? Cat("at ", *read.index) : "failed", "\n");
  }
  std::vector<LogEntry> entries;
  std::optional<SnapshotMeta> snapshot;
  for (const LogWrite& write : writes) {
    if (write.snapshot.has_value()) {
      snapshot = write.snapshot;
      entries.clear();
    }
    while (!entries.empty() && write.truncate_from.has_value() &&
           entries.back().index >= *write.truncate_from) {
      entries.pop_back();
    }
    entries.insert(entries.end(), write.entries.begin(), write.entries.end());
  }
  if (!entries.empty()) text += "Entries:\n" + DescribeEntries(entries);
  if (snapshot.has_value()) {
    text += Cat("Snapshot ", DescribeSnapshot(*snapshot), "\n");
  }
  if (!shown.committed.empty()) {
    text += "CommittedEntries:\n" + DescribeEntries(shown.committed);
  }
  std::vector<Message> messages = shown.messages;
  if (!node.async) {
    for (const LogWrite& write : writes) {
      messages.insert(messages.end(), write.messages.begin(),
                      write.messages.end());
    }
  }
  if (!messages.empty()) text += "Messages:\n";
  for (const Message& message : messages) {
    text += DescribeMessage(message) + "\n";
  }
  for (const LogWrite& write : writes) {
    if (!node.async || !options_.print_writes) continue;
    text += Cat("Write ", write.id, write.must_sync ? " sync" : "",
                write.messages.empty() ? "" : ", then:", "\n");
    for (const Message& message : write.messages) {
      text += DescribeMessage(message) + "\n";
    }
  }
  if (text.empty()) return "<empty Ready>\n";
  return Cat(
      "Ready MustSync=",
      MustSync(node.hard_state, status.hard_state, entries) ? "true" : "false",
      ":\n", text);
}

void ScriptedGroup::ProcessReady(uint64_t id) {
  Node& node = NodeAt(id);
  Pull(node);
  Ready ready = std::exchange(node.ready, {});
  std::vector<LogWrite> writes = std::exchange(node.writes, {});
  if (!ready.committed.empty()) {
    node.shown_committed = ready.committed.back().index;
  }
  const CoreStatus status = node.core->GetStatus();
  // What becomes appliable by being synced at once.
  size_t early = 0;
  for (const LogWrite& write : writes) {
    if (node.async) break;
    if (write.snapshot.has_value()) {
      node.shown_committed = write.snapshot->last.index;
      break;
    }
    for (const LogEntry& entry : write.entries) {
      if (entry.index != node.shown_committed + 1 ||
          entry.index > status.hard_state.commit) {
        continue;
      }
      ready.committed.push_back(entry);
      node.shown_committed = entry.index;
      ++early;
    }
  }
  Print(DescribeVisible(node, ready, writes));
  node.hard_state = status.hard_state;
  node.soft_state = status.soft_state;
  for (Message& message : ready.messages) wire_.push_back({message, 0, 0});
  if (node.async) {
    if (!writes.empty()) node.append_work.push_back(std::move(writes));
    if (!ready.committed.empty()) node.apply_work.push_back(ready.committed);
    return;
  }
  for (const LogWrite& write : writes) {
    node.log.Write(write);
    if (write.snapshot.has_value()) {
      node.history[write.snapshot->last.index] = write.snapshot->membership;
    }
    for (const Message& message : write.messages) {
      wire_.push_back({message, 0, 0});
    }
  }
  ApplyEntries(node, ready.committed);
  if (!writes.empty()) Check(node.core->LogDurable(writes.back().id));
  if (early > 0) {
    Pull(node);
    CHECK_GE(node.ready.committed.size(), early);
    node.ready.committed.erase(
        node.ready.committed.begin(),
        node.ready.committed.begin() + static_cast<int64_t>(early));
  }
  if (!ready.committed.empty()) {
    Check(node.core->Applied(ready.committed.back().index));
  }
}

void ScriptedGroup::ProcessAppendThread(uint64_t id) {
  Node& node = NodeAt(id);
  if (node.append_work.empty()) {
    Print("no append work to perform\n");
    return;
  }
  const std::vector<LogWrite> writes = std::move(node.append_work.front());
  node.append_work.pop_front();
  Print("Processing:\nResponses:\n");
  for (const LogWrite& write : writes) {
    node.log.Write(write);
    if (write.snapshot.has_value()) {
      node.history[write.snapshot->last.index] = write.snapshot->membership;
    }
    for (const Message& message : write.messages) {
      Print(DescribeMessage(message) + "\n");
      wire_.push_back({message, 0, 0});
    }
  }
  Envelope durable;
  durable.message.to = id;
  durable.durable_write = writes.back().id;
  wire_.push_back(durable);
}

void ScriptedGroup::ProcessApplyThread(uint64_t id) {
  Node& node = NodeAt(id);
  if (node.apply_work.empty()) {
    Print("no apply work to perform\n");
    return;
  }
  const std::vector<LogEntry> entries = std::move(node.apply_work.front());
  node.apply_work.pop_front();
  Print("Processing:\nResponses:\n");
  ApplyEntries(node, entries);
  Envelope applied;
  applied.message.to = id;
  applied.applied_index = entries.back().index;
  wire_.push_back(applied);
}

void ScriptedGroup::ApplyEntries(Node& node,
                                 const std::vector<LogEntry>& entries) {
  for (const LogEntry& entry : entries) {
    if (entry.kind == kMembershipEntry) {
      const auto change = DecodeMembershipChange(entry.payload);
      Check(change.status());
      Check(node.core->ApplyMembership(*change));
      node.history[entry.index] = node.core->GetStatus().membership;
    } else if (!entry.payload.empty()) {
      node.applied += entry.payload + ";";
    }
    // The newest snapshot is always that of the state as it is.
    node.log.TakeSnapshot(
        {{entry.term, entry.index}, std::prev(node.history.end())->second});
  }
}

void ScriptedGroup::ForEach(const TranscriptCommand& command,
                            const std::string& title,
                            void (ScriptedGroup::*process)(uint64_t)) {
  const std::vector<uint64_t> ids = command.Numbers();
  for (const uint64_t id : ids) {
    if (ids.size() == 1) {
      (this->*process)(id);
      continue;
    }
    Print(Cat("> ", id, " ", title, "\n"));
    Indented([&] { (this->*process)(id); });
  }
}

// Everything that members have to do, until nothing is left.
void ScriptedGroup::Stabilize(std::vector<uint64_t> ids) {
  if (ids.empty()) {
    for (const auto& [id, node] : nodes_) ids.push_back(id);
  }
  bool busy = true;
  const auto run = [&](uint64_t id, std::string_view title, const auto& body) {
    busy = true;
    Print(Cat("> ", id, " ", title, "\n"));
    Indented(body);
  };
  while (busy) {
    busy = false;
    for (const uint64_t id : ids) {
      if (HasVisibleReady(NodeAt(id))) {
        run(id, "handling Ready", [&] { ProcessReady(id); });
      }
    }
    for (const uint64_t id : ids) {
      if (Awaits(id)) {
        run(id, "receiving messages", [&] { Deliver(id, "", kNobody, false); });
      }
    }
    for (const uint64_t id : ids) {
      Node& node = NodeAt(id);
      if (node.append_work.empty()) continue;
      run(id, "processing append thread", [&] {
        while (!node.append_work.empty()) ProcessAppendThread(id);
      });
    }
    for (const uint64_t id : ids) {
      Node& node = NodeAt(id);
      if (node.apply_work.empty()) continue;
      run(id, "processing apply thread", [&] {
        while (!node.apply_work.empty()) ProcessApplyThread(id);
      });
    }
  }
}

// ------------------------------------------------------------------ questions

void ScriptedGroup::RaftLog(const Node& node) {
  if (node.log.entries().empty()) {
    Print(Cat("log is empty: first index=", node.log.first_index(),
              ", last index=", node.log.last_index(), "\n"));
  } else {
    Print(DescribeEntries(node.log.entries()));
  }
}

void ScriptedGroup::RaftState() {
  for (const auto& [id, node] : nodes_) {
    const CoreStatus status = node.core->GetStatus();
    const auto self = status.membership.find(id);
    const bool voter = self != status.membership.end() && self->second.voter;
    Print(Cat(id, ": ", DescribeRole(status.soft_state.role),
              voter ? " (Voter)" : " (Non-Voter)",
              " Term:", status.hard_state.term,
              " Lead:", status.soft_state.leader, "\n"));
  }
}

void ScriptedGroup::Status(const Node& node) {
  for (const auto& [id, progress] : node.core->GetStatus().progress) {
    Print(Cat(id, ": ", DescribeProgress(progress), "\n"));
  }
}

}  // namespace millrace::raft
