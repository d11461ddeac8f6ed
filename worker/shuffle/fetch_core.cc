// Segments and their locations. Transfers are in fetch_schedule.cc and
// fetch_transfers.cc.
#include "worker/shuffle/fetch_core.h"

#include <algorithm>
#include <cmath>

#include "common/logging.h"
#include "common/strings.h"
#include "worker/shuffle/fetch_state.h"
#include "worker/shuffle/remote_index.h"
#include "worker/shuffle/wire.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

// Far more than a job has; bounds what a message makes us allocate.
constexpr uint32_t kMapsMax = 10'000'000;

}  // namespace

FetchCore::FetchCore(const FetchOptions& options, Random& random)
    : options_(options), random_(random), indexes_(options.index_rows_max) {
  CHECK(options.sections_max >= 1 && options.sections_max <= kFetchSectionsMax);
}
FetchCore::~FetchCore() = default;

std::vector<fetch::Effect> FetchCore::Step(const fetch::Event& event,
                                           absl::Duration now) {
  now_ = now;
  effects_.clear();
  std::visit([this](const auto& e) { On(e); }, event);
  next_wake_ = absl::InfiniteDuration();
  EndIdleTransfers();
  Schedule();
  ReportProgress();
  return std::move(effects_);
}

void FetchCore::WakeBy(absl::Duration time) {
  next_wake_ = std::min(next_wake_, time);
}

engine::MapOutputIdentity FetchCore::IdentityOf(const Reduce& reduce,
                                                uint32_t map) const {
  engine::MapOutputIdentity identity;
  identity.job = reduce.input.job;
  identity.map_index = map;
  identity.attempt = reduce.segments[map].uid;
  return identity;
}

void FetchCore::On(const fetch::SetIncarnation& event) {
  own_ = event.own;
  for (auto& [id, reduce] : reduces_) {
    if (reduce.ended) continue;
    for (uint32_t map = 0; map < reduce.input.num_maps; ++map) {
      if (reduce.segments[map].state == State::kNoLocation) {
        Relocate(reduce, map);
      }
    }
  }
}

void FetchCore::On(const fetch::StartReduce& event) {
  const uint64_t id = next_reduce_++;
  CHECK(reduce_of_.emplace(event.input.attempt, id).second);
  Reduce& reduce = reduces_[id];
  reduce.id = id;
  reduce.input = event.input;
  Job& job = jobs_[event.input.job];
  job.reduces.insert(id);
  if (event.input.partition >= event.input.num_partitions ||
      event.input.num_maps > kMapsMax) {
    reduce.input.num_maps = 0;
    Abort(reduce, absl::InvalidArgumentError("a reduce that cannot be"));
    return;
  }
  reduce.segments.resize(event.input.num_maps);
  reduce.progress_due = true;
  if (event.input.num_maps == 0) {
    reduce.ended = true;
    effects_.push_back(fetch::Ready{event.input.attempt, {}});
    return;
  }
  for (const auto& [map, location] : job.maps) {
    if (map < event.input.num_maps) Relocate(reduce, map);
  }
}

void FetchCore::On(const fetch::UpdateLocations& event) {
  const proto::Locations& locations = *event.locations;
  bool new_worker = false;
  for (const proto::WorkerAddress& worker : locations.workers()) {
    const auto incarnation = WorkerIncarnation::FromBytes(worker.incarnation());
    if (!incarnation.has_value()) continue;
    const auto [it, is_new] = sources_.try_emplace(*incarnation);
    Source& source = it->second;
    new_worker |= is_new;
    if (source.address != worker.address()) {
      source.address = worker.address();
      source.failures = 0;
      source.not_before = absl::ZeroDuration();
    }
    source.host_id = worker.host_id();
    source.spool_dir = worker.spool_dir();
  }
  if (new_worker) {
    for (auto& [id, reduce] : reduces_) {
      if (reduce.ended) continue;
      for (uint32_t map = 0; map < reduce.input.num_maps; ++map) {
        if (reduce.segments[map].state == State::kNoLocation) {
          Relocate(reduce, map);
        }
      }
    }
  }
  const auto job_id = JobId::FromBytes(locations.job_id());
  if (!job_id.has_value()) return;
  Job& job = jobs_[*job_id];
  for (const proto::MapLocation& map : locations.maps()) {
    const auto uid = AttemptUid::FromBytes(map.attempt_uid());
    const auto root = ParseRoot(map.root());
    const auto worker = WorkerIncarnation::FromBytes(map.worker());
    Job::Location location;
    location.lost = map.lost() || !uid || !root || !worker;
    if (!location.lost) {
      location.uid = *uid;
      location.root = *root;
      location.worker = *worker;
    }
    Job::Location& known = job.maps[map.map_index()];
    if (known.uid != location.uid) job.in_place.erase(known.uid);
    known = location;
    for (uint64_t id : job.reduces) {
      Reduce& reduce = reduces_.at(id);
      if (!reduce.ended && map.map_index() < reduce.input.num_maps) {
        Relocate(reduce, map.map_index());
      }
    }
  }
}

// The location of a map was told, or told again.
void FetchCore::Relocate(Reduce& reduce, uint32_t map) {
  Segment& segment = reduce.segments[map];
  const Job& job = jobs_.at(reduce.input.job);
  const auto it = job.maps.find(map);
  if (it == job.maps.end()) return;
  const Job::Location& location = it->second;
  const bool same_output = !location.lost && location.uid == segment.uid &&
                           location.root == segment.root;
  if (segment.state == State::kDone) {
    // What has been copied stays good; a file in place may go with its worker.
    if (segment.path.empty()) return;
    if (same_output && location.worker == segment.source) return;
    --reduce.done;
    reduce.progress_due = true;
    segment.state = State::kNoLocation;
  }
  segment.not_before = absl::ZeroDuration();
  if (same_output && location.worker == segment.source &&
      segment.state != State::kNoLocation && segment.state != State::kGone) {
    return;
  }
  Detach(reduce, map);
  if (!same_output) {
    segment.verifier.reset();
    segment.reports = 0;
  }
  segment.failures = 0;
  segment.damaged = 0;
  segment.not_local = false;
  segment.path.clear();
  if (location.lost) {
    segment.uid = AttemptUid();
    return;
  }
  segment.uid = location.uid;
  segment.root = location.root;
  segment.source = location.worker;
  Assign(reduce, map);
}

// Queues a segment with a location where it belongs.
void FetchCore::Assign(Reduce& reduce, uint32_t map) {
  Segment& segment = reduce.segments[map];
  const auto source = sources_.find(segment.source);
  const bool own = segment.source == own_;
  const bool same_host =
      own || (source != sources_.end() && !source->second.spool_dir.empty() &&
              source->second.host_id == options_.host_id);
  if (same_host && !segment.not_local) {
    segment.state = State::kChecking;
    to_check_.insert({reduce.id, map});
  } else if (source != sources_.end()) {
    segment.state = State::kPending;
    std::set<Key>& pending = pending_[segment.source];
    if (pending.empty()) {
      source->second.gather_until = now_ + options_.gather;
    }
    pending.insert({reduce.id, map});
  } else {
    segment.state = State::kNoLocation;  // Its worker's address will come.
  }
}

// Takes a segment out of whatever is done for it. Its transfer, if any, ends,
// and what else that was to bring is asked for again.
void FetchCore::Detach(Reduce& reduce, uint32_t map) {
  Segment& segment = reduce.segments[map];
  const Key key(reduce.id, map);
  switch (segment.state) {
    case State::kNoLocation:
    case State::kGone:
    case State::kDone:
      break;
    case State::kChecking:
      to_check_.erase(key);
      // The answer, if one comes, finds another activity.
      break;
    case State::kPending:
      pending_[segment.source].erase(key);
      break;
    case State::kTransferring: {
      Transfer& transfer = transfers_.at(segment.activity);
      for (Transfer::Section& section : transfer.sections) {
        if (section.map == map) section.attached = false;
      }
      // It may be in the middle of a write; what comes after must not meet it.
      segment.verifier.reset();
      segment.placement.reset();
      Leave(segment.activity, transfer);
      break;
    }
  }
  segment.activity = 0;
  segment.state = State::kNoLocation;
}

void FetchCore::On(const fetch::Cancel& event) {
  const auto it = reduce_of_.find(event.attempt);
  if (it == reduce_of_.end()) return;
  const uint64_t id = it->second;
  Reduce& reduce = reduces_.at(id);
  for (uint32_t map = 0; map < reduce.input.num_maps; ++map) {
    if (reduce.segments[map].state != State::kDone) Detach(reduce, map);
  }
  memory_used_ -= reduce.memory_end;
  effects_.push_back(fetch::DropContainers{event.attempt});
  const JobId job = reduce.input.job;
  jobs_.at(job).reduces.erase(id);
  EraseIfOver(job);
  reduce_of_.erase(it);
  reduces_.erase(id);
}

void FetchCore::On(const fetch::ForgetJob& event) {
  const auto it = jobs_.find(event.job);
  if (it == jobs_.end()) return;
  it->second.maps.clear();
  it->second.in_place.clear();
  EraseIfOver(event.job);
}

void FetchCore::On(const fetch::ForgetLocations&) {
  std::vector<JobId> all;
  for (auto& [id, job] : jobs_) {
    job.maps.clear();
    all.push_back(id);
  }
  for (const JobId& job : all) EraseIfOver(job);
}

// Where its outputs are is not known, and nobody asks for them.
void FetchCore::EraseIfOver(const JobId& id) {
  const auto job = jobs_.find(id);
  if (!job->second.maps.empty() || !job->second.reduces.empty()) return;
  jobs_.erase(job);
  indexes_.ForgetJob(id);
}

void FetchCore::On(const fetch::LocalChecked& event) {
  const auto it = checks_.find(event.check);
  if (it == checks_.end()) return;
  const Check check = std::move(it->second);
  checks_.erase(it);
  const auto found = reduces_.find(check.segment.first);
  if (found == reduces_.end()) return;
  Reduce& reduce = found->second;
  const uint32_t map = check.segment.second;
  Segment& segment = reduce.segments[map];
  if (segment.state != State::kChecking || segment.activity != event.check) {
    return;
  }
  if (event.status.ok()) {
    jobs_.at(reduce.input.job).in_place[check.uid] = check.path;
    segment.path = check.path;
    Finish(reduce, map);
    return;
  }
  segment.activity = 0;
  segment.not_local = true;
  if (segment.source == own_) {
    // Nobody else has it.
    if (absl::IsNotFound(event.status) || absl::IsDataLoss(event.status)) {
      segment.state = State::kGone;
      Fail(reduce, map, true, event.status);
      return;
    }
    segment.not_local = false;
    to_check_.insert(check.segment);
    segment.not_before = now_ + options_.retry.max;
    if (++segment.failures >= options_.tries) {
      Fail(reduce, map, false, event.status);
    }
    return;
  }
  Assign(reduce, map);
}

void FetchCore::Finish(Reduce& reduce, uint32_t map) {
  Segment& segment = reduce.segments[map];
  segment.state = State::kDone;
  segment.activity = 0;
  segment.verifier.reset();
  ++reduce.done;
  reduce.progress_due = true;
  if (reduce.done < reduce.input.num_maps) return;
  reduce.ended = true;
  fetch::Ready ready;
  ready.attempt = reduce.input.attempt;
  ready.maps.reserve(reduce.segments.size());
  for (uint32_t m = 0; m < reduce.input.num_maps; ++m) {
    const Segment& done = reduce.segments[m];
    fetch::ReadyMap& out = ready.maps.emplace_back();
    out.map_index = m;
    out.uid = done.uid;
    out.root = done.root;
    out.path = done.path;
    out.section = done.section;
    if (done.placement.has_value()) out.container = done.placement->container;
  }
  // The last word before it is that all is here.
  reduce.progress_told = -absl::InfiniteDuration();
  ReportProgress();
  effects_.push_back(std::move(ready));
}

// Tells the leader of one map output. The segment is kGone, or goes on after a
// pause that grows.
void FetchCore::Fail(Reduce& reduce, uint32_t map, bool gone,
                     const absl::Status& why) {
  Segment& segment = reduce.segments[map];
  FetchFailed failed;
  failed.attempt = reduce.input.attempt;
  failed.map_index = map;
  failed.map_uid = segment.uid;
  failed.source = segment.source;
  failed.gone = gone;
  failed.message = std::string(ToStd(why.message()));
  effects_.push_back(std::move(failed));
  segment.failures = 0;
  const double steps = std::pow(options_.report.factor, segment.reports);
  ++segment.reports;
  const absl::Duration pause =
      std::min(options_.report.initial * steps, options_.report.max);
  segment.not_before = now_ + pause;
}

void FetchCore::Abort(Reduce& reduce, const absl::Status& why) {
  if (reduce.ended) return;
  reduce.ended = true;
  for (uint32_t map = 0; map < reduce.input.num_maps; ++map) {
    if (reduce.segments[map].state != State::kDone) Detach(reduce, map);
  }
  effects_.push_back(fetch::Aborted{reduce.input.attempt, why});
}

}  // namespace millrace::worker
