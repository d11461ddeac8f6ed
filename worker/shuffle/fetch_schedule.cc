// Transfers and checks: which begin, and with what.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/fetch_state.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
void FetchCore::Schedule() {
  ScheduleChecks();
  ScheduleTransfers();
}

void FetchCore::ScheduleChecks() {
  for (auto it = to_check_.begin(); it != to_check_.end();) {
    Reduce& reduce = reduces_.at(it->first);
    const uint32_t map = it->second;
    Segment& segment = reduce.segments[map];
    // Another reduce of the job has been here.
    const Job& job = jobs_.at(reduce.input.job);
    if (const auto known = job.in_place.find(segment.uid);
        known != job.in_place.end()) {
      segment.path = known->second;
      it = to_check_.erase(it);
      Finish(reduce, map);
      continue;
    }
    if (segment.not_before > now_) {
      WakeBy(segment.not_before);
      ++it;
      continue;
    }
    if (static_cast<int>(checks_.size()) >= options_.checks_max) return;
    const std::string& spool = segment.source == own_
                                   ? options_.spool_dir
                                   : sources_.at(segment.source).spool_dir;
    const uint64_t id = next_id_++;
    const std::string path =
        MapOutputPath(spool, reduce.input.job, segment.uid);
    segment.activity = id;
    checks_[id] = {*it, segment.uid, path};
    effects_.push_back(fetch::CheckLocal{id, path, IdentityOf(reduce, map),
                                         reduce.input.num_partitions,
                                         segment.root});
    it = to_check_.erase(it);
  }
}

// One transfer after the other, from each source in turn.
void FetchCore::ScheduleTransfers() {
  size_t without = 0;  // Sources in a row that have nothing to begin.
  auto it = pending_.upper_bound(last_source_);
  while (without < pending_.size()) {
    if (static_cast<int>(transfers_.size()) >= options_.transfers_max) return;
    if (it == pending_.end()) it = pending_.begin();
    Source& source = sources_.at(it->first);
    if (it->second.empty()) {
      it = pending_.erase(it);
      continue;
    }
    if (source.not_before > now_) {
      WakeBy(source.not_before);
      ++without;
    } else if (source.active < options_.transfers_per_source_max &&
               StartFrom(it->first, source)) {
      last_source_ = it->first;
      without = 0;
    } else {
      ++without;
    }
    ++it;
  }
}

// Begins the first segments of a source that may begin; false: there are none.
bool FetchCore::StartFrom(const WorkerIncarnation& incarnation,
                          Source& source) {
  std::set<Key>& keys = pending_.at(incarnation);
  if (Gathers(source, keys)) return false;
  // What is there is shared out over the transfers that may begin.
  const auto free =
      static_cast<size_t>(options_.transfers_per_source_max - source.active);
  const size_t maps_max =
      std::clamp<size_t>((keys.size() + free - 1) / free, 1,
                         static_cast<size_t>(options_.sections_max));
  std::vector<uint32_t> maps;
  Reduce* of = nullptr;
  uint64_t bytes = 0;
  for (auto it = keys.begin(); it != keys.end();) {
    Reduce& reduce = reduces_.at(it->first);
    if (of != nullptr && of != &reduce) break;
    const uint32_t map = it->second;
    Segment& segment = reduce.segments[map];
    if (segment.not_before > now_) {
      WakeBy(segment.not_before);
      ++it;
      continue;
    }
    if (segment.verifier == nullptr) {
      Summary index = indexes_.Find(reduce.input.job, segment.uid);
      if (index != nullptr &&
          (index->root != segment.root ||
           index->partitions.size() != reduce.input.num_partitions)) {
        index = nullptr;  // Somebody contradicts himself; ask the holder.
      }
      if (index != nullptr) {
        Place(reduce, map, *index);
      } else if (index_under_way_.contains(segment.uid)) {
        ++it;
        continue;
      }
    }
    it = keys.erase(it);
    if (segment.verifier != nullptr && segment.verifier->complete()) {
      Finish(reduce, map);  // It has no bytes.
      continue;
    }
    of = &reduce;
    maps.push_back(map);
    bytes += BytesExpected(reduce, segment);
    if (maps.size() == maps_max || bytes >= options_.shared_bytes) break;
  }
  if (maps.empty()) return false;
  Begin(*of, maps, source, incarnation);
  return true;
}

// Whether small sections wait for others: not when there are enough, or no more
// can come, or it is not known yet that they are small.
bool FetchCore::Gathers(const Source& source, const std::set<Key>& pending) {
  if (now_ >= source.gather_until ||
      pending.size() >= static_cast<size_t>(options_.sections_max)) {
    return false;
  }
  const Reduce& first = reduces_.at(pending.begin()->first);
  if (first.placed == 0 ||
      first.placed_bytes / first.placed * pending.size() >=
          options_.shared_bytes ||
      jobs_.at(first.input.job).maps.size() >= first.input.num_maps) {
    return false;
  }
  WakeBy(source.gather_until);
  return true;
}

// Of a section. Those of an attempt are taken for alike.
uint64_t FetchCore::BytesExpected(const Reduce& reduce,
                                  const Segment& segment) const {
  if (segment.verifier != nullptr) {
    return segment.section.bytes() - segment.verifier->bytes();
  }
  return reduce.placed == 0 ? options_.unknown_bytes
                            : reduce.placed_bytes / reduce.placed;
}

// Makes room for a partition whose index is known, and a verifier; one of no
// bytes is complete.
void FetchCore::Place(Reduce& reduce, uint32_t map,
                      const engine::MapOutputSummary& index) {
  Segment& segment = reduce.segments[map];
  const engine::PartitionEntry& entry =
      index.partitions[reduce.input.partition];
  proto::FetchedSection& section = segment.section;
  section.Clear();
  section.set_bytes(entry.bytes);
  section.set_records(entry.sum.records);
  section.set_hash(entry.sum.hash);
  section.set_digest(entry.digest);
  section.set_blocks(entry.blocks);
  section.set_largest_block_bytes(entry.largest_block_bytes);
  section.set_block_bytes(index.block_bytes);
  section.set_codec(static_cast<uint32_t>(index.codec));
  ++reduce.placed;
  reduce.placed_bytes += entry.bytes;
  if (entry.bytes > 0 && (!segment.placement.has_value() ||
                          segment.placement->capacity < entry.bytes)) {
    Placement placement;
    placement.capacity = entry.bytes;
    if (entry.bytes <= options_.memory_bytes / 4 &&
        entry.bytes <= options_.memory_bytes - memory_used_) {
      placement.container = ContainerKind::kMemory;
      placement.offset = reduce.memory_end;
      reduce.memory_end += entry.bytes;
      memory_used_ += entry.bytes;
    } else {
      placement.container = ContainerKind::kDisk;
      placement.offset = reduce.disk_end;
      reduce.disk_end += entry.bytes;
    }
    segment.placement = placement;
  }
  if (segment.placement.has_value()) {
    section.set_offset(segment.placement->offset);
  }
  segment.verifier = std::make_shared<BlockVerifier>(
      IdentityOf(reduce, map), reduce.input.partition, entry);
}

// Whatever of them has no verifier comes with its index.
void FetchCore::Begin(Reduce& reduce, const std::vector<uint32_t>& maps,
                      Source& source, const WorkerIncarnation& incarnation) {
  const TransferId id = next_id_++;
  ++source.active;
  Transfer& transfer = transfers_[id];
  transfer.reduce = reduce.id;
  transfer.job = reduce.input.job;
  transfer.source = incarnation;
  transfer.last_activity = now_;
  transfer.sections.reserve(maps.size());
  WakeBy(now_ + options_.idle_limit);

  fetch::StartTransfer start;
  start.transfer = id;
  start.attempt = reduce.input.attempt;
  start.address = source.address;
  start.job = reduce.input.job;
  start.num_partitions = reduce.input.num_partitions;
  start.partition = reduce.input.partition;
  start.sections.reserve(maps.size());
  for (uint32_t map : maps) {
    Segment& segment = reduce.segments[map];
    segment.state = State::kTransferring;
    segment.activity = id;
    Transfer::Section& section = transfer.sections.emplace_back();
    section.map = map;
    section.uid = segment.uid;
    section.brings_index = segment.verifier == nullptr;
    section.placement = segment.placement;
    if (section.brings_index) index_under_way_.insert(segment.uid);
    fetch::StartTransfer::Section& wanted = start.sections.emplace_back();
    wanted.identity = IdentityOf(reduce, map);
    wanted.root = segment.root;
    wanted.want_index = section.brings_index;
    if (segment.verifier != nullptr) wanted.offset = segment.verifier->bytes();
  }
  effects_.push_back(std::move(start));
}

void FetchCore::EndIdleTransfers() {
  for (auto& [id, transfer] : transfers_) {
    if (transfer.idle || transfer.left) continue;
    const absl::Duration limit = transfer.last_activity + options_.idle_limit;
    if (now_ < limit) {
      WakeBy(limit);
    } else {
      transfer.idle = true;
      effects_.push_back(fetch::CancelTransfer{id});
    }
  }
}

void FetchCore::ReportProgress() {
  for (auto& [id, reduce] : reduces_) {
    if (!reduce.progress_due) continue;
    const absl::Duration due =
        reduce.progress_told + options_.progress_interval;
    if (now_ < due) {
      WakeBy(due);
      continue;
    }
    reduce.progress_due = false;
    reduce.progress_told = now_;
    effects_.push_back(
        FetchProgress{reduce.input.attempt, reduce.done, reduce.fetched_bytes});
  }
}

}  // namespace millrace::worker
