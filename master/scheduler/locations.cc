#include "master/scheduler/locations.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace millrace::master {
namespace {

// So many changes are sent at once.
constexpr size_t kBatchMax = 256;
// Of workers in one message: some 6 KB each at most.
constexpr int kAddressesMax = 128;
// Who are told the same maps in one round: each of them costs a look at the
// workers that hold them.
constexpr size_t kReadersMax = 100;

void AddMap(const SoftState& soft, const Job& job, uint32_t index,
            proto::Locations* out) {
  const Task& task = job.maps.tasks[index];
  proto::MapLocation* map = out->add_maps();
  map->set_map_index(index);
  map->set_attempt_uid(std::string(task.uid.bytes()));
  map->set_root(std::string(task.root_bytes()));
  map->set_worker(
      std::string(soft.state.workers()[task.worker].incarnation.bytes()));
  map->set_lost(!task.has_winner);
}

void AddAddress(SoftState& soft, WorkerNumber number, proto::Locations* out) {
  const Worker& holder = soft.state.workers()[number];
  proto::WorkerAddress* address = out->add_workers();
  address->set_incarnation(std::string(holder.incarnation.bytes()));
  address->set_address(holder.address);
  address->set_host_id(holder.host_id);
  if (const SoftWorker* live = soft.FindWorker(number)) {
    address->set_spool_dir(live->spool_dir);
  }
}

using Messages = std::vector<std::shared_ptr<const proto::MasterMessage>>;

// A message that stands in one piece of memory: it has some thousand parts.
struct ArenaMessage {
  google::protobuf::Arena arena;
  proto::MasterMessage* const message =
      google::protobuf::Arena::CreateMessage<proto::MasterMessage>(&arena);
};

// Of these maps, in their order, in messages of bounded length; with the
// addresses of those of their holders that are in `unnamed`.
Messages Compose(SoftState& soft, const Job& job,
                 const std::vector<uint32_t>& maps,
                 const std::vector<WorkerNumber>& unnamed) {
  Messages messages;
  proto::Locations* locations = nullptr;
  std::set<WorkerNumber> left(unnamed.begin(), unnamed.end());
  for (size_t i = 0; i < maps.size(); ++i) {
    const size_t maps_max = soft.options.locations_message_max;
    if (locations == nullptr) {
      const auto next = std::make_shared<ArenaMessage>();
      next->message->set_term(soft.term);
      locations = next->message->mutable_locations();
      locations->set_job_id(std::string(job.id.bytes()));
      locations->mutable_maps()->Reserve(
          static_cast<int>(std::min(maps_max, maps.size() - i)));
      messages.emplace_back(next, next->message);
    }
    AddMap(soft, job, maps[i], locations);
    const Task& task = job.maps.tasks[maps[i]];
    if (task.has_winner && left.erase(task.worker) > 0) {
      AddAddress(soft, task.worker, locations);
    }
    if (static_cast<size_t>(locations->maps_size()) >= maps_max ||
        locations->workers_size() >= kAddressesMax) {
      locations = nullptr;
    }
  }
  return messages;
}

// The same maps to many readers: those to whom the same addresses are new get
// the same messages, since composing them is most of what telling costs.
class Telling {
 public:
  Telling(SoftState& soft, const Job& job, std::vector<uint32_t> maps)
      : soft_(soft), job_(job), maps_(std::move(maps)) {
    for (uint32_t map : maps_) {
      const Task& task = job.maps.tasks[map];
      if (task.has_winner) holders_.push_back(task.worker);
    }
    std::sort(holders_.begin(), holders_.end());
    holders_.erase(std::unique(holders_.begin(), holders_.end()),
                   holders_.end());
  }

  void To(SoftWorker& reader) {
    std::vector<WorkerNumber> unnamed;
    for (WorkerNumber holder : holders_) {
      if (reader.named.Insert(holder)) unnamed.push_back(holder);
    }
    const auto [at, is_new] = composed_.try_emplace(std::move(unnamed));
    if (is_new) at->second = Compose(soft_, job_, maps_, at->first);
    for (const auto& message : at->second) soft_.SendTo(reader, message);
  }

 private:
  SoftState& soft_;
  const Job& job_;
  const std::vector<uint32_t> maps_;
  std::vector<WorkerNumber> holders_;  // Of those that are there, each once.
  // By the holders that were not named to the reader before.
  std::map<std::vector<WorkerNumber>, Messages> composed_;
};

bool HasReduce(const SoftWorker& worker, const JobId& job) {
  return std::any_of(
      worker.attempts.begin(), worker.attempts.end(), [&](const auto& one) {
        const Attempt& attempt = *one.second;
        return attempt.in_live && attempt.task.kind == proto::REDUCE_TASK &&
               attempt.job == job;
      });
}

// Of `new_readers`, those that have reduces of the job and were told nothing of
// it on their present stream.
void FindNewReaders(SoftState& soft, SoftJob& job) {
  for (WorkerNumber number : std::exchange(job.new_readers, {})) {
    SoftWorker* reader = soft.FindWorker(number);
    if (reader == nullptr || !reader->session.has_value() ||
        !HasReduce(*reader, job.job->id) ||
        !reader->located.emplace(job.job->id, 0).second) {
      continue;
    }
    job.readers.emplace(number, reader);
    job.untold.insert(number);
    job.telling = true;
  }
}

// What has changed since, to those who were told of the map already.
void TellMoved(SoftState& soft, const SoftJob& job) {
  std::map<uint32_t, Telling> tellings;  // By how many maps were told before.
  for (const auto& [number, reader] : job.readers) {
    const uint32_t told = reader->located.at(job.job->id);
    auto at = tellings.find(told);
    if (at == tellings.end()) {
      const auto end =
          std::lower_bound(job.moved_maps.begin(), job.moved_maps.end(), told);
      std::vector<uint32_t> maps(job.moved_maps.begin(), end);
      at = tellings.try_emplace(told, soft, *job.job, std::move(maps)).first;
    }
    at->second.To(*reader);
  }
}

void TellAllMoved(SoftState& soft, SoftJob& job) {
  std::sort(job.moved_maps.begin(), job.moved_maps.end());
  job.moved_maps.erase(
      std::unique(job.moved_maps.begin(), job.moved_maps.end()),
      job.moved_maps.end());
  TellMoved(soft, job);
  job.moved_maps.clear();
}

// Which maps from `told` to `end` are there, to readers that were told of those
// before them alone; to kReadersMax at most.
void TellNext(SoftState& soft, SoftJob& job, uint32_t told, uint32_t end) {
  std::vector<uint32_t> maps;
  for (uint32_t map = told; map < end; ++map) {
    if (job.job->maps.tasks[map].has_winner) maps.push_back(map);
  }
  Telling telling(soft, *job.job, std::move(maps));
  size_t readers = 0;
  for (auto at = job.untold.begin();
       at != job.untold.end() && readers < kReadersMax;) {
    SoftWorker& reader = *job.readers.at(*at);
    uint32_t& knows = reader.located.at(job.job->id);
    if (knows != told) {
      ++at;
      continue;
    }
    ++readers;
    knows = end;
    telling.To(reader);
    at = end == job.job->maps.total ? job.untold.erase(at) : std::next(at);
  }
}

// What was there before, as far as this round goes: to the first reader, and
// together with it to others that know as much.
void TellMore(SoftState& soft, SoftJob& job) {
  const uint32_t total = job.job->maps.total;
  job.telling = false;
  while (!job.untold.empty()) {
    const SoftWorker& first = *job.readers.at(*job.untold.begin());
    const uint32_t told = first.located.at(job.job->id);
    const uint32_t end = told + std::min(soft.telling_left, total - told);
    soft.telling_left -= end - told;
    job.telling = end < total;
    if (end > told || !job.telling) TellNext(soft, job, told, end);
    if (job.telling) return;
  }
}

// A leader that has not heard all workers does not know their directories.
// Before the plan there is nothing to tell, whatever reduces a worker may say
// that it has.
bool MayTell(const SoftState& soft, const SoftJob& job) {
  return job.job->planned && (job.fresh || soft.all_heard);
}

}  // namespace

void MapMoved(SoftState& soft, SoftJob& job, uint32_t map) {
  if (job.job->reduces.total == 0) return;
  if (job.moved_maps.empty()) job.moved_since = soft.now;
  job.moved_maps.push_back(map);
}

void TellRaised(SoftState& soft) {
  for (uint64_t index : std::exchange(soft.raised_jobs, {})) {
    const auto at = soft.jobs.find(index);
    if (at == soft.jobs.end() || !MayTell(soft, at->second)) continue;
    TellAllMoved(soft, at->second);
  }
}

void ForgetLocated(SoftState& soft, SoftWorker& worker, const JobId& id) {
  if (worker.located.erase(id) == 0) return;
  SoftJob* job = soft.FindJob(id);
  if (job == nullptr) return;
  job->readers.erase(worker.entry->number);
  job->untold.erase(worker.entry->number);
}

void ForgetLocated(SoftState& soft, SoftWorker& worker) {
  while (!worker.located.empty()) {
    ForgetLocated(soft, worker, JobId(worker.located.begin()->first));
  }
}

void SendLocations(SoftState& soft) {
  bool telling = false;
  for (auto& [index, job] : soft.jobs) {
    if (!MayTell(soft, job)) continue;
    if (!job.new_readers.empty()) FindNewReaders(soft, job);
    telling = telling || job.telling;
    if (job.moved_maps.empty()) continue;
    const absl::Duration due = job.moved_since + soft.options.locations_batch;
    if (!job.job->maps.all_done() && job.moved_maps.size() < kBatchMax &&
        soft.now < due) {
      soft.WakeAt(due);
      continue;
    }
    TellAllMoved(soft, job);
  }
  if (!telling) return;
  if (soft.now >= soft.telling_until) {
    soft.telling_left = soft.options.locations_round_maps;
    soft.telling_until = soft.now + soft.options.locations_batch;
  }
  telling = false;
  for (auto& [index, job] : soft.jobs) {
    if (job.telling && MayTell(soft, job)) TellMore(soft, job);
    telling = telling || job.telling;
  }
  if (telling) soft.WakeAt(soft.telling_until);
}

}  // namespace millrace::master
