#include "tests/sim/raft/durable_log.h"

#include <cinttypes>
#include <cstdio>
#include <utility>

#include "common/file_system.h"
#include "common/strings.h"
#include "raft/log/log_format.h"

namespace millrace::raftsim {
namespace {

using raft::HardState;

// Records are short beside this; longer ones are read again, whole.
constexpr uint64_t kReadBytes = 8192;

}  // namespace

DurableLog::DurableLog(const raft::SimDisk& disk, std::string directory,
                       EntryBook& book)
    : disk_(&disk), directory_(std::move(directory)), book_(book) {}

std::string DurableLog::Refresh() {
  if (disk_ == nullptr) return "";
  const uint64_t version = disk_->durable_version();
  if (version == version_) return "";
  version_ = version;
  ReadSnapshotNames();
  const std::string log = JoinPath(directory_, "log");
  std::map<uint64_t, Segment> now;
  for (const std::string& name : disk_->DurableNames(log)) {
    uint64_t seq = 0;
    uint64_t first_index = 0;
    if (std::sscanf(name.c_str(), "%" SCNu64 "-%" SCNu64 ".seg", &seq,
                    &first_index) != 2) {
      continue;
    }
    const auto known = segments_.find(seq);
    if (known != segments_.end()) {
      now[seq] = std::move(known->second);
    } else {
      now[seq] = {JoinPath(log, name), first_index};
    }
  }
  segments_ = std::move(now);
  for (auto& [seq, segment] : segments_) {
    if (segment.ended) continue;
    std::string wrong = ReadSegment(segment);
    if (!wrong.empty()) return Cat(segment.path, ": ", wrong);
  }
  return "";
}

void DurableLog::ReadSnapshotNames() {
  for (const std::string& name :
       disk_->DurableNames(JoinPath(directory_, "snap"))) {
    raft::EntryId last;
    if (std::sscanf(name.c_str(), "%" SCNu64 "-%" SCNu64 ".snap", &last.term,
                    &last.index) == 2 &&
        last.index > snapshot_.index) {
      snapshot_ = last;
    }
  }
}

std::string DurableLog::ReadSegment(Segment& segment) {
  if (!segment.opened) {
    std::string wrong = ReadHeader(segment);
    if (!wrong.empty()) return wrong;
  }
  uint64_t chunk = kReadBytes;
  for (;;) {
    const std::string bytes =
        disk_->DurableBytes(segment.path, segment.end, chunk);
    const bool whole = bytes.size() < chunk;
    std::string_view at = bytes;
    while (at.size() >= raft::kRecordHeaderBytes) {
      const auto header =
          raft::ParseRecordHeader(at, segment.end, segment.seed);
      if (!header) break;
      if (!raft::RecordIntact(at, *header)) return "";  // Partly durable.
      const uint64_t length = raft::RecordBytes(header->length);
      std::string wrong =
          TakeRecord(header->type, raft::RecordPayload(at, *header));
      if (!wrong.empty()) return Cat("offset ", segment.end, ": ", wrong);
      segment.end += length;
      at.remove_prefix(length);
      if (header->type == static_cast<uint8_t>(raft::RecordType::kSegmentEnd)) {
        segment.ended = true;
        return "";
      }
    }
    if (whole) return "";
    // The next record is cut off, or there is none: then all of it is zero.
    if (at.size() == bytes.size()) {
      if (raft::UsedBytes(at) == 0) return "";
      chunk *= 2;
    }
  }
}

std::string DurableLog::ReadHeader(Segment& segment) {
  const std::string bytes =
      disk_->DurableBytes(segment.path, 0, raft::kSegmentHeaderBytes);
  const auto header = raft::DecodeSegmentHeader(bytes);
  if (!header.ok()) {
    return Cat("a segment got its name before its header was durable: ",
               ToStd(header.status().message()));
  }
  const uint64_t before = header->first_index - 1;
  const uint64_t last_term =
      entries_.empty() ? base_term_ : entries_.back().term;
  if (!begun_ || before != last_index() || header->prev_term != last_term) {
    // The first that is left, or one behind a snapshot from a leader.
    const auto chain = book_.ChainOf(before, header->prev_term);
    if (!chain) {
      return Cat("the log begins behind entry ", before, " of term ",
                 header->prev_term, ", which nobody ever had");
    }
    base_ = before;
    base_term_ = header->prev_term;
    base_chain_ = *chain;
    entries_.clear();
  }
  if (!begun_) hard_ = header->hard_state;
  begun_ = true;
  std::string wrong = SetHardState(header->hard_state);
  if (!wrong.empty()) return wrong;
  segment.seed = raft::SegmentChecksum(bytes);
  segment.end = raft::kSegmentHeaderBytes;
  segment.opened = true;
  ++segments_read_;
  return "";
}

std::string DurableLog::SetHardState(const HardState& next) {
  if (next.term < hard_.term) {
    return Cat("the durable term goes back from ", hard_.term, " to ",
               next.term);
  }
  if (next.term == hard_.term && hard_.vote != 0 && next.vote != hard_.vote) {
    return Cat("a second durable vote in term ", next.term);
  }
  if (next.commit < hard_.commit) {
    return Cat("the durable commit index goes back from ", hard_.commit, " to ",
               next.commit);
  }
  hard_ = next;
  return "";
}

std::string DurableLog::TakeRecord(uint8_t type, std::string_view payload) {
  switch (static_cast<raft::RecordType>(type)) {
    case raft::RecordType::kEntries: {
      std::string wrong;
      raft::DecodeEntries(payload, [&](const raft::EntryView& e) {
        if (e.index != last_index() + 1) {
          wrong = Cat("entry ", e.index, " follows entry ", last_index());
          return false;
        }
        const uint64_t chain =
            Extend(entries_.empty() ? base_chain_ : entries_.back().chain,
                   HashOfEntry(e.index, e.term, e.kind, e.payload));
        entries_.push_back({e.term, chain});
        if (!book_.Record(e.index, e.term, chain)) {
          wrong = Cat("log matching: entry ", e.index, " of term ", e.term,
                      " is not what it is elsewhere");
          return false;
        }
        return true;
      });
      return wrong;
    }
    case raft::RecordType::kHardState:
      if (const auto hard = raft::DecodeHardState(payload)) {
        return SetHardState(*hard);
      }
      break;
    case raft::RecordType::kTruncate:
      if (const auto from = raft::DecodeTruncate(payload)) {
        if (*from <= base_ || *from > last_index()) {
          return Cat("cut off at ", *from, ", with entries ", base_ + 1, " to ",
                     last_index());
        }
        entries_.resize(*from - 1 - base_);
        return "";
      }
      break;
    case raft::RecordType::kSegmentEnd:
      return "";
  }
  return Cat("a record of type ", type, " that says nothing");
}

raft::EntryId DurableLog::last() const {
  if (snapshot_.index > last_index()) return snapshot_;
  return {entries_.empty() ? base_term_ : entries_.back().term, last_index()};
}

bool DurableLog::Holds(uint64_t index, uint64_t term) const {
  const std::optional<uint64_t> wanted = book_.ChainOf(index, term);
  if (!wanted.has_value()) return false;
  if (const auto chain = ChainOf(index)) return *chain == *wanted;
  // What is committed and in a snapshot is the same everywhere; that it is
  // committed is checked where the snapshot is taken.
  return index <= base_ || index <= snapshot_.index;
}

std::optional<uint64_t> DurableLog::ChainOf(uint64_t index) const {
  if (index == 0) return 0;
  if (index == base_) return base_chain_;
  if (index < base_ || index > last_index()) return std::nullopt;
  return entries_[index - base_ - 1].chain;
}

}  // namespace millrace::raftsim
