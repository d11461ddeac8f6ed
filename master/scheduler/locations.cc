#include "master/scheduler/locations.h"

#include <algorithm>
#include <utility>

namespace millrace::master {
namespace {

// So many changes are sent at once.
constexpr size_t kBatchMax = 256;
// Of workers in one message: some 6 KB each at most.
constexpr int kAddressesMax = 128;

void AddMap(SoftState& soft, const SoftJob& job, uint32_t index,
            SoftWorker& reader, proto::Locations* out) {
  const Task& task = job.job->maps.tasks[index];
  const Worker& holder = soft.state.workers()[task.worker];
  proto::MapLocation* map = out->add_maps();
  map->set_map_index(index);
  map->set_attempt_uid(std::string(task.uid.bytes()));
  map->set_root(std::string(task.root_bytes()));
  map->set_worker(std::string(holder.incarnation.bytes()));
  map->set_lost(!task.has_winner);
  if (!task.has_winner || !reader.named.insert(holder.number).second) return;
  proto::WorkerAddress* address = out->add_workers();
  address->set_incarnation(std::string(holder.incarnation.bytes()));
  address->set_address(holder.address);
  address->set_host_id(holder.host_id);
  if (const SoftWorker* live = soft.FindWorker(holder.number)) {
    address->set_spool_dir(live->spool_dir);
  }
}

// In messages of bounded length.
class LocationsMessage {
 public:
  LocationsMessage(SoftState& soft, const SoftJob& job, SoftWorker& reader)
      : soft_(soft), job_(job), reader_(reader) {}

  void Add(uint32_t map) {
    proto::Locations* locations = message_.mutable_locations();
    AddMap(soft_, job_, map, reader_, locations);
    if (static_cast<size_t>(locations->maps_size()) >=
            soft_.options.locations_message_max ||
        locations->workers_size() >= kAddressesMax) {
      Flush();
    }
  }
  void Flush() {
    if (message_.locations().maps_size() == 0) return;
    message_.mutable_locations()->set_job_id(std::string(job_.job->id.bytes()));
    soft_.SendTo(reader_, std::move(message_));
    message_.Clear();
  }

 private:
  SoftState& soft_;
  const SoftJob& job_;
  SoftWorker& reader_;
  proto::MasterMessage message_;
};

// Workers with reduces of the job that were told nothing of it on their present
// stream.
void FindNewReaders(SoftState& soft, SoftJob& job) {
  for (auto at = job.live.lower_bound({proto::REDUCE_TASK, 0});
       at != job.live.end() && at->first.kind == proto::REDUCE_TASK; ++at) {
    SoftWorker* reader = soft.FindWorker(at->second->worker);
    if (reader == nullptr || !reader->session.has_value()) continue;
    if (reader->located.emplace(job.job->id, 0).second) job.telling = true;
  }
}

// What has changed since, to those who were told of the map already.
void TellMoved(SoftState& soft, const SoftJob& job) {
  for (auto& [number, reader] : soft.workers) {
    const auto told = reader.located.find(job.job->id);
    if (told == reader.located.end()) continue;
    LocationsMessage message(soft, job, reader);
    for (uint32_t map : job.moved_maps) {
      if (map < told->second) message.Add(map);
    }
    message.Flush();
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

// What was there before, one reader after the other, as far as this round goes.
void TellMore(SoftState& soft, SoftJob& job) {
  const uint32_t total = job.job->maps.total;
  job.telling = false;
  for (auto& [number, reader] : soft.workers) {
    const auto at = reader.located.find(job.job->id);
    if (at == reader.located.end() || at->second == total) continue;
    const uint32_t end =
        at->second + std::min(soft.telling_left, total - at->second);
    soft.telling_left -= end - at->second;
    job.telling = end < total;
    LocationsMessage message(soft, job, reader);
    for (uint32_t& map = at->second; map < end; ++map) {
      if (job.job->maps.tasks[map].has_winner) message.Add(map);
    }
    message.Flush();
    if (job.telling) return;
  }
}

// A leader that has not heard all workers does not know their directories.
bool MayTell(const SoftState& soft, const SoftJob& job) {
  return job.fresh || soft.all_heard;
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

void SendLocations(SoftState& soft) {
  bool telling = false;
  for (auto& [index, job] : soft.jobs) {
    if (!MayTell(soft, job)) continue;
    if (std::exchange(job.new_readers, false)) FindNewReaders(soft, job);
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
