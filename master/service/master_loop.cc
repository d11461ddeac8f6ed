#include "master/service/master_loop.h"

#include <algorithm>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/service/check_spec.h"
#include "master/service/fault_names.h"
#include "master/service/named_blobs.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// Between two reports of a job's progress.
constexpr absl::Duration kShowInterval = absl::Milliseconds(100);
// When the log takes no proposals.
constexpr absl::Duration kProposeInterval = absl::Milliseconds(20);

// What must be held before it is proposed; that of JobSubmitted is seen to
// before the core hears of the job.
std::set<std::string> BlobsToHold(const proto::LogEntry& entry) {
  if (entry.has_job_submitted()) return {};
  return NamedBlobs(entry);
}

void EraseOne(std::multiset<std::string>& set, const std::string& value) {
  if (const auto found = set.find(value); found != set.end()) set.erase(found);
}

bool Ended(proto::JobState state) {
  return state == proto::SUCCEEDED || state == proto::FAILED ||
         state == proto::KILLED;
}

}  // namespace

MasterLoop::MasterLoop(const SchedulerOptions& options, Clock& clock,
                       Random& random, Peers& peers)
    : clock_(clock), peers_(peers), core_(options, state_, random) {}

MasterLoop::~MasterLoop() { Stop(); }

void MasterLoop::Start(WorkerStreams& streams, BlobHolders& holders) {
  streams_ = &streams;
  holders_ = &holders;
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

void MasterLoop::Step(const Event& event) {
  const int64_t wall_ms = absl::ToUnixMillis(clock_.Now());
  std::vector<Effect> effects = core_.Step(event, clock_.Monotonic(), wall_ms);
  for (Effect& effect : effects) Carry(effect);
}

void MasterLoop::Carry(Effect& effect) {
  if (auto* propose = std::get_if<Propose>(&effect)) {
    FaultPointOf("propose", propose->entry);
    std::set<std::string> blobs = BlobsToHold(propose->entry);
    if (blobs.empty()) {
      proposals_.push_back(propose->entry.SerializeAsString());
    } else {
      ProposeWhenHeld(std::move(propose->entry), std::move(blobs));
    }
  } else if (auto* send = std::get_if<Send>(&effect)) {
    NameMasters(send->session, &send->message);
    const std::string_view name = FaultName(send->message);
    if (FaultsSet()) FaultPoint(Cat("send.", name));
    if (send->message.has_grant()) FaultPoint("grant");
    streams_->Send(send->session, std::move(send->message));
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

void MasterLoop::NameMasters(StreamId stream, proto::MasterMessage* message) {
  std::vector<std::string> masters = peers_.Addresses();
  std::vector<std::string>& told = masters_told_[stream];
  if (masters == told) return;
  message->mutable_masters()->Assign(masters.begin(), masters.end());
  told = std::move(masters);
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
      EraseOne(proposed_blobs_, sha256);
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
  holders_->Want(blobs, [this, term = core_.term(), entry = std::move(entry),
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
        EraseOne(proposed_blobs_, sha256);
      }
      Step(BlobLost{entry, std::string(ToStd(status.message()))});
    });
  });
}

void MasterLoop::ProposeQueued() {
  propose_again_ = absl::InfiniteDuration();
  if (proposals_.empty() || log_ == nullptr) return;
  const absl::Status status = log_->Propose(
      core_.term(),
      std::vector<std::string>(proposals_.begin(), proposals_.end()));
  switch (status.code()) {
    case absl::StatusCode::kOk:
      proposals_.clear();
      FaultPoint("proposed");
      break;
    case absl::StatusCode::kResourceExhausted:
      propose_again_ = clock_.Monotonic() + kProposeInterval;
      LOG_EVERY_N(WARNING, 100)
          << "the log takes no entries: " << ToStd(status.message());
      break;
    default:
      // Leadership is lost, or will be heard to be in a moment.
      LOG(WARNING) << proposals_.size()
                   << " entries dropped: " << ToStd(status.message());
      proposals_.clear();
  }
}

// ---------------------------------------------------------------------- log

void MasterLoop::OnCommitted(std::vector<raft::CommittedEntry> entries) {
  PostOfLog([this, entries = std::move(entries)] {
    for (const raft::CommittedEntry& entry : entries) ApplyEntry(entry);
  });
}

void MasterLoop::OnSnapshot(uint64_t, uint64_t, std::unique_ptr<ByteSource>) {
  LOG(FATAL) << "tmp";
}
void MasterLoop::OnSnapshotWanted(SnapshotTaken) { LOG(FATAL) << "tmp"; }

void MasterLoop::BeginTerm() {
  proposals_.clear();
  proposed_blobs_.clear();
  holders_->Reset();
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

// ------------------------------------------------------------------- clients

void MasterLoop::AwaitReply(ReplyTag tag, OnReply done) {
  replies_[tag] = std::move(done);
}

void MasterLoop::Submit(const RequestId& request_id, proto::JobSpec spec,
                        OnReply done) {
  Post([this, request_id, spec = std::move(spec),
        done = std::move(done)]() mutable {
    // A repeated one is answered from the state, and one that does not lead
    // says so, whatever has become of the blobs.
    if (!core_.leading() || state_.FindJobByRequest(request_id) != nullptr) {
      return StepSubmit(request_id, std::move(spec), std::move(done));
    }
    const std::vector<std::string> blobs = BlobsOf(spec);
    submitted_blobs_.insert(blobs.begin(), blobs.end());
    OnReply named = [this, blobs, done = std::move(done)](const Reply& reply) {
      for (const std::string& sha256 : blobs) {
        EraseOne(submitted_blobs_, sha256);
      }
      done(reply);
    };
    holders_->Want({blobs.begin(), blobs.end()},
                   [this, request_id, spec = std::move(spec),
                    named = std::move(named)](const absl::Status& status) {
                     Post([this, request_id, spec, named, status] {
                       if (status.ok()) {
                         return StepSubmit(request_id, spec, named);
                       }
                       Reply refused;
                       refused.status =
                           absl::IsNotFound(status)
                               ? status
                               : absl::UnavailableError(status.message());
                       named(refused);
                     });
                   });
  });
}

void MasterLoop::StepSubmit(const RequestId& request_id, proto::JobSpec spec,
                            OnReply done) {
  const ReplyTag tag = next_tag_++;
  AwaitReply(tag, std::move(done));
  Step(ClientSubmit{tag, request_id, std::move(spec)});
}

void MasterLoop::Kill(std::string id_prefix, std::string reason, OnReply done) {
  Confirm([this, id_prefix = std::move(id_prefix), reason = std::move(reason),
           done = std::move(done)](const absl::Status& leading) {
    Reply refused;
    refused.status = leading;
    if (refused.status.ok()) {
      const absl::StatusOr<const Job*> job = state_.FindJobByPrefix(id_prefix);
      refused.status = job.status();
      if (job.ok()) {
        const ReplyTag tag = next_tag_++;
        AwaitReply(tag, done);
        Step(ClientKill{tag, (*job)->id, reason});
        return;
      }
    }
    done(refused);
  });
}

void MasterLoop::Drain(std::string worker, bool draining, OnReply done) {
  Post([this, worker = std::move(worker), draining,
        done = std::move(done)]() mutable {
    const ReplyTag tag = next_tag_++;
    AwaitReply(tag, std::move(done));
    Step(ClientDrain{tag, std::move(worker), draining});
  });
}

absl::Status MasterLoop::Leading() const {
  if (core_.leading()) return absl::OkStatus();
  return rpc::NotLeaderError(
      {leader_address_, core_.term(), peers_.Addresses()}, standing_);
}

void MasterLoop::Confirm(Confirmed then) {
  Post([this, then = std::move(then)]() mutable {
    if (!core_.leading()) return then(Leading());
    unconfirmed_.push_back(std::move(then));
  });
}

void MasterLoop::ConfirmQueued() {
  if (unconfirmed_.empty() || confirming_) return;
  if (!core_.leading()) {
    for (const Confirmed& then : std::exchange(unconfirmed_, {})) {
      then(Leading());
    }
    return;
  }
  confirming_ = true;
  const uint64_t term = core_.term();
  log_->ConfirmLeading(
      term, [this, term, all = std::exchange(unconfirmed_, {})](
                const absl::Status& status) {
        Post([this, term, all, status] {
          confirming_ = false;
          absl::Status leading = Leading();
          if (leading.ok() && (!status.ok() || core_.term() != term)) {
            // It may lead again, or not yet know that it does not.
            leading =
                absl::UnavailableError("the leader of the masters is changing");
          }
          for (const Confirmed& then : all) then(leading);
        });
      });
}

void MasterLoop::Read(Reader reader) {
  Confirm([this, reader = std::move(reader)](const absl::Status& leading) {
    reader(leading, state_, core_);
  });
}

void MasterLoop::Look(Reader reader) {
  Post(
      [this, reader = std::move(reader)] { reader(Leading(), state_, core_); });
}

void MasterLoop::NamedBlobs(
    std::function<void(const absl::Status&, const std::set<std::string>&)>
        done) {
  Confirm([this, done = std::move(done)](const absl::Status& leading) {
    std::set<std::string> named = master::NamedBlobs(state_);
    named.insert(submitted_blobs_.begin(), submitted_blobs_.end());
    named.insert(proposed_blobs_.begin(), proposed_blobs_.end());
    done(leading, named);
  });
}

void MasterLoop::ReleaseBlobs(
    raft::NodeId holder, std::vector<std::string> blobs,
    std::function<void(const absl::Status&, const std::vector<std::string>&)>
        done) {
  NamedBlobs(
      [this, holder, blobs = std::move(blobs), done = std::move(done)](
          const absl::Status& leading, const std::set<std::string>& named) {
        if (!leading.ok()) return done(leading, {});
        std::vector<std::string> unnamed;
        for (const std::string& sha256 : blobs) {
          if (named.count(sha256) == 0) unnamed.push_back(sha256);
        }
        done(leading, holders_->Release(holder, unnamed));
      });
}

// ------------------------------------------------------------------- watches

MasterLoop::WatchId MasterLoop::Watch(std::string id_prefix,
                                      OnStatus on_status) {
  WatchId id;
  {
    absl::MutexLock lock(&mu_);
    id = next_watch_++;
  }
  Post([this, id] { begun_.insert(id); });
  Confirm([this, id, id_prefix = std::move(id_prefix),
           on_status = std::move(on_status)](const absl::Status& leading) {
    if (begun_.erase(id) == 0) return;  // Nobody watches any more.
    absl::Status status = leading;
    if (status.ok()) {
      const absl::StatusOr<const Job*> job = state_.FindJobByPrefix(id_prefix);
      status = job.status();
      if (job.ok()) {
        Watcher& watcher = watchers_[id];
        watcher.job = (*job)->id;
        watcher.on_status = on_status;
        Show(id, watcher);
        return;
      }
    }
    on_status(status, {}, true);
  });
  return id;
}

void MasterLoop::Unwatch(WatchId watch) {
  Post([this, watch] {
    begun_.erase(watch);
    watchers_.erase(watch);
  });
}

void MasterLoop::Show(WatchId id, Watcher& watcher) {
  const Job* job = state_.FindJob(watcher.job);
  if (job == nullptr) {
    const OnStatus on_status = std::move(watcher.on_status);
    watchers_.erase(id);
    on_status(absl::NotFoundError("the job is no longer kept"), {}, true);
    return;
  }
  proto::JobStatus status;
  core_.FillJobStatus(*job, &status);
  std::string bytes = status.SerializeAsString();
  if (bytes == watcher.shown) return;
  watcher.shown = std::move(bytes);
  const bool last = Ended(status.state());
  if (!last) {
    watcher.on_status(absl::OkStatus(), status, false);
    return;
  }
  const OnStatus on_status = std::move(watcher.on_status);
  watchers_.erase(id);
  on_status(absl::OkStatus(), status, true);
}

void MasterLoop::ShowChanged() {
  if (watchers_.empty()) changed_.clear();
  if (changed_.empty()) {
    show_at_ = absl::InfiniteDuration();
    return;
  }
  // Ends are told at once, progress when its time has come.
  const absl::Duration now = clock_.Monotonic();
  if (show_at_ == absl::InfiniteDuration()) show_at_ = now + kShowInterval;
  const bool all = now >= show_at_;
  std::vector<WatchId> ids;
  for (const auto& [id, watcher] : watchers_) {
    if (changed_.count(watcher.job) == 0) continue;
    const Job* job = state_.FindJob(watcher.job);
    if (all || job == nullptr || Ended(job->state)) ids.push_back(id);
  }
  for (const WatchId id : ids) {
    if (const auto found = watchers_.find(id); found != watchers_.end()) {
      Show(id, found->second);
    }
  }
  if (all) {
    changed_.clear();
    show_at_ = absl::InfiniteDuration();
  }
}

void MasterLoop::EndWatches(const absl::Status& status) {
  for (const auto& [id, watcher] : std::exchange(watchers_, {})) {
    watcher.on_status(status, {}, true);
  }
}

}  // namespace millrace::master
