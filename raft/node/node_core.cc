#include "raft/node/node_core.h"

#include <algorithm>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/membership.h"

namespace millrace::raft {
namespace {

SnapshotMeta MetaOf(const NodeLog& log) { return log.Snapshot(); }

uint64_t PayloadBytes(const std::vector<LogEntry>& entries) {
  uint64_t bytes = 0;
  for (const LogEntry& entry : entries) bytes += entry.payload.size();
  return bytes;
}

}  // namespace

bool IsLazy(const LogWrite& write) {
  return !write.must_sync && write.messages.empty();
}

void Deliver(Delivery delivery, LogSink& sink, ProposalGate& gate,
             const LogSink::SnapshotTaken& taken) {
  switch (delivery.kind) {
    case Delivery::Kind::kEntries:
      sink.OnCommitted(std::move(delivery.entries));
      if (delivery.released > 0) {
        gate.Release(delivery.term, delivery.released);
      }
      break;
    case Delivery::Kind::kSnapshot:
      sink.OnSnapshot(delivery.last.index, delivery.last.term,
                      std::move(delivery.state));
      break;
    case Delivery::Kind::kSnapshotWanted:
      sink.OnSnapshotWanted(taken);
      break;
    case Delivery::Kind::kLeading:
      sink.OnLeading(delivery.term);
      break;
    case Delivery::Kind::kFollowing:
      sink.OnFollowing(delivery.term, std::move(delivery.leader_address));
      break;
    case Delivery::Kind::kAnswer:
      delivery.answer(std::move(delivery.status));
      break;
  }
}

// ------------------------------------------------------------------- starting

absl::StatusOr<std::unique_ptr<NodeCore>> NodeCore::Create(
    const NodeCoreOptions& options, NodeStart start, NodeLog& log,
    ProposalGate& gate) {
  CoreConfig config = options.core;
  config.id = start.self;
  config.applied = log.Snapshot().last.index;
  MR_ASSIGN_OR_RETURN(
      std::unique_ptr<Core> core,
      Core::Create(config, start.hard_state, start.membership, log));
  return std::unique_ptr<NodeCore>(
      new NodeCore(options, std::move(start), log, gate, std::move(core)));
}

NodeCore::NodeCore(const NodeCoreOptions& options, NodeStart start,
                   NodeLog& log, ProposalGate& gate, std::unique_ptr<Core> core)
    : options_(options),
      self_(start.self),
      started_at_(core->GetStatus().hard_state.commit),
      log_(log),
      gate_(gate),
      core_(std::move(core)),
      address_(options.address),
      membership_(std::move(start.membership)),
      soft_(core_->GetStatus().soft_state),
      handed_over_(MetaOf(log).last.index),
      applied_(handed_over_),
      snapshots_(options.snapshots, handed_over_, start.older_snapshot,
                 membership_) {
  if (start.state != nullptr) {
    Delivery& delivery = Push(Delivery::Kind::kSnapshot);
    delivery.last = MetaOf(log).last;
    delivery.state = std::move(start.state);
  }
  SetPeers();
}

// A group of one need not wait for the silence of a leader.
void NodeCore::StandAlone() {
  if (stood_alone_ || applied_ < started_at_ || !AloneVoter()) return;
  stood_alone_ = true;
  core_->Campaign().IgnoreError();  // If not now, then when it times out.
}

bool NodeCore::AloneVoter() const {
  for (const auto& [node, member] : membership_) {
    if (member.voter && node != self_) return false;
  }
  const auto self = membership_.find(self_);
  return self != membership_.end() && self->second.voter;
}

// --------------------------------------------------------------------- events

absl::Status NodeCore::Tick() {
  ++now_;
  SendHeld();
  snapshots_.Tick();
  TickFullDisk();
  ProposeOwnAddress();
  return core_->Tick();
}

absl::Status NodeCore::OnMessage(Message message) {
  // What cannot be written is not taken into memory either; the leader asks
  // again.
  if (blocked_ && message.type == MessageType::kAppend &&
      !message.entries.empty()) {
    return absl::OkStatus();
  }
  return core_->Step(std::move(message));
}

void NodeCore::Propose(uint64_t term, std::vector<std::string> payloads) {
  if (!payloads.empty()) proposals_.push_back({term, std::move(payloads)});
}

void NodeCore::ConfirmLeading(uint64_t term, Answer done) {
  confirmations_.Ask(term, std::move(done));
}

absl::Status NodeCore::TransferLeadership(NodeId to) {
  if (to == kNobody) {
    const CoreStatus status = core_->GetStatus();
    uint64_t best = 0;
    for (const auto& [node, progress] : status.progress) {
      if (node == self_ || progress.learner || !progress.recently_active) {
        continue;
      }
      if (to == kNobody || progress.match > best) {
        to = node;
        best = progress.match;
      }
    }
    if (to == kNobody) {
      return absl::FailedPreconditionError(
          status.soft_state.role == Role::kLeader
              ? "there is no other voter that answers"
              : "this master does not lead");
    }
  }
  return core_->TransferLeadership(to);
}

void NodeCore::OnLogBlocked(bool blocked) {
  if (blocked == blocked_) return;
  blocked_ = blocked;
  gate_.SetBlocked(blocked);
  if (blocked) HandOverLeadership();
}

void NodeCore::OnNearlyFull(bool nearly_full) {
  if (nearly_full == nearly_full_) return;
  nearly_full_ = nearly_full;
  // A newer snapshot lets go of what of the log is older than the last one.
  if (nearly_full) snapshots_.MakeDue();
  hand_over_wait_ = 5 * static_cast<uint64_t>(options_.core.election_ticks);
  hand_over_at_ = now_ + hand_over_wait_;
}

// Others may have space. Whether they do is not known here, so if it comes back
// it stays for longer each time: a group that is full everywhere must not fill
// what is left with changes of its leader.
void NodeCore::TickFullDisk() {
  const auto election = static_cast<uint64_t>(options_.core.election_ticks);
  if (blocked_ && now_ % election == 0) HandOverLeadership();
  if (!nearly_full_ || leading_ == 0 || now_ < hand_over_at_) return;
  HandOverLeadership();
  hand_over_wait_ *= 2;
  hand_over_at_ = now_ + hand_over_wait_;
}

void NodeCore::HandOverLeadership() {
  if (soft_.role == Role::kLeader) TransferLeadership(kNobody).IgnoreError();
}

// -------------------------------------------------------------------- the log

absl::Status NodeCore::OnLogDurable(uint64_t write_id) {
  // The core looks at the log as soon as it hears of it.
  std::optional<Received> installed;
  while (!received_.empty() && received_.front().write_id != 0 &&
         received_.front().write_id <= write_id) {
    installed = std::move(received_.front());
    received_.pop_front();
    log_.SetSnapshot(installed->meta);
  }
  MR_RETURN_IF_ERROR(core_->LogDurable(write_id));
  if (installed.has_value()) SnapshotDurable(*std::move(installed));
  return absl::OkStatus();
}

void NodeCore::SnapshotDurable(Received received) {
  const EntryId last = received.meta.last;
  membership_ = received.meta.membership;
  snapshots_.Installed(last.index, membership_);
  unapplied_.clear();
  handed_over_ = applied_ = last.index;
  Delivery& delivery = Push(Delivery::Kind::kSnapshot);
  delivery.last = last;
  delivery.state = std::move(received.state);
  SetPeers();
}

absl::Status NodeCore::OnSnapshotReceived(const Message& message,
                                          std::unique_ptr<ByteSource> state) {
  // Of one that came again and was not taken the first time, once is enough.
  if (message.snapshot.has_value() &&
      (received_.empty() ||
       received_.back().meta.last != message.snapshot->last)) {
    received_.push_back({*message.snapshot, std::move(state), 0});
  }
  return core_->InstallSnapshot(message);
}

// A snapshot that came and that the log did not have to begin anew for is the
// newest one in the store all the same, once this member has come so far.
void NodeCore::AdoptStoredSnapshots() {
  while (!received_.empty() && received_.front().write_id == 0 &&
         received_.front().meta.last.index <= applied_) {
    SnapshotMeta& meta = received_.front().meta;
    if (meta.last.index > log_.Snapshot().last.index) {
      snapshots_.Adopted(meta.last.index);
      log_.SetSnapshot(std::move(meta));
    }
    received_.pop_front();
  }
}

absl::Status NodeCore::OnSnapshotWritten(std::optional<uint64_t> bytes) {
  const std::optional<SnapshotCycle::Write> write = snapshots_.Written(bytes);
  if (!write.has_value() || Installing() ||
      write->index <= log_.Snapshot().last.index) {
    return absl::OkStatus();
  }
  MR_ASSIGN_OR_RETURN(const uint64_t term, log_.Term(write->index));
  log_.SetSnapshot({{term, write->index}, write->membership});
  DropLog();
  return absl::OkStatus();
}

bool NodeCore::Installing() const {
  return std::any_of(
      received_.begin(), received_.end(),
      [](const Received& received) { return received.write_id != 0; });
}

void NodeCore::DropLog() {
  const uint64_t through = snapshots_.drop_through();
  if (through <= dropped_through_ || through < log_.first_index()) return;
  dropped_through_ = through;
  log_.Forget(through + 1);
  effects_.drop_through = through;
}

// -------------------------------------------------------------------- effects

absl::StatusOr<NodeEffects> NodeCore::TakeEffects() {
  MR_RETURN_IF_ERROR(Pump());
  return std::exchange(effects_, NodeEffects());
}

absl::Status NodeCore::Pump() {
  for (bool more = true; more;) {
    StandAlone();
    while (core_->HasReady()) {
      MR_ASSIGN_OR_RETURN(Ready ready, core_->TakeReady());
      MR_RETURN_IF_ERROR(Carry(std::move(ready)));
    }
    // Here the core's role is the one that this class knows of.
    MR_ASSIGN_OR_RETURN(more, ProposeQueued());
    FollowUpChanges();
    if (core_->HasReady()) more = true;
    Confirmations::Answers answers;
    if (confirmations_.BeginRound(*core_, leading_, &answers)) more = true;
    Reply(std::move(answers));
  }
  AdoptStoredSnapshots();
  Announce();
  return TakeSnapshots();
}

absl::Status NodeCore::Carry(Ready ready) {
  for (Message& message : ready.messages) SendOrHold(std::move(message));
  if (ready.write.has_value()) {
    if (ready.write->snapshot.has_value()) {
      // Those that came before it are of no use any more.
      while (!received_.empty() &&
             received_.front().meta.last != ready.write->snapshot->last) {
        received_.pop_front();
      }
      if (received_.empty()) {
        return absl::InternalError("a snapshot is installed that never came");
      }
      received_.front().write_id = ready.write->id;
    }
    effects_.writes.push_back(*std::move(ready.write));
  }
  if (!ready.committed.empty()) {
    MR_RETURN_IF_ERROR(HandOver(std::move(ready.committed)));
  }
  // What was committed in a term before its end is announced.
  if (ready.soft_state.has_value()) SwitchRole(*ready.soft_state);
  Confirmations::Answers answers;
  for (const ReadState& read : ready.reads) {
    confirmations_.OnRead(read, &answers);
  }
  confirmations_.OnHandedOver(handed_over_, &answers);
  Reply(std::move(answers));
  return absl::OkStatus();
}

// A commit index is told to a member by the next entries for it. Alone it goes
// at the next tick: nobody waits for what a follower applies, and sent at once
// it would double the number of messages wherever one entry is under way at a
// time.
void NodeCore::SendOrHold(Message message) {
  if (message.type == MessageType::kAppend) {
    uint64_t& told = told_commit_[message.to];
    const bool tells = message.commit > told;
    told = std::max(told, message.commit);
    if (tells && message.entries.empty() && FollowsClosely(message.to)) {
      held_.insert_or_assign(message.to, std::move(message));
      return;
    }
    held_.erase(message.to);  // This one says as much.
  }
  effects_.send.push_back(std::move(message));
}

void NodeCore::SendHeld() {
  for (auto& [node, message] : held_) {
    effects_.send.push_back(std::move(message));
  }
  held_.clear();
}

// Whether what the member is sent is no question, whose answer decides what it
// is sent next.
bool NodeCore::FollowsClosely(NodeId node) const {
  const auto progress = core_->GetStatus().progress;
  const auto found = progress.find(node);
  return found != progress.end() &&
         found->second.state == ProgressStatus::State::kReplicate &&
         !found->second.inflight_full;
}

absl::Status NodeCore::HandOver(std::vector<LogEntry> entries) {
  const uint64_t payload_bytes = PayloadBytes(entries);
  bool changes = false;
  uint64_t released = 0, bytes = 0;
  std::vector<CommittedEntry> committed;
  committed.reserve(entries.size());
  for (LogEntry& entry : entries) {
    handed_over_ = entry.index;
    if (entry.kind == kMembershipEntry) {
      auto change = DecodeMembershipChange(entry.payload);
      if (!change.ok()) {
        return Annotate(change.status(), Cat("log entry ", entry.index));
      }
      unapplied_.push_back({{entry.term, entry.index}, *std::move(change)});
      changes = true;
      continue;
    }
    if (entry.payload.empty()) continue;  // A new leader's first.
    const uint64_t cost = ProposalCost(entry.payload.size());
    bytes += cost;
    if (entry.term == leading_) released += cost;
    committed.push_back({entry.index, entry.term, std::move(entry.payload)});
  }
  if (committed.empty()) {
    if (unreported_.empty()) return ApplyThrough(handed_over_);
    unreported_.back().through = handed_over_;
    return absl::OkStatus();
  }
  snapshots_.HandedOver(committed.size(), bytes);
  unreported_bytes_ += payload_bytes;
  const bool urgent =
      changes || leading_ == 0 ||
      unreported_bytes_ >= options_.core.committed_bytes_max / 4;
  Delivery& delivery = Push(Delivery::Kind::kEntries);
  delivery.term = leading_;
  delivery.released = released;
  delivery.entries = std::move(committed);
  delivery.urgent = urgent;
  unreported_.push_back({delivery.id, handed_over_, payload_bytes});
  return absl::OkStatus();
}

absl::Status NodeCore::OnDelivered(uint64_t delivery_id) {
  uint64_t through = 0;
  while (!unreported_.empty() && unreported_.front().id <= delivery_id) {
    through = unreported_.front().through;
    unreported_bytes_ -= unreported_.front().bytes;
    unreported_.pop_front();
  }
  // Of entries that a snapshot has replaced meanwhile there is nothing to say.
  return through > applied_ ? ApplyThrough(through) : absl::OkStatus();
}

absl::Status NodeCore::ApplyThrough(uint64_t index) {
  while (!unapplied_.empty() && unapplied_.front().id.index <= index) {
    const UnappliedChange unapplied = std::move(unapplied_.front());
    unapplied_.pop_front();
    MR_RETURN_IF_ERROR(Apply(unapplied));
  }
  applied_ = index;
  while (!settling_.empty() && settling_.front().followed_by != 0 &&
         settling_.front().followed_by <= index) {
    Reply(std::move(settling_.front().done), absl::OkStatus());
    settling_.pop_front();
  }
  return core_->Applied(index);
}

// ----------------------------------------------------------------- leadership

void NodeCore::SwitchRole(const SoftState& soft) {
  soft_ = soft;
  if (soft.role != Role::kLeader) {
    SendHeld();
    told_commit_.clear();
  }
  const uint64_t leading = soft.leading ? soft.term : 0;
  if (soft.role != Role::kLeader || leading != leading_) {
    // Those that were proposed in a term that is over.
    std::erase_if(changes_, [&](auto& entry) {
      if (soft.role == Role::kLeader && entry.second.term == soft.term) {
        return false;
      }
      Reply(std::move(entry.second.done),
            absl::UnavailableError(
                "this master lost its leadership; whether the change is made "
                "is not known"));
      return true;
    });
  }
  if (leading == leading_) return;
  for (SettlingChange& change : settling_) {
    Reply(std::move(change.done),
          absl::UnavailableError(
              "the change is made, but this master lost its leadership before "
              "it was certain that enough others know of it"));
  }
  settling_.clear();
  if (leading_ != 0) gate_.Close();
  leading_ = leading;
  if (leading_ != 0) gate_.Open(leading_);
  Announce();
}

void NodeCore::Announce() {
  // First comes all that was known to be committed at the start.
  if (handed_over_ < started_at_) return;
  Announced now;
  now.leading = leading_ != 0;
  now.term = soft_.term;
  if (!now.leading && soft_.leader != self_) {
    const auto leader = membership_.find(soft_.leader);
    if (leader != membership_.end()) {
      now.leader_address = leader->second.address;
    }
  }
  // Who is alone is about to lead, unless its disk is full.
  if (!announced_.has_value() && !now.leading && AloneVoter() &&
      now_ < 2 * static_cast<uint64_t>(options_.core.election_ticks)) {
    return;
  }
  if (announced_ == now) return;
  announced_ = now;
  Delivery& delivery =
      Push(now.leading ? Delivery::Kind::kLeading : Delivery::Kind::kFollowing);
  delivery.term = now.term;
  delivery.leader_address = std::move(now.leader_address);
}

absl::StatusOr<bool> NodeCore::ProposeQueued() {
  while (!proposals_.empty() && proposals_.front().term != leading_) {
    proposals_.pop_front();
  }
  // While leadership is being handed over they wait for how it ends.
  if (proposals_.empty() || !core_->TakesProposals()) return false;
  std::vector<std::string> payloads;
  uint64_t bytes = 0;
  while (!proposals_.empty() && proposals_.front().term == leading_) {
    std::vector<std::string>& next = proposals_.front().payloads;
    uint64_t next_bytes = 0;
    for (const std::string& payload : next) next_bytes += payload.size();
    if (!payloads.empty() && bytes + next_bytes > options_.group_bytes_max) {
      break;
    }
    bytes += next_bytes;
    if (payloads.empty()) {
      payloads = std::move(next);
    } else {
      std::move(next.begin(), next.end(), std::back_inserter(payloads));
    }
    proposals_.pop_front();
  }
  MR_RETURN_IF_ERROR(core_->Propose(std::move(payloads)).status());
  return true;
}

// ------------------------------------------------------------------ snapshots

absl::Status NodeCore::TakeSnapshots() {
  // What was taken is of no use then, and the log may already have begun anew
  // behind its last entry.
  if (Installing()) return absl::OkStatus();
  if (snapshots_.TakeWanted()) Push(Delivery::Kind::kSnapshotWanted);
  if (const auto write = snapshots_.TakeWrite(applied_)) {
    MR_ASSIGN_OR_RETURN(const uint64_t term, log_.Term(write->index));
    effects_.write_snapshot = NodeEffects::WriteSnapshot{
        {term, write->index}, EncodeMembership(write->membership)};
  }
  if (snapshots_.TakeForget()) effects_.forget_snapshot = true;
  return absl::OkStatus();
}

// ---------------------------------------------------------------------- rest

Delivery& NodeCore::Push(Delivery::Kind kind) {
  Delivery& delivery = effects_.deliveries.emplace_back();
  delivery.kind = kind;
  delivery.id = ++last_delivery_;
  return delivery;
}

void NodeCore::Reply(Answer done, absl::Status status) {
  Delivery& delivery = Push(Delivery::Kind::kAnswer);
  delivery.answer = std::move(done);
  delivery.status = std::move(status);
}

void NodeCore::Reply(Confirmations::Answers answers) {
  for (auto& [done, status] : answers) {
    Reply(std::move(done), std::move(status));
  }
}

void NodeCore::SetPeers() {
  std::map<NodeId, std::string>& peers = effects_.peers.emplace();
  for (const auto& [node, member] : membership_) {
    if (node != self_) peers.emplace(node, member.address);
  }
}

ReplicatedLog::GroupStatus NodeCore::status() const {
  CoreStatus core = core_->GetStatus();
  ReplicatedLog::GroupStatus status;
  status.self = self_;
  status.term = core.hard_state.term;
  status.leader = core.soft_state.leader;
  status.last_index = core.last_index;
  status.commit_index = core.hard_state.commit;
  status.membership = membership_;
  status.progress = std::move(core.progress);
  return status;
}

std::vector<NodeCore::Answer> NodeCore::TakeUnanswered() {
  std::vector<Answer> all = confirmations_.TakeAll();
  for (auto& [index, change] : changes_) all.push_back(std::move(change.done));
  changes_.clear();
  for (SettlingChange& change : settling_)
    all.push_back(std::move(change.done));
  settling_.clear();
  return all;
}

}  // namespace millrace::raft
