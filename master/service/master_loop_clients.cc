// What clients ask of the loop, and what the keepers of the blobs do.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/service/check_spec.h"
#include "master/service/master_loop.h"
#include "master/service/named_blobs.h"
#include "rpc/not_leader.h"

namespace millrace::master {
namespace {

// Between two reports of a job's progress.
constexpr absl::Duration kShowInterval = absl::Milliseconds(100);

bool Ended(proto::JobState state) {
  return state == proto::SUCCEEDED || state == proto::FAILED ||
         state == proto::KILLED;
}

}  // namespace

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
        EraseOneBlob(submitted_blobs_, sha256);
      }
      done(reply);
    };
    blobs_->Want({blobs.begin(), blobs.end()},
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
      {leader_address_, core_.term(), group_.Addresses()}, standing_);
}

bool MasterLoop::LeadsAlone() const {
  const GroupView::GroupStatus group = group_.status();
  if (group.leader != group.self || group.term != core_.term()) return false;
  return std::all_of(group.membership.begin(), group.membership.end(),
                     [&](const auto& member) {
                       return member.first == group.self ||
                              !member.second.voter;
                     });
}

void MasterLoop::Confirm(Confirmed then) {
  Post([this, then = std::move(then)]() mutable {
    // Alone it need not ask the log, which may be at a write: what is committed
    // and not here yet has been told to nobody.
    if (!core_.leading() || LeadsAlone()) return then(Leading());
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
        done(leading, blobs_->Release(holder, unnamed));
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
