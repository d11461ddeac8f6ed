#include "master/service/master_loop.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// Between two reports of a job's progress.
constexpr absl::Duration kShowInterval = absl::Milliseconds(100);
// When the log takes no proposals.
constexpr absl::Duration kProposeInterval = absl::Milliseconds(20);

bool Ended(proto::JobState state) {
  return state == proto::SUCCEEDED || state == proto::FAILED ||
         state == proto::KILLED;
}

}  // namespace

MasterLoop::MasterLoop(const SchedulerOptions& options, Clock& clock,
                       Random& random)
    : clock_(clock), core_(options, state_, random) {}

MasterLoop::~MasterLoop() { Stop(); }

void MasterLoop::Start(raft::ReplicatedLog& log, const ClusterId& cluster,
                       WorkerStreams& streams) {
  log_ = &log;
  cluster_ = cluster;
  streams_ = &streams;
  thread_ = std::thread([this] { Loop(); });
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
    ShowChanged();
  }
  const absl::Status status = absl::CancelledError("the master is stopping");
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
    proposals_.push_back(propose->entry.SerializeAsString());
  } else if (auto* send = std::get_if<Send>(&effect)) {
    streams_->Send(send->session, std::move(send->message));
  } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
    streams_->Close(close->session);
  } else if (const auto* reply = std::get_if<Reply>(&effect)) {
    const auto found = replies_.find(reply->tag);
    if (found == replies_.end()) return;
    const OnReply done = std::move(found->second);
    replies_.erase(found);
    if (reply->not_leader) {
      Reply elsewhere = *reply;
      elsewhere.status = rpc::NotLeaderError({leader_address_, core_.term()});
      done(elsewhere);
    } else {
      done(*reply);
    }
  } else if (const auto* changed = std::get_if<JobChanged>(&effect)) {
    changed_.insert(changed->job);
  }
}

void MasterLoop::ApplyEntry(const raft::CommittedEntry& committed) {
  proto::LogEntry entry;
  // The log vouches for the bytes, so this is a bug or a newer program's log.
  // Going on would make this master disagree with the others.
  CHECK(entry.ParseFromString(committed.payload))
      << "log entry " << committed.index << " cannot be read";
  const ApplyResult result =
      state_.Apply(committed.index, committed.term, entry);
  CHECK(result.refusal != Refusal::kVersion)
      << "log entry " << committed.index << ": " << result.message
      << "; start a version of millrace-master that is at least as new as the "
         "one that wrote it";
  Step(EntryApplied{committed.index, committed.term, &entry, &result});
}

void MasterLoop::ProposeQueued() {
  propose_again_ = absl::InfiniteDuration();
  if (proposals_.empty()) return;
  const absl::Status status = log_->Propose(
      core_.term(),
      std::vector<std::string>(proposals_.begin(), proposals_.end()));
  switch (status.code()) {
    case absl::StatusCode::kOk:
      proposals_.clear();
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
  Post([this, entries = std::move(entries)] {
    for (const raft::CommittedEntry& entry : entries) ApplyEntry(entry);
  });
}

void MasterLoop::OnLeading(uint64_t term) {
  Post([this, term] {
    leader_address_.clear();
    Step(BecameLeader{term, cluster_});
  });
}

void MasterLoop::OnFollowing(uint64_t term, std::string leader_address) {
  Post([this, term, leader_address = std::move(leader_address)] {
    LOG(INFO) << "following " << leader_address << " in term " << term;
    leader_address_ = leader_address;
    proposals_.clear();
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
  Post([this, stream] { Step(WorkerStreamClosed{stream}); });
}

// ------------------------------------------------------------------- clients

void MasterLoop::AwaitReply(ReplyTag tag, OnReply done) {
  replies_[tag] = std::move(done);
}

void MasterLoop::Submit(const RequestId& request_id, proto::JobSpec spec,
                        OnReply done) {
  Post([this, request_id, spec = std::move(spec),
        done = std::move(done)]() mutable {
    const ReplyTag tag = next_tag_++;
    AwaitReply(tag, std::move(done));
    Step(ClientSubmit{tag, request_id, std::move(spec)});
  });
}

void MasterLoop::Kill(std::string id_prefix, std::string reason, OnReply done) {
  Post([this, id_prefix = std::move(id_prefix), reason = std::move(reason),
        done = std::move(done)]() mutable {
    Reply refused;
    refused.status = Leading();
    if (refused.status.ok()) {
      const absl::StatusOr<const Job*> job = state_.FindJobByPrefix(id_prefix);
      refused.status = job.status();
      if (job.ok()) {
        const ReplyTag tag = next_tag_++;
        AwaitReply(tag, std::move(done));
        Step(ClientKill{tag, (*job)->id, std::move(reason)});
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
  return rpc::NotLeaderError({leader_address_, core_.term()});
}

void MasterLoop::Read(Reader reader) {
  Post(
      [this, reader = std::move(reader)] { reader(Leading(), state_, core_); });
}

// ------------------------------------------------------------------- watches

MasterLoop::WatchId MasterLoop::Watch(std::string id_prefix,
                                      OnStatus on_status) {
  WatchId id;
  {
    absl::MutexLock lock(&mu_);
    id = next_watch_++;
  }
  Post([this, id, id_prefix = std::move(id_prefix),
        on_status = std::move(on_status)]() mutable {
    absl::Status status = Leading();
    if (status.ok()) {
      const absl::StatusOr<const Job*> job = state_.FindJobByPrefix(id_prefix);
      status = job.status();
      if (job.ok()) {
        Watcher& watcher = watchers_[id];
        watcher.job = (*job)->id;
        watcher.on_status = std::move(on_status);
        Show(id, watcher);
        return;
      }
    }
    on_status(status, {}, true);
  });
  return id;
}

void MasterLoop::Unwatch(WatchId watch) {
  Post([this, watch] { watchers_.erase(watch); });
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
