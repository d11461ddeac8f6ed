#include "raft/log/segment_log.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/file_system.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/log_format.h"

namespace millrace::raft {
namespace {

// What an Append may need beside its entries: two hard states, a truncation and
// the segment's end.
constexpr uint64_t kAppendOverheadBytes =
    2 * kHardStateRecordBytes + kTruncateRecordBytes + kSegmentEndRecordBytes;

// The first entries of `entries` that share a record.
std::span<const LogEntry> NextRecord(std::span<const LogEntry> entries,
                                     uint64_t bytes_target) {
  size_t count = 1;
  uint64_t bytes = entries.front().payload.size();
  while (count < entries.size() && bytes < bytes_target) {
    bytes += entries[count++].payload.size();
  }
  return entries.subspan(0, count);
}

std::vector<uint64_t> TermsOf(std::span<const LogEntry> entries) {
  std::vector<uint64_t> terms;
  terms.reserve(entries.size());
  for (const LogEntry& entry : entries) terms.push_back(entry.term);
  return terms;
}

bool NeedsTermFirst(const HardState& now, const HardState& next) {
  return next.term != now.term || next.vote != now.vote;
}

}  // namespace

SegmentLog::~SegmentLog() = default;

// ------------------------------------------------------------------- reading

HardState SegmentLog::hard_state() const {
  absl::MutexLock lock(&mu_);
  return state_.hard_state();
}

uint64_t SegmentLog::first_index() const {
  absl::MutexLock lock(&mu_);
  return state_.first_index();
}

uint64_t SegmentLog::last_index() const {
  absl::MutexLock lock(&mu_);
  return state_.last_index();
}

absl::StatusOr<uint64_t> SegmentLog::Term(uint64_t index) const {
  absl::MutexLock lock(&mu_);
  if (const auto term = state_.TermOf(index)) return *term;
  return absl::OutOfRangeError(Av(Cat("entry ", index, " is not in the log")));
}

absl::StatusOr<std::vector<LogEntry>> SegmentLog::Read(
    uint64_t first, uint64_t end, uint64_t bytes_max) const {
  struct Place {
    EntryExtent extent;
    std::string path;
    uint64_t seed;
  };
  std::vector<Place> places;
  {
    absl::MutexLock lock(&mu_);
    if (first < state_.first_index() || first >= end ||
        end > state_.last_index() + 1) {
      return absl::OutOfRangeError(
          Av(Cat("entries ", first, " to ", end - 1, " are not in the log")));
    }
    uint64_t bytes = 0;
    for (uint64_t i = first; i < end && bytes <= bytes_max;) {
      const EntryExtent& extent = *state_.Find(i);
      const LogSegment& segment = segments_.at(extent.seq);
      places.push_back({extent, segment.path, segment.seed});
      bytes += extent.bytes;
      i = extent.first_index + extent.count;
    }
  }

  std::vector<LogEntry> entries;
  uint64_t payload_bytes = 0;
  bool full = false;
  std::unique_ptr<DiskFile> file;
  const std::string* opened = nullptr;  // Its path.
  for (const Place& place : places) {
    const EntryExtent& extent = place.extent;
    const std::string& path = place.path;
    if (opened == nullptr || *opened != path) {
      auto open = disk_.Open(path);
      // Dropped since: see DropThrough.
      if (absl::IsNotFound(open.status())) {
        return absl::OutOfRangeError(
            Av(Cat("entry ", extent.first_index, " is no longer in the log")));
      }
      MR_RETURN_IF_ERROR(open.status());
      file = *std::move(open);
      opened = &path;
    }
    std::string record(extent.bytes, '\0');
    MR_ASSIGN_OR_RETURN(
        const size_t n,
        file->ReadAt(extent.offset, record.data(), record.size()));
    record.resize(n);
    const auto header = ParseRecordHeader(record, extent.offset, place.seed);
    bool sound = header.has_value() && RecordIntact(record, *header) &&
                 RecordBytes(header->length) == record.size();
    if (sound) {
      const uint64_t begin = extent.first_index;
      DecodeEntries(RecordPayload(record, *header), [&](const EntryView& e) {
        sound = e.index >= begin;
        if (!sound || e.index >= std::min(end, begin + extent.count)) {
          return false;
        }
        if (e.index < first) return true;
        payload_bytes += e.payload.size();
        full = !entries.empty() && payload_bytes > bytes_max;
        if (full) return false;
        entries.push_back({e.index, e.term, e.kind, std::string(e.payload)});
        return true;
      });
    }
    if (!sound) {
      return DamagedLog(options_.directory, path, extent.offset,
                        "a record is not what was written there");
    }
    if (full) break;
  }
  return entries;
}

// ------------------------------------------------------------------- writing

uint64_t SegmentLog::append_bytes_max() const {
  return options_.segment_bytes - kSegmentHeaderBytes - kAppendOverheadBytes;
}

absl::StatusOr<uint64_t> SegmentLog::Check(const LogAppend& append) const {
  absl::MutexLock lock(&mu_);
  MR_RETURN_IF_ERROR(failure_);
  const HardState now = state_.hard_state();
  const HardState next = append.hard_state.value_or(now);
  uint64_t last = state_.last_index();
  if (append.truncate_from.has_value()) {
    MR_RETURN_IF_ERROR(state_.CheckTruncate(*append.truncate_from));
    last = *append.truncate_from - 1;
  }
  // A log that ends where this one does stands in for it.
  LogState probe(last, *state_.TermOf(last), now);
  MR_RETURN_IF_ERROR(probe.SetHardState({next.term, next.vote, now.commit}));
  uint64_t bytes = kAppendOverheadBytes;
  uint64_t index = last;
  for (auto rest = append.entries; !rest.empty();) {
    const auto record = NextRecord(rest, options_.record_bytes_target);
    rest = rest.subspan(record.size());
    bytes += RecordBytes(EntriesPayloadBytes(record));
    for (const LogEntry& entry : record) {
      if (entry.index != ++index) {
        return absl::InternalError(
            Av(Cat("entry ", entry.index, " follows entry ", index - 1)));
      }
    }
    EntryExtent extent;
    extent.first_index = record.front().index;
    MR_RETURN_IF_ERROR(probe.AddEntries(extent, TermsOf(record)));
  }
  MR_RETURN_IF_ERROR(probe.SetHardState(next));
  if (bytes > options_.segment_bytes - kSegmentHeaderBytes) {
    return absl::InvalidArgumentError(
        Av(Cat("an append of ", bytes, " bytes does not fit into a segment of ",
               options_.segment_bytes)));
  }
  return bytes;
}

absl::Status SegmentLog::Append(const LogAppend& append) {
  MR_ASSIGN_OR_RETURN(const uint64_t bytes, Check(append));
  HardState hard;
  uint64_t last_index, last_term;
  {
    absl::MutexLock lock(&mu_);
    hard = state_.hard_state();
    last_index = state_.last_index();
    last_term = state_.last_term();
  }
  if (end_ + bytes > segment_bytes_) {
    MR_RETURN_IF_ERROR(Roll(last_index + 1, last_term, hard));
  }

  RecordBuilder builder(seed_, static_cast<uint32_t>(end_),
                        static_cast<uint32_t>(synced_), chain_);
  const HardState next = append.hard_state.value_or(hard);
  std::optional<HardState> before;  // The entries.
  if (NeedsTermFirst(hard, next)) {
    before = {next.term, next.vote, hard.commit};
    builder.HardStateRecord(*before);
  }
  if (append.truncate_from.has_value()) {
    builder.TruncateRecord(*append.truncate_from);
  }
  std::vector<std::pair<EntryExtent, std::vector<uint64_t>>> added;
  for (auto rest = append.entries; !rest.empty();) {
    const auto record = NextRecord(rest, options_.record_bytes_target);
    rest = rest.subspan(record.size());
    EntryExtent extent;
    extent.first_index = record.front().index;
    extent.seq = seq_;
    extent.offset = builder.EntriesRecord(record);
    extent.bytes = builder.next_offset() - extent.offset;
    added.emplace_back(extent, TermsOf(record));
  }
  if (next != before.value_or(hard)) builder.HardStateRecord(next);
  if (builder.bytes().empty()) return absl::OkStatus();

  if (absl::Status s = WriteFully(*file_, end_, builder.bytes()); !s.ok()) {
    return Fatal(Annotate(s, Cat(path_, ", offset ", end_)));
  }
  end_ += builder.bytes().size();
  chain_ = builder.chain();

  absl::MutexLock lock(&mu_);
  if (before.has_value()) CHECK(state_.SetHardState(*before).ok());
  if (append.truncate_from.has_value()) {
    CHECK(state_.Truncate(*append.truncate_from).ok());
    for (auto& [seq, segment] : segments_) {
      if (segment.first_index > *append.truncate_from) {
        segment.can_begin = false;
      }
    }
  }
  for (const auto& [extent, terms] : added) {
    CHECK(state_.AddEntries(extent, terms).ok());
  }
  CHECK(state_.SetHardState(next).ok());
  return absl::OkStatus();
}

absl::Status SegmentLog::Sync() {
  MR_RETURN_IF_ERROR(failure());
  if (synced_ == end_) return absl::OkStatus();
  absl::Status status = file_->Sync();
  if (!status.ok() && options_.mutant.retry_failed_sync) status = file_->Sync();
  if (!status.ok()) return Fatal(status);
  synced_ = end_;
  return absl::OkStatus();
}

absl::Status SegmentLog::Roll(uint64_t next_index, uint64_t prev_term,
                              const HardState& hard) {
  MR_RETURN_IF_ERROR(Sync());
  MR_ASSIGN_OR_RETURN(std::unique_ptr<DiskFile> file, TakeSpare());
  RecordBuilder end(seed_, static_cast<uint32_t>(end_),
                    static_cast<uint32_t>(synced_), chain_);
  end.SegmentEndRecord(next_index, seq_ + 1);
  SegmentHeader header;
  header.identity = identity();
  header.seq = seq_ + 1;
  header.first_index = next_index;
  header.prev_term = prev_term;
  header.hard_state = hard;
  header.segment_bytes = options_.segment_bytes;
  header.chain = end.chain();
  const std::string encoded = EncodeSegmentHeader(header);
  const std::string log = LogDirectory(options_.directory);
  LogSegment segment;
  segment.seq = header.seq;
  segment.first_index = next_index;
  segment.path = JoinPath(log, SegmentName(header.seq, next_index));
  segment.seed = SegmentChecksum(encoded);

  absl::Status status = WriteFully(*file, 0, encoded);
  if (status.ok()) status = file->Sync();
  if (!status.ok()) return Fatal(status);
  status = disk_.Rename(SparePath(options_.directory), segment.path);
  if (absl::IsResourceExhausted(status)) {
    // The longer name found no room in the directory. Nothing has changed; the
    // header will be written again.
    ReturnSpare(std::move(file));
    return status;
  }
  if (status.ok() && !options_.mutant.skip_directory_sync) {
    status = disk_.SyncDirectory(log);
  }
  if (status.ok()) status = WriteFully(*file_, end_, end.bytes());
  if (status.ok()) status = file_->Sync();
  if (!status.ok()) return Fatal(status);
  ReturnSpare(nullptr);

  file_ = std::move(file);
  path_ = segment.path;
  seq_ = segment.seq;
  segment_bytes_ = options_.segment_bytes;
  seed_ = chain_ = segment.seed;
  end_ = synced_ = kSegmentHeaderBytes;
  absl::MutexLock lock(&mu_);
  segments_.emplace(seq_, std::move(segment));
  return absl::OkStatus();
}

absl::Status SegmentLog::Reset(uint64_t index, uint64_t term) {
  HardState hard;
  {
    absl::MutexLock lock(&mu_);
    MR_RETURN_IF_ERROR(failure_);
    hard = state_.hard_state();
  }
  if (index < hard.commit || term > hard.term) {
    return absl::InternalError(Av(Cat(
        "a log with ", hard.commit, " committed entries in term ", hard.term,
        " cannot begin anew behind entry ", index, " of term ", term)));
  }
  hard.commit = index;
  MR_RETURN_IF_ERROR(Roll(index + 1, term, hard));
  absl::MutexLock lock(&mu_);
  state_.Reset(index, term);
  return absl::OkStatus();
}

absl::Status SegmentLog::DropThrough(uint64_t index) {
  std::vector<LogSegment> drop;  // Oldest first.
  {
    absl::MutexLock lock(&mu_);
    MR_RETURN_IF_ERROR(failure_);
    if (options_.mutant.drop_past_snapshot) index = state_.hard_state().commit;
    if (index > state_.hard_state().commit) {
      return absl::InternalError(
          Av(Cat("entry ", index, " is not committed and must be kept")));
    }
    // Where they stand is forgotten, also of those whose segment has to stay.
    const uint64_t base = state_.RecordEndUpTo(index);
    if (base >= state_.first_index()) state_.DropThrough(base);
    auto begin = segments_.end();
    for (auto s = std::next(segments_.begin()); s != segments_.end(); ++s) {
      const LogSegment& segment = s->second;
      // Where the log begins at 1 there is nothing to drop but hard states;
      // and it would look like a log without its beginning.
      if (segment.can_begin && segment.first_index > 1 &&
          segment.first_index - 1 <= index) {
        begin = s;
      }
    }
    if (begin == segments_.end()) return absl::OkStatus();
    for (auto s = segments_.begin(); s != begin; ++s) drop.push_back(s->second);
  }
  // The newest first, durably: from then on the log begins behind the gap, and
  // never at a segment that cannot begin one.
  const std::string log = LogDirectory(options_.directory);
  if (options_.mutant.drop_oldest_first) std::reverse(drop.begin(), drop.end());
  while (!drop.empty()) {
    // An attempt that failed may have removed it all the same.
    absl::Status status = disk_.Remove(drop.back().path);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
    // Were it tried again, its success would say nothing, and the next one
    // might be gone sooner than this one.
    status = disk_.SyncDirectory(log);
    if (!status.ok()) return Fatal(status);
    absl::MutexLock lock(&mu_);
    segments_.erase(drop.back().seq);
    drop.pop_back();
  }
  return absl::OkStatus();
}

absl::Status SegmentLog::Close() {
  MR_RETURN_IF_ERROR(Sync());
  RecordBuilder builder(seed_, static_cast<uint32_t>(end_),
                        static_cast<uint32_t>(synced_), chain_);
  builder.HardStateRecord(hard_state());
  if (end_ + builder.bytes().size() + kSegmentEndRecordBytes > segment_bytes_) {
    return absl::OkStatus();  // No room for it; the log ends here as well.
  }
  MR_RETURN_IF_ERROR(WriteFully(*file_, end_, builder.bytes()));
  end_ += builder.bytes().size();
  chain_ = builder.chain();
  return file_->Sync();
}

// --------------------------------------------------------------------- spare

absl::Status SegmentLog::PrepareSpare() {
  {
    absl::MutexLock lock(&mu_);
    MR_RETURN_IF_ERROR(failure_);
    if (spare_ != Spare::kNone) return absl::OkStatus();
    spare_ = Spare::kBeingMade;
  }
  const std::string path = SparePath(options_.directory);
  // One of an earlier process may have been begun, or have got a header.
  absl::Status status = disk_.Remove(path);
  if (absl::IsNotFound(status)) status = absl::OkStatus();
  std::unique_ptr<DiskFile> file;
  if (status.ok()) {
    auto created = disk_.CreateZeroed(path, options_.segment_bytes);
    status = created.status();
    if (status.ok()) file = *std::move(created);
  }
  {
    absl::MutexLock lock(&mu_);
    spare_ = status.ok() ? Spare::kReady : Spare::kNone;
    spare_file_ = std::move(file);
  }
  if (status.ok() || absl::IsResourceExhausted(status)) return status;
  return Fatal(status);
}

bool SegmentLog::WantsSpare() const {
  if (end_ <= segment_bytes_ / 2) return false;
  absl::MutexLock lock(&mu_);
  return spare_ == Spare::kNone;
}

bool SegmentLog::has_spare() const {
  absl::MutexLock lock(&mu_);
  return spare_ == Spare::kReady || spare_ == Spare::kTaken;
}

absl::StatusOr<std::unique_ptr<DiskFile>> SegmentLog::TakeSpare() {
  const auto not_being_made = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return spare_ != Spare::kBeingMade;
  };
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&not_being_made));
      if (spare_ == Spare::kReady) {
        spare_ = Spare::kTaken;
        return std::move(spare_file_);
      }
    }
    MR_RETURN_IF_ERROR(PrepareSpare());
  }
}

void SegmentLog::ReturnSpare(std::unique_ptr<DiskFile> file) {
  absl::MutexLock lock(&mu_);
  CHECK(spare_ == Spare::kTaken);
  spare_ = file == nullptr ? Spare::kNone : Spare::kReady;
  spare_file_ = std::move(file);
}

bool SegmentLog::NearlyFull() const {
  const absl::StatusOr<uint64_t> free =
      disk_.FreeBytes(LogDirectory(options_.directory));
  // Who cannot say how full it is will say so when it is written.
  if (!free.ok()) return false;
  const uint64_t next = has_spare() ? 0 : options_.segment_bytes;
  return *free < options_.free_bytes_min + next;
}

uint64_t SegmentLog::BytesAfter(uint64_t index) const {
  absl::MutexLock lock(&mu_);
  const uint64_t last = state_.last_index();
  const uint64_t first = std::max(index + 1, state_.first_index());
  if (first > last) return 0;
  const EntryExtent& from = *state_.Find(first);
  const EntryExtent& to = *state_.Find(last);
  return (to.seq - from.seq) * options_.segment_bytes + to.offset + to.bytes -
         from.offset;
}

// -------------------------------------------------------------------- errors

absl::Status SegmentLog::failure() const {
  absl::MutexLock lock(&mu_);
  return failure_;
}

absl::Status SegmentLog::Fatal(const absl::Status& error) {
  const absl::Status failure = absl::InternalError(Av(Cat(
      "the log in ", options_.directory,
      " cannot go on after an error of the disk: ", ToStd(error.message()))));
  {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    failure_ = failure;
  }
  if (options_.on_fatal) {
    options_.on_fatal(failure);
  } else {
    LOG(FATAL) << failure.message();
  }
  return failure;
}

}  // namespace millrace::raft
