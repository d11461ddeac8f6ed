// What comes of a transfer, and what its end means.
#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/fetch_state.h"

namespace millrace::worker {
namespace {

// Of one source that is out of reach, reported at once; the others follow with
// its next failure.
constexpr int kReportsAtOnceMax = 64;

}  // namespace

// The segment that a section of a transfer is still for; null: none.
FetchCore::Segment* FetchCore::SegmentOf(const Transfer& transfer,
                                         size_t section) {
  if (section >= transfer.sections.size() ||
      !transfer.sections[section].attached) {
    return nullptr;
  }
  // While a section is attached its reduce is there.
  return &reduces_.at(transfer.reduce).segments[transfer.sections[section].map];
}

// The transfer from which something of that section has come now; null: it has
// ended, or has no such section.
FetchCore::Transfer* FetchCore::Heard(TransferId id, size_t section) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end() || section >= it->second.sections.size()) {
    return nullptr;
  }
  it->second.last_activity = now_;
  return &it->second;
}

// Ends it for a reason that is nobody's fault.
void FetchCore::Leave(TransferId id, Transfer& transfer) {
  if (!transfer.left && !transfer.idle) {
    effects_.push_back(fetch::CancelTransfer{id});
  }
  transfer.left = true;
}

void FetchCore::On(const fetch::HeaderArrived& event) {
  Transfer* const heard = Heard(event.transfer, event.section);
  if (heard == nullptr) return;
  Transfer& transfer = *heard;
  Transfer::Section& section = transfer.sections[event.section];
  if (event.index != nullptr) {
    // Good for others even if nobody waits for this section any more.
    if (section.brings_index) index_under_way_.erase(section.uid);
    section.brings_index = false;
    if (jobs_.contains(transfer.job)) {
      indexes_.Keep(transfer.job, section.uid, event.index,
                    event.index->partitions.size());
    }
  }
  Segment* const segment = SegmentOf(transfer, event.section);
  if (segment == nullptr) return;
  Reduce& reduce = reduces_.at(transfer.reduce);
  if (event.index != nullptr && segment->verifier == nullptr) {
    Place(reduce, section.map, *event.index);
    section.placement = segment->placement;
  }
  if (segment->verifier == nullptr ||
      event.partition_bytes != segment->section.bytes()) {
    // Without what the transfer asked for, or of another length: it ends
    // without WriteTo, and is blamed for it.
    return;
  }
  effects_.push_back(fetch::WriteTo{
      event.transfer, reduce.input.attempt, reduce.input.directory,
      SectionTarget{segment->placement.value_or(Placement()),
                    segment->verifier}});
  if (segment->verifier->complete()) Complete(transfer, event.section);
}

void FetchCore::On(const fetch::Stored& event) {
  Transfer* const heard = Heard(event.transfer, event.section);
  if (heard == nullptr) return;
  Transfer& transfer = *heard;
  sources_.at(transfer.source).failures = 0;
  Segment* const segment = SegmentOf(transfer, event.section);
  if (segment == nullptr) return;
  Reduce& reduce = reduces_.at(transfer.reduce);
  segment->failures = 0;
  reduce.fetched_bytes += event.bytes;
  reduce.progress_due = true;
  if (segment->verifier->complete()) Complete(transfer, event.section);
}

// All of a section is here.
void FetchCore::Complete(Transfer& transfer, size_t at) {
  Transfer::Section& section = transfer.sections[at];
  section.attached = false;
  section.placement.reset();
  Finish(reduces_.at(transfer.reduce), section.map);
}

void FetchCore::On(const fetch::SectionRefused& event) {
  Transfer* const heard = Heard(event.transfer, event.section);
  if (heard == nullptr) return;
  Transfer& transfer = *heard;
  Transfer::Section& section = transfer.sections[event.section];
  if (std::exchange(section.brings_index, false)) {
    index_under_way_.erase(section.uid);
  }
  Segment* const segment = SegmentOf(transfer, event.section);
  if (segment == nullptr) return;
  Reduce& reduce = reduces_.at(transfer.reduce);
  section.attached = false;
  section.placement.reset();
  segment->activity = 0;
  Source& source = sources_.at(transfer.source);
  if (!absl::IsNotFound(event.status) && !absl::IsDataLoss(event.status)) {
    EndedBySource(reduce, section.map, &source, transfer.source, event.status);
    return;
  }
  segment->state = State::kGone;
  segment->verifier.reset();
  Fail(reduce, section.map, true,
       Annotate(event.status, Cat("from ", source.address)));
}

void FetchCore::On(const fetch::TransferEnded& event) {
  const auto it = transfers_.find(event.transfer);
  if (it == transfers_.end()) return;
  const Transfer transfer = std::move(it->second);
  transfers_.erase(it);
  for (const Transfer::Section& section : transfer.sections) {
    if (section.brings_index) index_under_way_.erase(section.uid);
  }
  Source& source = sources_.at(transfer.source);
  --source.active;
  const auto found = reduces_.find(transfer.reduce);
  if (found == reduces_.end()) return;
  Reduce& reduce = found->second;
  for (size_t i = 0; i < transfer.sections.size(); ++i) {
    const Transfer::Section& section = transfer.sections[i];
    Segment& segment = reduce.segments[section.map];
    if (!section.attached) {
      // Nobody writes there any more.
      if (!segment.placement.has_value() && !reduce.ended) {
        segment.placement = section.placement;
      }
      continue;
    }
    segment.activity = 0;
    // It was not its turn.
    if (i != event.section) Assign(reduce, section.map);
  }
  // All of them are complete, whatever is said then; or the one that is not is
  // not wanted any more.
  if (SegmentOf(transfer, event.section) == nullptr) return;
  const uint32_t map = transfer.sections[event.section].map;
  switch (event.blame) {
    case fetch::TransferEnded::Blame::kLocal:
      reduce.segments[map].state = State::kNoLocation;
      Abort(reduce, event.status);
      return;
    case fetch::TransferEnded::Blame::kData:
      EndedByData(reduce, map, event.status);
      return;
    case fetch::TransferEnded::Blame::kSource:
      break;
  }
  absl::Status status = event.status;
  if (transfer.idle) {
    status = absl::DeadlineExceededError(Av(
        Cat("nothing came for ", absl::FormatDuration(options_.idle_limit))));
  } else if (transfer.left) {
    Assign(reduce, map);
    return;
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

}  // namespace millrace::worker
