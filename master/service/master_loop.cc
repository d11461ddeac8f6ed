#include "master/service/master_loop.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/service/check_spec.h"
#include "master/service/fault_names.h"
#include "master/service/named_blobs.h"
#include "master/service/state_snapshots.h"

namespace millrace::master {
namespace {

// When the log takes no proposals.
constexpr absl::Duration kProposeInterval = absl::Milliseconds(20);
// Of one proposal, which the log takes whole or not at all; a single entry may
// have more.
constexpr size_t kProposeBytes = 4 << 20;

// What must be held before it is proposed; that of JobSubmitted is seen to
// before the core hears of the job.
std::set<std::string> BlobsToHold(const proto::LogEntry& entry) {
  if (entry.has_job_submitted()) return {};
  return NamedBlobs(entry);
}

}  // namespace

MasterLoop::MasterLoop(const SchedulerOptions& options, Clock& clock,
                       Random& random, const GroupView& group)
    : clock_(clock),
      group_(group),
      core_(options, state_, random),
      on_unusable_([](const absl::Status& why) {
        LOG(ERROR)
            << "this master cannot go on; remove it from the group, and "
               "start it anew on an empty directory: the snapshot of its "
               "log cannot be used: "
            << ToStd(why.message());
        std::_Exit(1);
      }) {}

MasterLoop::~MasterLoop() { Stop(); }

void MasterLoop::Start(WorkerStreams& streams, BlobQuorum& blobs) {
  streams_ = &streams;
  blobs_ = &blobs;
  thread_ = std::thread([this] { Loop(); });
}

void MasterLoop::SetLog(raft::ReplicatedLog& log, const ClusterId& cluster) {
  absl::MutexLock lock(&mu_);
  mailbox_.push_back([this, &log, cluster] {
    log_ = &log;
    cluster_ = cluster;
    standing_.clear();
  });
  for (std::function<void()>& work : before_log_) {
    mailbox_.push_back(std::move(work));
  }
  before_log_.clear();
  has_log_ = true;
}

void MasterLoop::DropLog() {
  absl::Notification dropped;
  Post([this, &dropped] {
    CHECK(!core_.leading());
    log_ = nullptr;
    dropped.Notify();
  });
  dropped.WaitForNotification();
}

void MasterLoop::SetStanding(std::string why) {
  Post([this, why = std::move(why)] { standing_ = why; });
}

void MasterLoop::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void MasterLoop::Post(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  mailbox_.push_back(std::move(work));
}

// Of the log, which may speak before SetLog.
void MasterLoop::PostOfLog(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  if (has_log_) {
    mailbox_.push_back(std::move(work));
  } else {
    before_log_.push_back(std::move(work));
  }
}

bool MasterLoop::AwaitFollowing(absl::Duration patience) {
  const auto follows = [this]()
                           ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !leads_; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&follows), patience);
}

void MasterLoop::Loop() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopping_ || !mailbox_.empty();
  };
  for (;;) {
    std::deque<std::function<void()>> batch;
    bool stopping;
    {
      absl::MutexLock lock(&mu_);
      mu_.AwaitWithTimeout(absl::Condition(&has_work),
                           Deadline() - clock_.Monotonic());
      batch.swap(mailbox_);
      stopping = stopping_;
    }
    for (const std::function<void()>& work : batch) work();
    if (stopping) break;
    if (clock_.Monotonic() >= core_.NextDeadline()) Step(Tick{});
    ProposeQueued();
    ConfirmQueued();
    ShowChanged();
  }
  const absl::Status status = absl::CancelledError("the master is stopping");
  for (const Confirmed& then : std::exchange(unconfirmed_, {})) then(status);
  Reply reply;
  reply.status = status;
  for (const auto& [tag, done] : std::exchange(replies_, {})) done(reply);
  EndWatches(status);
}

absl::Duration MasterLoop::Deadline() const {
  return std::min({core_.NextDeadline(), propose_again_, show_at_});
}

// --------------------------------------------------------------------- core

void MasterLoop::Step(Event event) {
  const int64_t wall_ms = absl::ToUnixMillis(clock_.Now());
  std::vector<Effect> effects =
      core_.Step(std::move(event), clock_.Monotonic(), wall_ms);
  for (Effect& effect : effects) Carry(effect);
}

void MasterLoop::Carry(Effect& effect) {
  if (auto* propose = std::get_if<Propose>(&effect)) {
    FaultPointOf("propose", propose->entry);
    std::set<std::string> blobs = BlobsToHold(propose->entry);
    if (propose->entry.has_worker_lost()) {
      ProposeWhenConfirmed(std::move(propose->entry));
    } else if (blobs.empty()) {
      proposals_.push_back(propose->entry.SerializeAsString());
    } else {
      ProposeWhenHeld(std::move(propose->entry), std::move(blobs));
    }
  } else if (auto* send = std::get_if<Send>(&effect)) {
    const std::string_view name = FaultName(*send->message);
    if (FaultsSet()) FaultPoint(Cat("send.", name));
    if (send->message->has_grant()) FaultPoint("grant");
    SendNamingMasters(send->session, std::move(send->message));
    if (FaultsSet()) FaultPoint(Cat("sent.", name));
  } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
    masters_told_.erase(close->session);
    streams_->Close(close->session);
  } else if (const auto* reply = std::get_if<Reply>(&effect)) {
    const auto found = replies_.find(reply->tag);
    if (found == replies_.end()) return;
    const OnReply done = std::move(found->second);
    replies_.erase(found);
    FaultPoint("reply");
    if (reply->not_leader) {
      Reply elsewhere = *reply;
      elsewhere.status = Leading();
      done(elsewhere);
    } else {
      done(*reply);
    }
  } else if (const auto* changed = std::get_if<JobChanged>(&effect)) {
    changed_.insert(changed->job);
  }
}

void MasterLoop::SendNamingMasters(
    StreamId stream, std::shared_ptr<const proto::MasterMessage> message) {
  std::vector<std::string> masters = group_.Addresses();
  std::vector<std::string>& told = masters_told_[stream];
  if (masters != told) {
    // Others may be sent the same message, who know the masters.
    auto naming = std::make_shared<proto::MasterMessage>(*message);
    naming->mutable_masters()->Assign(masters.begin(), masters.end());
    message = std::move(naming);
    told = std::move(masters);
  }
  streams_->Send(stream, std::move(message));
}

void MasterLoop::TellMasters() {
  Post([this] {
    if (!core_.leading()) return;
    const std::vector<std::string> masters = group_.Addresses();
    for (const auto& [stream, told] : masters_told_) {
      if (told == masters) continue;
      auto message = std::make_shared<proto::MasterMessage>();
      message->set_term(core_.term());
      message->mutable_alive();
      SendNamingMasters(stream, std::move(message));
    }
  });
}

void MasterLoop::ApplyEntry(const raft::CommittedEntry& committed) {
  proto::LogEntry entry;
  // The log vouches for the bytes, so this is a bug or a newer program's log.
  // Going on would make this master disagree with the others.
  CHECK(entry.ParseFromString(committed.payload))
      << "log entry " << committed.index << " cannot be read";
  FaultPointOf("apply", entry);
  const ApplyResult result =
      state_.Apply(committed.index, committed.term, entry);
  CHECK(result.refusal != Refusal::kVersion)
      << "log entry " << committed.index << ": " << result.message
      << "; start a version of millrace-master that is at least as new as the "
         "one that wrote it";
  const std::set<std::string> named = master::NamedBlobs(entry);
  if (committed.term == core_.term()) {
    for (const std::string& sha256 : BlobsToHold(entry)) {
      EraseOneBlob(proposed_blobs_, sha256);
    }
  }
  if (result.applied() && !named.empty() && on_blobs_named_ != nullptr) {
    on_blobs_named_({named.begin(), named.end()});
  }
  Step(EntryApplied{committed.index, committed.term, &entry, &result});
  FaultPointOf("applied", entry);
}

void MasterLoop::ProposeWhenHeld(proto::LogEntry entry,
                                 std::set<std::string> blobs) {
  proposed_blobs_.insert(blobs.begin(), blobs.end());
  blobs_->Want(blobs, [this, term = core_.term(), entry = std::move(entry),
                       blobs](const absl::Status& status) {
    Post([this, term, entry, blobs, status] {
      if (term != core_.term() || !core_.leading()) return;
      if (status.ok()) {
        proposals_.push_back(entry.SerializeAsString());
        return;
      }
      if (!absl::IsNotFound(status)) return;  // Another term has begun.
      LOG(WARNING) << ToStd(status.message());
      for (const std::string& sha256 : blobs) {
        EraseOneBlob(proposed_blobs_, sha256);
      }
      Step(BlobLost{entry, std::string(ToStd(status.message()))});
    });
  });
}

// Workers that cannot reach this master may reach the next one, and the other
// masters may still hear this one and so take an entry that it cannot commit:
// one that nobody can answer any more must not give up workers.
void MasterLoop::ProposeWhenConfirmed(proto::LogEntry entry) {
  Confirm([this, term = core_.term(),
           entry = std::move(entry)](const absl::Status& leading) {
    if (term != core_.term() || !core_.leading()) return;
    if (leading.ok()) {
      proposals_.push_back(entry.SerializeAsString());
    } else {
      // The log did not take the question; or another leads, which is heard in
      // a moment and ends this.
      ProposeWhenConfirmed(entry);
    }
  });
}

void MasterLoop::ProposeQueued() {
  propose_again_ = absl::InfiniteDuration();
  if (log_ == nullptr) return;
  while (!proposals_.empty()) {
    std::vector<std::string> batch;
    size_t bytes = 0;
    for (const std::string& entry : proposals_) {
      if (!batch.empty() && bytes + entry.size() > kProposeBytes) break;
      bytes += entry.size();
      batch.push_back(entry);
    }
    const size_t count = batch.size();
    const absl::Status status = log_->Propose(core_.term(), std::move(batch));
    if (absl::IsResourceExhausted(status)) {
      propose_again_ = clock_.Monotonic() + kProposeInterval;
      LOG_EVERY_N(WARNING, 100)
          << "the log takes no entries: " << ToStd(status.message());
      return;
    }
    if (!status.ok()) {
      // Leadership is lost, or will be heard to be in a moment.
      LOG(WARNING) << proposals_.size()
                   << " entries dropped: " << ToStd(status.message());
      proposals_.clear();
      return;
    }
    proposals_.erase(proposals_.begin(),
                     proposals_.begin() + static_cast<ptrdiff_t>(count));
    FaultPoint("proposed");
  }
}

// ---------------------------------------------------------------------- log

void MasterLoop::OnCommitted(std::vector<raft::CommittedEntry> entries) {
  PostOfLog([this, entries = std::move(entries)] {
    for (const raft::CommittedEntry& entry : entries) ApplyEntry(entry);
  });
}

void MasterLoop::OnSnapshot(uint64_t index, uint64_t term,
                            std::unique_ptr<ByteSource> source) {
  absl::StatusOr<std::unique_ptr<State>> read =
      ReadSnapshot(index, term, *source);
  if (!read.ok()) return on_unusable_(read.status());
  PostOfLog([this, state = std::shared_ptr<State>(*std::move(read))] {
    state_.Swap(*state);
    const std::set<std::string> named = master::NamedBlobs(state_);
    if (!named.empty() && on_blobs_named_ != nullptr) {
      on_blobs_named_({named.begin(), named.end()});
    }
    Step(StateRestored{});
  });
}

void MasterLoop::OnSnapshotWanted(SnapshotTaken done) {
  PostOfLog([this, done = std::move(done)] { TakeSnapshot(state_, done); });
}

void MasterLoop::BeginTerm() {
  proposals_.clear();
  proposed_blobs_.clear();
  blobs_->Reset();
}

void MasterLoop::OnLeading(uint64_t term) {
  {
    absl::MutexLock lock(&mu_);
    leads_ = true;
  }
  PostOfLog([this, term] {
    LOG(INFO) << "leading term " << term;
    BeginTerm();
    leader_address_.clear();
    Step(BecameLeader{term, cluster_});
  });
}

void MasterLoop::OnFollowing(uint64_t term, std::string leader_address) {
  {
    absl::MutexLock lock(&mu_);
    leads_ = false;
  }
  PostOfLog([this, term, leader_address = std::move(leader_address)] {
    LOG(INFO) << "following " << leader_address << " in term " << term;
    BeginTerm();
    leader_address_ = leader_address;
    Step(LostLeadership{leader_address_});
    EndWatches(Leading());
  });
}

// ------------------------------------------------------------ worker streams

void MasterLoop::OnStreamOpened(StreamId stream) {
  Post([this, stream] { Step(WorkerStreamOpened{stream}); });
}

void MasterLoop::OnStreamMessage(StreamId stream,
                                 proto::WorkerMessage message) {
  Post([this, stream, message = std::move(message)]() mutable {
    Step(WorkerStreamMessage{stream, std::move(message)});
    streams_->Resume(stream);
  });
}

void MasterLoop::OnStreamClosed(StreamId stream) {
  Post([this, stream] {
    masters_told_.erase(stream);
    Step(WorkerStreamClosed{stream});
  });
}

}  // namespace millrace::master
