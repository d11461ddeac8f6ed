#include "master/scheduler/locations.h"

#include <algorithm>
#include <utility>

namespace millrace::master {
namespace {

// So many changes are sent at once.
constexpr size_t kBatchMax = 256;

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
template <typename Maps>
void SendMaps(SoftState& soft, const SoftJob& job, SoftWorker& reader,
              const Maps& maps) {
  proto::MasterMessage message;
  auto flush = [&] {
    if (message.locations().maps_size() == 0) return;
    message.mutable_locations()->set_job_id(std::string(job.job->id.bytes()));
    soft.SendTo(reader, std::move(message));
    message.Clear();
  };
  for (uint32_t map : maps) {
    AddMap(soft, job, map, reader, message.mutable_locations());
    if (static_cast<size_t>(message.locations().maps_size()) >=
        soft.options.locations_message_max) {
      flush();
    }
  }
  flush();
}

// Everything that is known, to workers that have reduces of the job and were
// told nothing of it on their present stream.
void SendAll(SoftState& soft, SoftJob& job, std::set<WorkerNumber>* told) {
  for (auto at = job.live.lower_bound({proto::REDUCE_TASK, 0});
       at != job.live.end() && at->first.kind == proto::REDUCE_TASK; ++at) {
    SoftWorker* reader = soft.FindWorker(at->second->worker);
    if (reader == nullptr || !reader->session.has_value() ||
        !reader->located.insert(job.job->id).second) {
      continue;
    }
    told->insert(at->second->worker);
    std::vector<uint32_t> all;
    for (uint32_t i = 0; i < job.job->maps.total; ++i) {
      if (job.job->maps.tasks[i].has_winner) all.push_back(i);
    }
    SendMaps(soft, job, *reader, all);
  }
}

}  // namespace

void MapMoved(SoftState& soft, SoftJob& job, uint32_t map) {
  if (job.job->reduces.total == 0) return;
  if (job.moved_maps.empty()) job.moved_since = soft.now;
  job.moved_maps.push_back(map);
}

void SendLocations(SoftState& soft) {
  for (auto& [index, job] : soft.jobs) {
    if (!job.new_readers && job.moved_maps.empty()) continue;
    // A leader that has not heard all workers does not know their directories.
    if (!job.fresh && !soft.all_heard) continue;
    std::set<WorkerNumber> told;
    if (job.new_readers) {
      job.new_readers = false;
      SendAll(soft, job, &told);
    }
    if (job.moved_maps.empty()) continue;
    const absl::Duration due = job.moved_since + soft.options.locations_batch;
    if (!job.job->maps.all_done() && job.moved_maps.size() < kBatchMax &&
        soft.now < due) {
      soft.WakeAt(due);
      continue;
    }
    std::sort(job.moved_maps.begin(), job.moved_maps.end());
    job.moved_maps.erase(
        std::unique(job.moved_maps.begin(), job.moved_maps.end()),
        job.moved_maps.end());
    for (auto& [number, worker] : soft.workers) {
      if (worker.located.count(job.job->id) > 0 && told.count(number) == 0) {
        SendMaps(soft, job, worker, job.moved_maps);
      }
    }
    job.moved_maps.clear();
  }
}

}  // namespace millrace::master
