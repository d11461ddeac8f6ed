// Transfers and checks: which begin, what their end means.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/fetch_state.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

// Of one source that is out of reach, reported at once; the others follow with
// its next failure.
constexpr int kReportsAtOnceMax = 64;

}  // namespace

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

// Begins the first segment of a source that may begin; false: there is none.
bool FetchCore::StartFrom(const WorkerIncarnation& incarnation,
                          Source& source) {
  std::set<Key>& keys = pending_.at(incarnation);
  for (auto it = keys.begin(); it != keys.end();) {
    Reduce& reduce = reduces_.at(it->first);
    const uint32_t map = it->second;
    Segment& segment = reduce.segments[map];
    if (segment.not_before > now_) {
      WakeBy(segment.not_before);
      ++it;
      continue;
    }
    Summary index = indexes_.Find(reduce.input.job, segment.uid);
    if (index != nullptr &&
        (index->root != segment.root ||
         index->partitions.size() != reduce.input.num_partitions)) {
      index = nullptr;  // Somebody contradicts himself; ask the holder.
    }
    // Without an index and without a verifier, which comes from one.
    if (index == nullptr && segment.verifier == nullptr &&
        index_under_way_.contains(segment.uid)) {
      ++it;
      continue;
    }
    it = keys.erase(it);
    if (index != nullptr && segment.verifier == nullptr) {
      if (!Place(reduce, map, *index)) continue;  // Has no bytes: done.
    }
    Begin(reduce, map, source, incarnation, index);
    return true;
  }
  return false;
}

// Makes room for a partition whose index is known, and a verifier. False: it
// has no bytes, so the segment is done.
bool FetchCore::Place(Reduce& reduce, uint32_t map,
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
  if (entry.bytes == 0) {
    Finish(reduce, map);
    return false;
  }
  if (!segment.placement.has_value() ||
      segment.placement->capacity < entry.bytes) {
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
  section.set_offset(segment.placement->offset);
  segment.verifier = std::make_shared<BlockVerifier>(
      IdentityOf(reduce, map), reduce.input.partition, entry);
  return true;
}

void FetchCore::Begin(Reduce& reduce, uint32_t map, Source& source,
                      const WorkerIncarnation& incarnation,
                      const Summary& index) {
  Segment& segment = reduce.segments[map];
  const TransferId id = next_id_++;
  segment.state = State::kTransferring;
  segment.activity = id;
  ++source.active;
  Transfer& transfer = transfers_[id];
  transfer.segment = {reduce.id, map};
  transfer.job = reduce.input.job;
  transfer.uid = segment.uid;
  transfer.source = incarnation;
  transfer.brings_index = index == nullptr && segment.verifier == nullptr;
  transfer.placement = segment.placement;
  transfer.last_activity = now_;
  if (transfer.brings_index) index_under_way_.insert(segment.uid);
  WakeBy(now_ + options_.idle_limit);

  fetch::StartTransfer start;
  start.transfer = id;
  start.attempt = reduce.input.attempt;
  start.address = source.address;
  start.identity = IdentityOf(reduce, map);
  start.num_partitions = reduce.input.num_partitions;
  start.root = segment.root;
  start.partition = reduce.input.partition;
  start.want_index = transfer.brings_index;
  if (segment.verifier != nullptr) start.offset = segment.verifier->bytes();
  effects_.push_back(std::move(start));
}

void FetchCore::On(const fetch::HeaderArrived& event) {
  const auto it = transfers_.find(event.transfer);
  if (it == transfers_.end()) return;
  Transfer& transfer = it->second;
  transfer.last_activity = now_;
  if (event.index != nullptr) {
    // Good for others even if nobody waits for this transfer any more.
    index_under_way_.erase(transfer.uid);
    transfer.brings_index = false;
    if (jobs_.contains(transfer.job)) {
      indexes_.Keep(transfer.job, transfer.uid, event.index,
                    event.index->partitions.size());
    }
  }
  if (!transfer.attached) return;
  Reduce& reduce = reduces_.at(transfer.segment.first);
  const uint32_t map = transfer.segment.second;
  Segment& segment = reduce.segments[map];
  if (event.index != nullptr && segment.verifier == nullptr) {
    if (!Place(reduce, map, *event.index)) {
      transfer.attached = false;  // Done; the transfer has nothing to bring.
      return;
    }
    transfer.placement = segment.placement;
  }
  if (segment.verifier == nullptr ||
      event.partition_bytes != segment.section.bytes()) {
    // Without what the transfer asked for, or of another length: it ends
    // without WriteTo, and is blamed for it.
    return;
  }
  effects_.push_back(fetch::WriteTo{
      event.transfer, reduce.input.attempt, reduce.input.directory,
      SectionTarget{*segment.placement, segment.verifier}});
}

void FetchCore::On(const fetch::Stored& event) {
  const auto it = transfers_.find(event.transfer);
  if (it == transfers_.end()) return;
  it->second.last_activity = now_;
  Source& source = sources_.at(it->second.source);
  source.failures = 0;
  if (!it->second.attached) return;
  Reduce& reduce = reduces_.at(it->second.segment.first);
  reduce.segments[it->second.segment.second].failures = 0;
  reduce.fetched_bytes += event.bytes;
  reduce.progress_due = true;
}

void FetchCore::On(const fetch::TransferEnded& event) {
  const auto it = transfers_.find(event.transfer);
  if (it == transfers_.end()) return;
  const Transfer transfer = std::move(it->second);
  transfers_.erase(it);
  if (transfer.brings_index) index_under_way_.erase(transfer.uid);
  Source& source = sources_.at(transfer.source);
  --source.active;
  const auto found = reduces_.find(transfer.segment.first);
  if (found == reduces_.end()) return;
  Reduce& reduce = found->second;
  const uint32_t map = transfer.segment.second;
  Segment& segment = reduce.segments[map];
  if (!transfer.attached) {
    // Nobody writes there any more.
    if (!segment.placement.has_value() && !reduce.ended) {
      segment.placement = transfer.placement;
    }
    return;
  }
  segment.activity = 0;
  switch (event.blame) {
    case fetch::TransferEnded::Blame::kLocal:
      segment.state = State::kNoLocation;
      Abort(reduce, event.status);
      return;
    case fetch::TransferEnded::Blame::kData:
      EndedByData(reduce, map, event.status);
      return;
    case fetch::TransferEnded::Blame::kSource:
      break;
  }
  if (event.status.ok() && segment.verifier != nullptr &&
      segment.verifier->complete()) {
    source.failures = 0;
    Finish(reduce, map);
    return;
  }
  absl::Status status = event.status;
  if (transfer.idle) {
    status = absl::DeadlineExceededError(Av(
        Cat("nothing came for ", absl::FormatDuration(options_.idle_limit))));
  } else if (status.ok()) {
    status = absl::UnavailableError("the transfer ended before its time");
  }
  EndedBySource(reduce, map, &source, transfer.source, std::move(status));
}

// What came is not what was announced. Once may be the network; twice is the
// holder's file.
void FetchCore::EndedByData(Reduce& reduce, uint32_t map,
                            const absl::Status& status) {
  Segment& segment = reduce.segments[map];
  segment.verifier.reset();
  if (++segment.damaged >= 2) {
    segment.state = State::kGone;
    Fail(reduce, map, true, status);
    return;
  }
  Assign(reduce, map);
}

void FetchCore::EndedBySource(Reduce& reduce, uint32_t map, Source* source,
                              const WorkerIncarnation& incarnation,
                              absl::Status status) {
  Segment& segment = reduce.segments[map];
  status = Annotate(status, Cat("from ", source->address));
  if (absl::IsNotFound(status) || absl::IsDataLoss(status)) {
    segment.state = State::kGone;
    segment.verifier.reset();
    Fail(reduce, map, true, status);
    return;
  }
  Assign(reduce, map);
  // The wait doubles with each failure; jitter keeps reducers apart that were
  // cut off together.
  ++source->failures;
  rpc::Backoff backoff(options_.retry, random_);
  for (int i = 1; i < std::min(source->failures, 32); ++i) backoff.Skip();
  source->not_before = now_ + backoff.Next();
  // A holder that is busy is there.
  if (absl::IsResourceExhausted(status)) {
    if (++segment.failures >= 20 * options_.tries) {
      Fail(reduce, map, false, status);
    }
    return;
  }
  ++segment.failures;
  if (segment.failures < options_.tries && source->failures < options_.tries) {
    return;
  }
  Fail(reduce, map, false, status);
  if (source->failures < options_.tries) return;
  // What else is there is out of reach just as well; one try for each would
  // take for ever.
  int reports = 1;
  const auto pending = pending_.find(incarnation);
  if (pending == pending_.end()) return;
  for (const Key& key : pending->second) {
    Reduce& other = reduces_.at(key.first);
    if (other.segments[key.second].not_before > now_) continue;
    Fail(other, key.second, false, status);
    if (++reports == kReportsAtOnceMax) break;
  }
}

void FetchCore::EndIdleTransfers() {
  for (auto& [id, transfer] : transfers_) {
    if (transfer.idle) continue;
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
