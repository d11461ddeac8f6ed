#include "tests/sim/raft/member.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"

namespace millrace::raftsim {

using raft::Delivery;
using raft::LogWrite;
using raft::Message;
using raft::MessageType;

// ----------------------------------------------------------------------- start

Member::Member(const MemberOptions& options, Host& host, Invariants& invariants)
    : options_(options), host_(host), invariants_(invariants) {}

Member::~Member() {
  // Nobody is there any more to hear what became of it.
  if (core_ != nullptr) core_->TakeUnanswered();
}

absl::StatusOr<std::unique_ptr<Member>> Member::Start(
    const MemberOptions& options, std::unique_ptr<Subject> subject,
    raft::Disk& disk, const raft::SimDisk& sim_disk, Random& random, Host& host,
    Invariants& invariants) {
  const Scenario& scenario = *options.scenario;
  std::unique_ptr<Member> member(new Member(options, host, invariants));
  Member* m = member.get();

  raft::NodeStorageOptions storage;
  raft::SegmentLogOptions& log = storage.store.log;
  log.directory = kMemberDirectory;
  log.cluster = options.cluster;
  log.join = options.join;
  log.segment_bytes = scenario.segment_bytes;
  log.free_bytes_min = scenario.segment_bytes;
  log.on_fatal = [&host](const absl::Status& why) { host.Die(why); };
  log.mutant = options.mutant.log;
  storage.store.snapshot_chunk_bytes = scenario.snapshot_chunk_bytes;
  storage.address = AddressOf(host.machine());
  storage.cache_bytes_max = scenario.cache_bytes_max;
  MR_ASSIGN_OR_RETURN(m->storage_,
                      raft::OpenNodeStorage(storage, disk, random));
  raft::SegmentLog& segments = *m->storage_.store.log;
  raft::NodeLog& view = *m->storage_.view;
  m->id_ = m->storage_.start.self;
  m->nearly_full_ = segments.NearlyFull();
  invariants.Started(m->id_, sim_disk, kMemberDirectory, segments,
                     view.Snapshot().last.index, m->storage_.start.membership);

  raft::ProposalGate::Limits limits;
  limits.payload_bytes_max =
      segments.append_bytes_max() - raft::kLogEntryOverheadBytes;
  limits.uncommitted_bytes_max = scenario.uncommitted_bytes_max;
  m->gate_ = std::make_unique<raft::ProposalGate>(limits);
  m->writer_ = std::make_unique<raft::LogWriter>(segments, view);
  ServerLog& server_log = *m;
  m->server_ = std::make_unique<Server>(m->id_, std::move(subject), server_log,
                                        host, invariants);
  raft::NodeCoreOptions core;
  core.core = scenario.core;
  core.core.mutant = options.mutant.core;
  core.core.habits = options.mutant.habits;
  core.core.seed = host.random().Next64();
  core.address = AddressOf(host.machine());
  core.snapshots.entries = scenario.snapshot_entries;
  core.snapshots.keep_entries = scenario.keep_entries;
  core.snapshots.retry_ticks = 20;
  core.group_bytes_max = scenario.group_bytes_max;
  MR_ASSIGN_OR_RETURN(
      m->core_, raft::NodeCore::Create(core, std::move(m->storage_.start), view,
                                       *m->gate_));
  SnapshotTraffic::Node node;
  node.sent = [m](raft::NodeId to, bool ok) {
    m->Feed();
    m->core_->OnSnapshotSent(to, ok);
    m->After(absl::OkStatus());
  };
  node.received = [m](const Message& message,
                      std::unique_ptr<ByteSource> state) {
    // It waits in the mailbox; what else comes may overtake it.
    auto shared =
        std::make_shared<std::unique_ptr<ByteSource>>(std::move(state));
    m->host_.After(
        m->host_.ApplyTime(), Step::kSnapshotPiece, [m, message, shared] {
          m->Feed();
          m->After(m->core_->OnSnapshotReceived(message, std::move(*shared)));
        });
  };
  m->traffic_ = std::make_unique<SnapshotTraffic>(*m->storage_.store.snapshots,
                                                  host, std::move(node));
  m->Pump();
  return member;
}

// ------------------------------------------------------------------ looking

MemberView Member::view() const {
  const raft::CoreStatus status = core_->core().GetStatus();
  MemberView view = {status.hard_state,
                     status.soft_state.role,
                     status.applied,
                     {},
                     status.membership};
  for (const auto& [node, progress] : status.progress) {
    view.match.emplace_back(node, progress.match);
  }
  return view;
}

// --------------------------------------------------------- the node's thread

void Member::Feed() {
  if (!delivered_.has_value()) return;
  const absl::Status status =
      core_->OnDelivered(*std::exchange(delivered_, std::nullopt));
  if (!status.ok()) host_.Die(status);
}

void Member::After(const absl::Status& status) {
  if (!status.ok()) {
    host_.Die(status);
    return;
  }
  const absl::Duration busy = options_.scenario->busy_max;
  if (busy == absl::ZeroDuration()) {
    Pump();
    return;
  }
  // The thread takes what has come when it gets to it.
  if (std::exchange(pumping_, true)) return;
  host_.After(busy * static_cast<int64_t>(host_.random().Uniform(1000)) / 1000,
              Step::kPump, [this] { Pump(); });
}

void Member::Pump() {
  pumping_ = false;
  Feed();
  absl::StatusOr<raft::NodeEffects> effects = core_->TakeEffects();
  if (effects.ok()) {
    CarryOut(*std::move(effects));
  } else {
    host_.Die(effects.status());
  }
}

void Member::Tick() {
  Feed();
  const absl::Status status = core_->Tick();
  // Lazy writes wait no longer.
  if (!writes_.empty()) ScheduleFlush();
  After(status);
}

void Member::OnMessage(Message message) {
  Feed();
  After(core_->OnMessage(std::move(message)));
}

void Member::OnUnreachable(raft::NodeId node) {
  Feed();
  core_->OnUnreachable(node);
  After(absl::OkStatus());
}

void Member::ChangeMembership(const raft::MembershipChange& change,
                              std::function<void(absl::Status)> done) {
  Feed();
  core_->ChangeMembership(change, std::move(done));
  After(absl::OkStatus());
}

absl::Status Member::TransferLeadership(raft::NodeId to) {
  Feed();
  const absl::Status status = core_->TransferLeadership(to);
  After(absl::OkStatus());
  return status;
}

absl::Status Member::Propose(uint64_t term, std::vector<std::string> payloads) {
  if (nearly_full_) nearly_full_ = storage_.store.log->NearlyFull();
  if (nearly_full_) {
    host_.Count(Fault::kDiskFull);
    return absl::ResourceExhaustedError("nearly full");
  }
  MR_RETURN_IF_ERROR(gate_->Admit(term, payloads));
  Feed();
  core_->Propose(term, std::move(payloads));
  After(absl::OkStatus());
  return absl::OkStatus();
}

void Member::ConfirmLeading(uint64_t term,
                            std::function<void(absl::Status)> done) {
  Feed();
  core_->ConfirmLeading(term, std::move(done));
  After(absl::OkStatus());
}

void Member::CarryOut(raft::NodeEffects effects) {
  if (!effects.writes.empty()) {
    const MemberView now = view();
    bool lazy = true;
    for (LogWrite& write : effects.writes) {
      invariants_.OnWrite(id_, write, now);
      lazy = lazy && raft::IsLazy(write);
      writes_.push_back(std::move(write));
    }
    if (!lazy) ScheduleFlush();
  }
  SendAll(std::move(effects.send));
  for (Delivery& delivery : effects.deliveries) {
    deliveries_.push_back(std::move(delivery));
  }
  if (!deliveries_.empty()) ScheduleDelivery();
  if (effects.drop_through.has_value()) {
    drop_through_ = effects.drop_through;
    ScheduleFlush();
  }
  if (effects.forget_snapshot) frozen_ = nullptr;
  if (effects.write_snapshot.has_value()) {
    host_.After(
        host_.SyncTime(), Step::kSnapshotWrite,
        [this, what = *effects.write_snapshot] { WriteSnapshot(what); });
  }
}

void Member::SendAll(std::vector<Message> messages) {
  for (Message& message : messages) {
    if (!host_.alive()) return;
    invariants_.OnSend(id_, message);
    if (message.type == MessageType::kSnapshot) {
      traffic_->Send(message);
    } else {
      host_.Send(std::move(message));
    }
  }
}

// ---------------------------------------------------------- the log's thread

void Member::ScheduleFlush() {
  if (flushing_) return;
  flushing_ = true;
  // What a disk takes its time for is on it at some moment within that time.
  const absl::Duration whole = host_.SyncTime();
  const absl::Duration before =
      whole * static_cast<int64_t>(host_.random().Uniform(1000)) / 1000;
  host_.After(before, Step::kFlush,
              [this, rest = whole - before] { Flush(rest); });
}

void Member::Flush(absl::Duration rest) {
  uint64_t bytes = 0;
  while (!blocked_ && !writes_.empty()) {
    for (const raft::LogEntry& entry : writes_.front().entries) {
      bytes += entry.payload.size();
    }
    if (!writer_->idle() && bytes > options_.scenario->group_bytes_max) break;
    writer_->Add(std::move(writes_.front()));
    writes_.pop_front();
  }
  if (writer_->idle()) {
    Durable({});
    return;
  }
  absl::StatusOr<raft::LogWriter::Done> done = writer_->Flush();
  if (absl::IsResourceExhausted(done.status())) {
    nearly_full_ = true;
    host_.trace().Note("waits for space", host_.machine());
    if (!std::exchange(blocked_, true)) {
      host_.Count(Fault::kDiskFull);
      Feed();
      core_->OnLogBlocked(true);
      After(absl::OkStatus());
    }
    DropSegments();
    host_.After(absl::Seconds(1), Step::kFlush, [this, rest] { Flush(rest); });
    return;
  }
  if (!done.ok()) {
    host_.Die(done.status());
    return;
  }
  host_.trace().Note("written", host_.machine(), {{"write", done->id}});
  auto shared = std::make_shared<raft::LogWriter::Done>(*std::move(done));
  host_.After(rest, Step::kDurable,
              [this, shared] { Durable(std::move(*shared)); });
}

void Member::Durable(raft::LogWriter::Done done) {
  flushing_ = false;
  SendAll(std::move(done.messages));
  if (done.id > 0) {
    Feed();
    absl::Status status = core_->OnLogDurable(done.id);
    if (std::exchange(blocked_, false)) core_->OnLogBlocked(false);
    After(status);
    nearly_full_ = storage_.store.log->NearlyFull();
  }
  if (writes_.empty()) DropSegments();
  PrepareSpare();
  if (!writes_.empty() || drop_through_.has_value()) ScheduleFlush();
}

void Member::DropSegments() {
  if (!drop_through_.has_value()) return;
  const absl::Status status =
      writer_->Drop(*std::exchange(drop_through_, std::nullopt));
  if (!status.ok() && !absl::IsResourceExhausted(status)) host_.Die(status);
}

// On a thread of its own in production, so it may come at any moment.
void Member::PrepareSpare() {
  if (!storage_.store.log->WantsSpare() || host_.random().Uniform(3) == 0) {
    return;
  }
  const absl::Status status = storage_.store.log->PrepareSpare();
  if (!status.ok() && !absl::IsResourceExhausted(status)) host_.Die(status);
}

// --------------------------------------- the threads for the sink, snapshots

void Member::ScheduleDelivery() {
  if (delivering_) return;
  delivering_ = true;
  host_.After(host_.ApplyTime(), Step::kDeliver, [this] { DeliverNext(); });
}

void Member::DeliverNext() {
  delivering_ = false;
  Delivery delivery = std::move(deliveries_.front());
  deliveries_.pop_front();
  const uint64_t id = delivery.id;
  const bool urgent = delivery.urgent;
  raft::Deliver(std::move(delivery), *server_, *gate_,
                [this](uint64_t index, raft::FrozenState state) {
                  frozen_ = std::move(state);
                  Feed();
                  core_->OnSnapshotTaken(index);
                  After(absl::OkStatus());
                });
  delivered_ = id;
  if (urgent) After(absl::OkStatus());
  if (!deliveries_.empty()) ScheduleDelivery();
}

void Member::WriteSnapshot(const raft::NodeEffects::WriteSnapshot& what) {
  const auto write = [&]() -> absl::StatusOr<uint64_t> {
    MR_ASSIGN_OR_RETURN(
        const std::unique_ptr<raft::SnapshotWriter> writer,
        storage_.store.snapshots->Create(what.last.index, what.last.term,
                                         what.configuration));
    CountingSink sink(*writer);
    MR_RETURN_IF_ERROR(frozen_(sink));
    MR_RETURN_IF_ERROR(writer->Finish());
    return sink.bytes();
  };
  const absl::StatusOr<uint64_t> bytes = write();
  frozen_ = nullptr;
  host_.trace().Note(bytes.ok() ? "snapshot written" : "snapshot not written",
                     host_.machine(), {{"index", what.last.index}});
  Feed();
  After(core_->OnSnapshotWritten(bytes.ok() ? std::optional(*bytes)
                                            : std::nullopt));
}

}  // namespace millrace::raftsim
