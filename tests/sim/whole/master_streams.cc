// What reaches the masters and leaves them: streams of workers, clients.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "storage/commit/output_commit.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {

using master::SessionId;

absl::Duration Masters::Latency(const Worker& worker) {
  const auto slow = slowness_.find(&worker);
  if (slow == slowness_.end() || slow->second.until < world_.queue.now()) {
    return world_.Between(0.1, 4);
  }
  return world_.Between(0.1, absl::ToDoubleMilliseconds(slow->second.by));
}

void Masters::Delay(Worker& worker, absl::Duration by, absl::Duration until) {
  slowness_[&worker] = {by, until};
  unsettled_until_ = std::max(unsettled_until_, until + kSettled);
}

absl::Duration Masters::ArrivalAtMasters(const Worker& worker) {
  return std::max(world_.queue.now(), cuts_[&worker].to_masters) +
         Latency(worker);
}

absl::Duration Masters::ArrivalAtWorker(const Worker& worker) {
  return std::max(world_.queue.now(), cuts_[&worker].to_worker) +
         Latency(worker);
}

// As TCP has it: what is said meanwhile arrives afterwards, unless one of the
// two has given the stream up by then.
void Masters::CutLink(Worker& worker, absl::Duration until, bool to_masters,
                      bool to_worker) {
  Cut& cut = cuts_[&worker];
  if (to_masters) cut.to_masters = std::max(cut.to_masters, until);
  if (to_worker) cut.to_worker = std::max(cut.to_worker, until);
  unsettled_until_ = std::max(unsettled_until_, until + kSettled);
}

bool Masters::HasStream(const Worker& worker) const {
  return std::any_of(streams_.begin(), streams_.end(), [&](const auto& one) {
    return one.second.worker == &worker && one.second.worker_open &&
           one.second.worker_life == worker.life();
  });
}

worker::StreamId Masters::Connect(Worker& worker) {
  // Its list of masters has all of them; a standby says who leads, or does not
  // know.
  size_t index = world_.Pick(masters_.size());
  if (leader_ >= 0 && !world_.Chance(0.2)) index = static_cast<size_t>(leader_);
  // One that is cut off from the others may be what a worker still reaches.
  Master& master = *masters_[index];
  const SessionId id = next_session_++;
  if (!master.alive) {
    worker.OnClosed(id);
    return 0;
  }
  Stream& stream = streams_[id];
  stream.worker = &worker;
  stream.worker_life = worker.life();
  stream.master = master.index;
  stream.to_master = ArrivalAtMasters(worker);
  stream.to_worker = std::max(stream.to_master, ArrivalAtWorker(worker));
  world_.queue.At(stream.to_master, [this, id] {
    const auto found = streams_.find(id);
    if (found == streams_.end() || !found->second.master_open) return;
    Feed(*masters_[static_cast<size_t>(found->second.master)],
         master::WorkerStreamOpened{id});
  });
  world_.queue.At(stream.to_worker, [this, id] {
    const auto found = streams_.find(id);
    if (found == streams_.end() || !found->second.worker_open) return;
    if (found->second.worker->life() != found->second.worker_life) return;
    found->second.worker->OnOpened(id);
  });
  return id;
}

void Masters::FromWorker(worker::StreamId id, proto::WorkerMessage message) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.worker_open) return;
  Stream& stream = found->second;
  stream.to_master =
      std::max(stream.to_master, ArrivalAtMasters(*stream.worker));
  world_.queue.At(stream.to_master, [this, id, message = std::move(message)] {
    const auto at = streams_.find(id);
    // What was under way when the stream broke is lost.
    if (at == streams_.end() || !at->second.master_open ||
        !at->second.worker_open) {
      return;
    }
    Feed(*masters_[static_cast<size_t>(at->second.master)],
         master::WorkerStreamMessage{id, message});
  });
}

void Masters::SendToWorker(SessionId id, proto::MasterMessage message) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.master_open) return;
  if (message.has_grant()) world_.checker.OnGrantSent(id, message.grant());
  Stream& stream = found->second;
  stream.to_worker =
      std::max(stream.to_worker, ArrivalAtWorker(*stream.worker));
  world_.queue.At(stream.to_worker, [this, id, message = std::move(message)] {
    const auto at = streams_.find(id);
    if (at == streams_.end() || !at->second.worker_open) return;
    at->second.worker->OnMessage(id, message);
  });
}

void Masters::CloseFromMaster(SessionId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.master_open = false;
  world_.queue.At(
      std::max({found->second.to_worker, world_.queue.now(),
                cuts_[found->second.worker].to_worker}),
      [this, id] {
        const auto at = streams_.find(id);
        if (at == streams_.end()) return;
        const Stream stream = at->second;
        streams_.erase(at);
        world_.checker.OnStreamGone(id);
        if (stream.worker_open && stream.worker->life() == stream.worker_life) {
          stream.worker->OnClosed(id);
        }
      });
}

void Masters::CloseFromWorker(worker::StreamId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.worker_open = false;
  BreakStream(id, world_.Between(0.1, 20));
}

void Masters::Break(Worker& worker, absl::Duration master_after) {
  std::vector<SessionId> ids;
  for (const auto& [id, stream] : streams_) {
    if (stream.worker == &worker && stream.worker_open) ids.push_back(id);
  }
  for (SessionId id : ids) BreakStream(id, master_after);
}

void Masters::BreakStream(SessionId id, absl::Duration master_after) {
  Stream& stream = streams_.at(id);
  const bool was_open = std::exchange(stream.worker_open, false);
  // News of an end pass a cut no sooner than anything else.
  const Cut& cut = cuts_[stream.worker];
  const absl::Duration now = world_.queue.now();
  master_after = std::max(master_after, cut.to_masters - now);
  if (was_open) {
    world_.queue.After(std::max(world_.Between(0, 50), cut.to_worker - now),
                       [id, worker = stream.worker, life = stream.worker_life] {
                         if (worker->life() == life) worker->OnClosed(id);
                       });
  }
  world_.queue.After(master_after, [this, id] {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    const Stream gone = found->second;
    streams_.erase(found);
    world_.checker.OnStreamGone(id);
    if (gone.master_open) {
      Feed(*masters_[static_cast<size_t>(gone.master)],
           master::WorkerStreamClosed{id});
    }
  });
}

// ------------------------------------------------------------------- clients

Masters::Master* Masters::ForClient() {
  size_t index = world_.Pick(masters_.size());
  if (leader_ >= 0 && !world_.Chance(0.1)) index = static_cast<size_t>(leader_);
  return masters_[index]->alive ? masters_[index].get() : nullptr;
}

void Masters::Submit(size_t index) {
  ClientJob& job = world_.jobs.all()[index];
  job.submitted = true;
  // Without an answer the client asks again; now and then also with one.
  const bool repeat = job.settled();
  if (repeat && (!world_.May(Fault::kClientRepeats) || !world_.Chance(0.2))) {
    return;
  }
  world_.queue.After(absl::Seconds(2), [this, index] { Submit(index); });
  Master* master = ForClient();
  if (master == nullptr) return;
  master::ClientSubmit submit;
  submit.tag = next_tag_++;
  submit.request_id = job.request;
  if (world_.options.mutant.edge.new_request_each_time) {
    submit.request_id = RequestId::Generate(*world_.random);
  }
  submit.spec = job.spec;
  submits_[submit.tag] = index;
  if (repeat) world_.Hit(Fault::kClientRepeats, Only(Step::kSubmit));
  Feed(*master, submit);
}

void Masters::OnReply(const master::Reply& reply) {
  const auto found = submits_.find(reply.tag);
  if (found == submits_.end()) return;
  const size_t index = found->second;
  submits_.erase(found);
  if (reply.not_leader) return;  // It asks again in its time.
  ClientJob& job = world_.jobs.all()[index];
  if (!reply.status.ok()) {
    if (job.id.has_value()) {
      world_.Violate("I4: an acknowledged submit is refused later");
    }
    job.refused = true;
    return;
  }
  if (job.id.has_value() && *job.id != reply.job) {
    world_.Violate("I4: one request made two jobs");
  }
  if (truth_.FindJob(reply.job) == nullptr) {
    world_.Violate("I3: a submit is acknowledged before it is committed");
  }
  job.id = reply.job;
  world_.Note(Cat(job.name, " is ", reply.job.ToShort()));
}

void Masters::Kill(ClientJob& job) {
  Master* master = ForClient();
  if (!job.id.has_value() || master == nullptr) return;
  const master::Job* truth = truth_.FindJob(*job.id);
  if (truth == nullptr || truth->ended()) return;
  StepSet steps;
  for (const auto& worker : world_.workers) steps |= worker->Steps(&*job.id);
  steps &= ~Only(Step::kCleanup);
  world_.Hit(Fault::kClientKills, steps);
  world_.Note(Cat("the client kills ", job.name));
  job.kill_sent = true;
  if (world_.options.mutant.edge.kill_deletes_staging &&
      truth->state == proto::COMMITTING) {
    storage::RemoveStaging(world_.fs, job.output, *job.id).IgnoreError();
  }
  Feed(*master, master::ClientKill{next_tag_++, *job.id, "test"});
}

void Masters::Drain(const std::string& worker, bool draining) {
  if (leader_ < 0) return;
  Feed(leader(), master::ClientDrain{next_tag_++, worker, draining});
}

// What clients of this master now see of the job.
void Masters::Watch(const Master& master, const JobId& id) {
  const master::Job* job = master.state->FindJob(id);
  if (job == nullptr) return;
  const bool told = job->state == proto::SUCCEEDED ||
                    (world_.options.mutant.edge.tell_before_committed &&
                     job->state == proto::COMMITTING);
  if (told && !world_.fs.Exists(job->spec->output())) {
    world_.Violate(Cat("P2: clients hear of a success of ", job->spec->name(),
                       " that has no output"));
  }
}

}  // namespace millrace::wholesim
