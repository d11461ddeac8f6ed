#include "raft/node/node.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/node/mailbox.h"
#include "raft/node/node_core.h"
#include "raft/node/node_storage.h"
#include "raft/node/snapshot_transfer.h"
#include "raft/node/ticker.h"
#include "raft/node/workers.h"
#include "raft/replicated_log.h"

namespace millrace::raft {
namespace {

// Callbacks that have no answer yet.
constexpr int kCallbacksMax = 65536;

using Done = std::function<void(absl::Status)>;

absl::Status Stopping() {
  return absl::UnavailableError("this master is stopping");
}

// Where the sink puts its frozen state, whenever it does so: shared with the
// function that it was given, which may outlive the node.
class TakenState {
 public:
  explicit TakenState(Mailbox& mailbox) : mailbox_(&mailbox) {}

  void Take(uint64_t index, FrozenState state) {
    absl::MutexLock lock(&mu_);
    if (mailbox_ == nullptr) return;
    state_ = std::move(state);
    mailbox_->Post([index](Mail& mail) { mail.snapshot_taken = index; });
  }
  FrozenState Release() {
    absl::MutexLock lock(&mu_);
    return std::exchange(state_, nullptr);
  }
  void Detach() {
    absl::MutexLock lock(&mu_);
    mailbox_ = nullptr;
    state_ = nullptr;
  }

 private:
  absl::Mutex mu_;
  Mailbox* mailbox_ ABSL_GUARDED_BY(mu_);
  FrozenState state_ ABSL_GUARDED_BY(mu_);
};

class NodeImpl final : public Node, public TransportReceiver {
 public:
  NodeImpl(const NodeOptions& options, NodeStorage storage,
           std::unique_ptr<ProposalGate> gate, std::unique_ptr<NodeCore> core,
           std::function<void(const absl::Status&)> on_fatal,
           uint64_t tick_seed, Clock& clock, Transport& transport,
           LogSink& sink)
      : options_(options),
        clock_(clock),
        transport_(transport),
        identity_(storage.store.log->identity()),
        storage_(std::move(storage)),
        gate_(std::move(gate)),
        on_fatal_(std::move(on_fatal)),
        core_(std::move(core)),
        ticker_(options.tick, tick_seed, clock.Monotonic()),
        mailbox_(Mailbox::Limits()),
        taken_(std::make_shared<TakenState>(mailbox_)),
        status_(core_->status()),
        log_worker_({options.group_bytes_max, options.retry_interval,
                     [this](std::vector<Message> messages) {
                       Send(std::move(messages));
                     },
                     [this](const absl::Status& status) { Fatal(status); }},
                    *storage_.store.log, *storage_.view, mailbox_),
        apply_worker_(sink, *gate_, mailbox_,
                      [taken = taken_](uint64_t index, FrozenState state) {
                        taken->Take(index, std::move(state));
                      }),
        snapshot_worker_(*storage_.store.snapshots, mailbox_) {
    transport_.SetAddress(options_.address);
    transport_.Start(identity_, *this);
    mailbox_.Post([](Mail&) {});  // Something is to be done at the start.
    for (std::thread& thread : threads_) {
      thread = std::thread([this] { Loop(); });
    }
  }

  ~NodeImpl() override {
    mailbox_.Close();
    gate_->Close();
    for (std::thread& thread : threads_) thread.join();
    transport_.Stop();
    apply_worker_.Stop();
    taken_->Detach();
    Mail rest = mailbox_.TakeRest();
    Refuse(rest);
    for (const Done& done : core_->TakeUnanswered()) done(Stopping());
  }

  // ------------------------------------------------------------ ReplicatedLog

  absl::Status Propose(uint64_t term,
                       std::vector<std::string> payloads) override {
    // Asked without a lock, because it may be a system call.
    if (log_worker_.NearlyFull()) {
      return absl::ResourceExhaustedError(
          Av(Cat("the disk of ", options_.directory, " is nearly full")));
    }
    MR_RETURN_IF_ERROR(gate_->Admit(term, payloads));
    if (payloads.empty()) return absl::OkStatus();
    Mail::Proposal proposal{term, std::move(payloads)};
    if (!mailbox_.PostRequest(&Mail::proposals, proposal)) return Stopping();
    return absl::OkStatus();
  }

  void ConfirmLeading(uint64_t term, Done done) override {
    if (!TakeCallback(&done)) return;
    Mail::Confirmation request{term, std::move(done)};
    if (!mailbox_.PostRequest(&Mail::confirmations, request)) {
      request.done(Stopping());
    }
  }

  GroupStatus status() const override {
    absl::MutexLock lock(&status_mu_);
    return status_;
  }

  void ChangeMembership(const MembershipChange& change, Done done) override {
    if (!TakeCallback(&done)) return;
    Mail::Change request{change, std::move(done)};
    if (!mailbox_.PostRequest(&Mail::changes, request)) {
      request.done(Stopping());
    }
  }

  absl::Status TransferLeadership(NodeId to) override {
    absl::Status result;
    absl::Notification answered;
    std::pair<NodeId, Done> request(to, [&](absl::Status status) {
      result = std::move(status);
      answered.Notify();
    });
    if (!mailbox_.PostRequest(&Mail::transfers, request)) return Stopping();
    answered.WaitForNotification();
    return result;
  }

  const LogIdentity& identity() const override { return identity_; }

  void SetAddress(std::string address) override {
    transport_.SetAddress(address);
    mailbox_.Post([&](Mail& mail) { mail.address = std::move(address); });
  }

  // -------------------------------------------------------- TransportReceiver

  void OnMessage(Message message) override {
    if (!mailbox_.PostMessage(std::move(message))) {
      LOG_EVERY_N(WARNING, 1000) << "too many messages of other masters are "
                                    "waiting; some are dropped";
    }
  }
  void OnUnreachable(NodeId node) override {
    mailbox_.Post([node](Mail& mail) {
      if (std::find(mail.unreachable.begin(), mail.unreachable.end(), node) ==
          mail.unreachable.end()) {
        mail.unreachable.push_back(node);
      }
    });
  }
  void OnSnapshotSent(NodeId node, const absl::Status& status) override {
    const bool ok = status.ok();
    mailbox_.Post(
        [&](Mail& mail) { mail.sent_snapshots.emplace_back(node, ok); });
  }
  absl::StatusOr<std::unique_ptr<IncomingSnapshot>> ReceiveSnapshot(
      const Message& message, std::string_view description) override {
    return ReceiveSnapshotInto(
        *storage_.store.snapshots, message, description,
        [this](const Message& announced, std::unique_ptr<ByteSource> state) {
          mailbox_.Post([&](Mail& mail) {
            mail.received_snapshots.push_back({announced, std::move(state)});
          });
        });
  }

 private:
  // Counts a callback until it is called; false: it was called, with
  // kResourceExhausted.
  bool TakeCallback(Done* done) {
    if (callbacks_.fetch_add(1) >= kCallbacksMax) {
      callbacks_.fetch_sub(1);
      (*done)(absl::ResourceExhaustedError(
          "too many calls wait for an answer of the group"));
      return false;
    }
    *done = [this, inner = std::move(*done)](absl::Status status) {
      callbacks_.fetch_sub(1);
      inner(std::move(status));
    };
    return true;
  }

  // ------------------------------------------------------------- node threads

  // Two threads do the same: while one of them writes the log or calls the
  // sink, the other has the node's turn if there is something to do.
  void Loop() {
    Mailbox::Turn turn;
    absl::Duration tick_at = clock_.Monotonic() + options_.tick;
    Mail mail;
    while (mailbox_.Take(
        dead_.load() ? absl::InfiniteDuration() : tick_at - clock_.Monotonic(),
        &turn, &mail)) {
      if (dead_.load()) {
        Refuse(mail);  // Callers are answered until the end.
      } else if (const absl::Status status =
                     Work(std::move(mail), &turn, &tick_at);
                 !status.ok()) {
        Fatal(status);
      }
    }
  }

  static void Refuse(Mail& mail) {
    for (auto& request : mail.confirmations) request.done(Stopping());
    for (auto& request : mail.changes) request.done(Stopping());
    for (auto& request : mail.transfers) request.second(Stopping());
  }

  // With the turn; it may be lost on the way. `tick_at` is when the next tick
  // was due when this thread last had it.
  absl::Status Work(Mail mail, Mailbox::Turn* turn, absl::Duration* tick_at) {
    do {
      MR_RETURN_IF_ERROR(Feed(mail));
      const bool ticks = ticker_.Take(clock_.Monotonic());
      if (ticks) {
        MR_RETURN_IF_ERROR(core_->Tick());
        log_worker_.Flush();
      }
      *tick_at = ticker_.next();
      MR_ASSIGN_OR_RETURN(Claimed claimed, Carry(ticks));
      if (!claimed.write && claimed.deliveries.empty()) break;
      // Who is the whole group has nobody to listen to meanwhile, and what its
      // callers want is better done all at once.
      if (!core_->alone()) mailbox_.Yield(turn);
      CarryOut(std::move(claimed));
    } while (!dead_.load() && mailbox_.Continue(turn, &mail));
    return absl::OkStatus();
  }

  absl::Status Feed(Mail& mail) {
    if (mail.delivered.has_value()) {
      MR_RETURN_IF_ERROR(core_->OnDelivered(*mail.delivered));
    }
    if (mail.durable.has_value()) {
      MR_RETURN_IF_ERROR(core_->OnLogDurable(*mail.durable));
    }
    if (mail.blocked.has_value()) core_->OnLogBlocked(*mail.blocked);
    if (mail.nearly_full.has_value()) {
      core_->OnNearlyFull(*mail.nearly_full);
      // Of one that broke off nothing is worth keeping then.
      if (*mail.nearly_full) storage_.store.snapshots->GiveUpTransfer();
    }
    for (Message& message : mail.messages) {
      MR_RETURN_IF_ERROR(core_->OnMessage(std::move(message)));
    }
    for (const NodeId node : mail.unreachable) core_->OnUnreachable(node);
    for (const auto& [node, ok] : mail.sent_snapshots) {
      core_->OnSnapshotSent(node, ok);
    }
    for (auto& received : mail.received_snapshots) {
      MR_RETURN_IF_ERROR(core_->OnSnapshotReceived(received.message,
                                                   std::move(received.state)));
    }
    if (mail.snapshot_taken.has_value()) {
      core_->OnSnapshotTaken(*mail.snapshot_taken);
    }
    if (mail.snapshot_written.has_value()) {
      MR_RETURN_IF_ERROR(
          core_->OnSnapshotWritten(mail.snapshot_written->bytes));
    }
    if (mail.address.has_value()) core_->SetAddress(*std::move(mail.address));
    for (auto& request : mail.changes) {
      core_->ChangeMembership(request.change, std::move(request.done));
    }
    for (auto& [to, done] : mail.transfers) done(core_->TransferLeadership(to));
    for (auto& request : mail.confirmations) {
      core_->ConfirmLeading(request.term, std::move(request.done));
    }
    for (auto& proposal : mail.proposals) {
      core_->Propose(proposal.term, std::move(proposal.payloads));
    }
    return absl::OkStatus();
  }

  // What takes long and is left to this thread.
  struct Claimed {
    bool write = false;
    std::vector<Delivery> deliveries;
    bool leads = false;
  };

  // Carries out what does not take long, and hands out the rest. In that order
  // everywhere, so with the turn.
  absl::StatusOr<Claimed> Carry(bool ticks) {
    MR_ASSIGN_OR_RETURN(NodeEffects effects, core_->TakeEffects());
    // Before anybody can hear of it.
    if (ticks || effects.peers.has_value() ||
        core_->soft_state() != published_) {
      Publish();
    }
    if (effects.peers.has_value()) {
      transport_.SetPeers(*std::move(effects.peers));
    }
    Claimed claimed;
    claimed.leads = core_->leading() != 0;
    claimed.write = log_worker_.Claim(std::move(effects.writes));
    // Before what was claimed is written: the others write at the same time.
    Send(std::move(effects.send));
    claimed.deliveries = apply_worker_.Claim(std::move(effects.deliveries));
    if (effects.drop_through.has_value()) {
      log_worker_.Drop(*effects.drop_through);
    }
    if (effects.write_snapshot.has_value()) {
      snapshot_worker_.Write(*std::move(effects.write_snapshot),
                             taken_->Release());
    }
    if (effects.forget_snapshot) taken_->Release();
    return claimed;
  }

  // First what somebody waits for: a client for the leader's sink, the leader
  // for a follower's disk.
  void CarryOut(Claimed claimed) {
    if (claimed.write && !claimed.leads) log_worker_.WriteClaimed();
    if (!claimed.deliveries.empty()) {
      apply_worker_.DeliverClaimed(std::move(claimed.deliveries));
    }
    if (claimed.write && claimed.leads) log_worker_.WriteClaimed();
  }

  // On whatever thread writes the log, too.
  void Send(std::vector<Message> messages) {
    for (Message& message : messages) {
      if (message.type != MessageType::kSnapshot) {
        transport_.Send(std::move(message));
        continue;
      }
      auto bytes = OpenOutgoingSnapshot(*storage_.store.snapshots,
                                        message.snapshot->last);
      if (bytes.ok()) {
        transport_.SendSnapshot(std::move(message), *std::move(bytes));
      } else {
        OnSnapshotSent(message.to, bytes.status());
      }
    }
  }

  void Publish() {
    published_ = core_->soft_state();
    GroupStatus status = core_->status();
    absl::MutexLock lock(&status_mu_);
    status_ = std::move(status);
  }

  // On any thread. The node's threads end their work when they next wake up.
  void Fatal(const absl::Status& status) {
    gate_->Close();
    if (!dead_.exchange(true)) mailbox_.Post([](Mail&) {});
    on_fatal_(status);
  }

  const NodeOptions options_;
  Clock& clock_;
  Transport& transport_;
  const LogIdentity identity_;
  NodeStorage storage_;
  const std::unique_ptr<ProposalGate> gate_;
  const std::function<void(const absl::Status&)> on_fatal_;
  // Of the thread that has the turn.
  const std::unique_ptr<NodeCore> core_;
  SoftState published_;
  Ticker ticker_;

  Mailbox mailbox_;
  const std::shared_ptr<TakenState> taken_;
  std::atomic<int> callbacks_ = 0;
  std::atomic<bool> dead_ = false;

  mutable absl::Mutex status_mu_;
  GroupStatus status_ ABSL_GUARDED_BY(status_mu_);

  // They use everything above.
  LogWorker log_worker_;
  ApplyWorker apply_worker_;
  SnapshotWorker snapshot_worker_;
  std::array<std::thread, 2> threads_;
};

absl::Status CheckOptions(const NodeOptions& options) {
  if (options.tick <= absl::ZeroDuration() ||
      options.retry_interval <= absl::ZeroDuration() ||
      options.group_bytes_max == 0 || options.snapshot_entries == 0 ||
      options.snapshot_bytes_min == 0) {
    return absl::InvalidArgumentError(
        "raft: tick, retry_interval, group_bytes_max, snapshot_entries and "
        "snapshot_bytes_min must be more than nothing");
  }
  if (options.snapshot_bytes_max < options.snapshot_bytes_min ||
      options.snapshot_interval < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "raft: snapshot_bytes_max must not be less than snapshot_bytes_min, "
        "nor "
        "snapshot_interval less than nothing");
  }
  return absl::OkStatus();
}

NodeCoreOptions CoreOptions(const NodeOptions& options, uint64_t seed) {
  NodeCoreOptions core;
  core.core.election_ticks = options.election_ticks;
  core.core.heartbeat_ticks = options.heartbeat_ticks;
  // ProposalGate has the limit that counts.
  core.core.uncommitted_bytes_max = UINT64_MAX;
  core.core.seed = seed;
  core.address = options.address;
  core.snapshots.entries = options.snapshot_entries;
  core.snapshots.bytes_min = options.snapshot_bytes_min;
  core.snapshots.bytes_max = options.snapshot_bytes_max;
  core.snapshots.interval_ticks =
      static_cast<uint64_t>(options.snapshot_interval / options.tick);
  core.snapshots.keep_entries = options.keep_entries;
  core.group_bytes_max = options.group_bytes_max;
  return core;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Node>> OpenNode(const NodeOptions& options,
                                               Disk& disk, Clock& clock,
                                               Random& random,
                                               Transport& transport,
                                               LogSink& sink) {
  MR_RETURN_IF_ERROR(CheckOptions(options));
  // Told once, whether the log meets the error or the node does. Owned by the
  // copies of the handler.
  auto told = std::make_shared<std::atomic<bool>>(false);
  const auto on_fatal = [told, options](const absl::Status& status) {
    if (told->exchange(true)) return;
    if (options.on_fatal) {
      options.on_fatal(status);
    } else {
      LOG(FATAL) << "the log in " << options.directory << ": "
                 << status.message();
    }
  };
  NodeStorageOptions storage_options;
  SegmentLogOptions& log = storage_options.store.log;
  log.directory = options.directory;
  log.cluster = options.cluster;
  log.join = options.join;
  log.segment_bytes = options.segment_bytes;
  log.free_bytes_min = options.free_bytes_min;
  log.on_fatal = on_fatal;
  storage_options.address = options.address;
  MR_ASSIGN_OR_RETURN(NodeStorage storage,
                      OpenNodeStorage(storage_options, disk, random));
  ProposalGate::Limits limits;
  limits.payload_bytes_max = std::min<uint64_t>(
      kPayloadBytesMax,
      storage.store.log->append_bytes_max() - kLogEntryOverheadBytes);
  limits.uncommitted_bytes_max = options.uncommitted_bytes_max;
  auto gate = std::make_unique<ProposalGate>(limits);
  MR_ASSIGN_OR_RETURN(
      std::unique_ptr<NodeCore> core,
      NodeCore::Create(CoreOptions(options, random.Next64()),
                       std::move(storage.start), *storage.view, *gate));
  return std::make_unique<NodeImpl>(options, std::move(storage),
                                    std::move(gate), std::move(core), on_fatal,
                                    random.Next64(), clock, transport, sink);
}

}  // namespace millrace::raft
