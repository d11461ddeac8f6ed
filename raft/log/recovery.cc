#include "raft/log/recovery.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/log_format.h"

namespace millrace::raft {

std::string LogDirectory(std::string_view directory) {
  return JoinPath(directory, "log");
}

absl::Status DamagedLog(std::string_view directory, std::string_view path,
                        uint64_t offset, std::string_view what) {
  return absl::DataLossError(Av(
      Cat(path, ", offset ", offset, ": ", what,
          ". This master does not start: one that has forgotten entries must "
          "not vote. Keep a copy of ",
          directory,
          " for examination. Then, where other masters have the log, empty it "
          "and add this master again as a new member; a master that is alone "
          "can only be restored from a back-up")));
}

absl::StatusOr<std::map<uint64_t, LogSegment>> ListSegments(
    std::string_view directory, Disk& disk) {
  const std::string log = LogDirectory(directory);
  MR_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(log));
  std::map<uint64_t, LogSegment> segments;
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".seg")) continue;
    LogSegment segment;
    segment.path = JoinPath(log, name);
    const size_t dash = name.find('-');
    if (dash == std::string::npos ||
        !absl::SimpleAtoi(name.substr(0, dash), &segment.seq) ||
        !absl::SimpleAtoi(name.substr(dash + 1, name.size() - dash - 5),
                          &segment.first_index) ||
        name != SegmentName(segment.seq, segment.first_index)) {
      return DamagedLog(directory, segment.path, 0,
                        "the log gives no file such a name");
    }
    const auto [at, fresh] = segments.emplace(segment.seq, segment);
    if (!fresh) {
      return DamagedLog(
          directory, segment.path, 0,
          Cat("the segment is there twice, also as ", at->second.path));
    }
  }
  return segments;
}

namespace {

class Recovery {
 public:
  Recovery(const RecoveryOptions& options, Disk& disk)
      : options_(options), disk_(disk) {}

  absl::StatusOr<RecoveredLog> Run() {
    MR_ASSIGN_OR_RETURN(log_.segments, ListSegments(options_.directory, disk_));
    MR_RETURN_IF_ERROR(CheckSequence());
    for (auto& [seq, segment] : log_.segments) {
      segment_ = &segment;
      MR_RETURN_IF_ERROR(ReadSegment());
    }
    MR_RETURN_IF_ERROR(RepairTail());
    const LogSnapshot& snapshot = options_.snapshot;
    const uint64_t reaches = std::max(options_.last_index_min,
                                      snapshot.installed ? 0 : snapshot.index);
    if (log_.state.last_index() < reaches &&
        !options_.mutant.end_before_snapshot) {
      return Damage(log_.end,
                    Cat("the log ends with entry ", log_.state.last_index(),
                        ", the snapshot with ", reaches));
    }
    for (const std::string& path : dropped_) {
      MR_RETURN_IF_ERROR(disk_.Remove(path));
    }
    return std::move(log_);
  }

 private:
  absl::Status Damage(uint64_t offset, std::string_view what) const {
    return DamagedLog(options_.directory, segment_->path, offset, what);
  }

  bool AtLastSegment() const {
    return segment_->seq == log_.segments.rbegin()->first;
  }

  absl::Status CheckSequence() {
    const std::string log = LogDirectory(options_.directory);
    if (log_.segments.empty()) {
      return DamagedLog(options_.directory, log, 0, "there are no segments");
    }
    // Where segments are missing, the log begins behind them; that is how it
    // looks when a crash interrupts SegmentLog::DropThrough. Whether it may
    // begin there the snapshot says.
    auto begin = std::prev(log_.segments.end());
    while (begin != log_.segments.begin() &&
           std::prev(begin)->first + 1 == begin->first) {
      --begin;
    }
    for (auto s = log_.segments.begin(); s != begin;) {
      dropped_.push_back(s->second.path);
      s = log_.segments.erase(s);
    }
    segment_ = &log_.segments.begin()->second;
    const uint64_t before = segment_->first_index - 1;  // Entries before it.
    if (segment_->first_index == 0 ||
        (before > options_.snapshot.index && !options_.mutant.begin_anywhere) ||
        (before == 0) != (segment_->seq == 1)) {
      return Damage(0, Cat("the log begins with entry ", segment_->first_index,
                           " in segment ", segment_->seq, "; at least segment ",
                           segment_->seq - 1, " is missing (entries up to ",
                           options_.snapshot.index, " are in a snapshot)"));
    }
    return absl::OkStatus();
  }

  // Reads and applies the segment. Afterwards log_.end is where its valid
  // records end.
  absl::Status ReadSegment() {
    MR_ASSIGN_OR_RETURN(log_.file, disk_.Open(segment_->path));
    MR_ASSIGN_OR_RETURN(bytes_, ReadFully(*log_.file, kSegmentBytesMax));
    MR_RETURN_IF_ERROR(ReadHeader());
    log_.segment_bytes = bytes_.size();
    log_.seed = log_.chain = segment_->seed = SegmentChecksum(bytes_);
    log_.end = mark_ = kSegmentHeaderBytes;
    uint64_t last_record = 0;
    for (bool ended = false; !ended;) {
      const std::string_view at = std::string_view(bytes_).substr(log_.end);
      const std::optional<RecordHeader> header =
          ParseRecordHeader(at, log_.end, log_.seed);
      if (!header) {
        return EndOfRecords("no record begins here that was written here");
      }
      if (header->chain != log_.chain && !options_.mutant.ignore_chain) {
        return Damage(log_.end, "the record does not follow the one before it");
      }
      if (!RecordIntact(at, *header)) {
        return EndOfRecords("checksum mismatch in a record");
      }
      if (header->mark < mark_) {
        return Damage(log_.end, "the record's mark goes back");
      }
      MR_RETURN_IF_ERROR(ApplyRecord(*header, RecordPayload(at, *header)));
      ended = header->type == static_cast<uint8_t>(RecordType::kSegmentEnd);
      mark_ = header->mark;
      last_record = log_.end;
      log_.end += RecordBytes(header->length);
      log_.chain = RecordChecksum(at, *header);
    }
    if (AtLastSegment()) {
      return Damage(
          last_record,
          Cat("the segment is complete, but the next one, ",
              SegmentName(segment_->seq + 1, next_index_), ", is missing"));
    }
    RememberEnd(last_record,
                bytes_.substr(last_record, log_.end - last_record));
    return absl::OkStatus();
  }

  void RememberEnd(uint64_t offset, std::string record) {
    previous_path_ = segment_->path;
    previous_end_at_ = offset;
    previous_end_record_ = std::move(record);
  }

  absl::Status ReadHeader() {
    const absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(bytes_);
    if (absl::IsFailedPrecondition(header.status())) {
      return Annotate(header.status(), segment_->path);
    }
    if (!header.ok()) return Damage(0, ToStd(header.status().message()));
    if (header->identity != options_.identity) {
      return Damage(
          0, Cat("the segment is of cluster ", header->identity.cluster.ToHex(),
                 ", member ", header->identity.member, ", the directory of ",
                 options_.identity.cluster.ToHex(), ", member ",
                 options_.identity.member));
    }
    if (header->seq != segment_->seq ||
        header->first_index != segment_->first_index) {
      return Damage(0, Cat("the segment was written as ",
                           SegmentName(header->seq, header->first_index)));
    }
    if (header->segment_bytes != bytes_.size()) {
      return Damage(std::min<uint64_t>(header->segment_bytes, bytes_.size()),
                    Cat("the file has ", bytes_.size(), " bytes, it had ",
                        header->segment_bytes));
    }
    const uint64_t before = header->first_index - 1;
    if (segment_->seq == log_.segments.begin()->first) {
      log_.state = LogState(before, header->prev_term, header->hard_state);
      if (header->prev_term > header->hard_state.term ||
          header->hard_state.commit > before) {
        return Damage(0, "the header contradicts itself");
      }
      return absl::OkStatus();
    }
    if ((header->chain != log_.chain && !options_.mutant.ignore_chain) ||
        header->first_index != next_index_) {
      return Damage(0, "the segment does not follow the one before it");
    }
    LogState& state = log_.state;
    if (header->first_index != state.last_index() + 1 ||
        header->prev_term != state.last_term()) {
      // The log was left behind by a snapshot: see SegmentLog::Reset.
      if (before < state.hard_state().commit ||
          before > options_.snapshot.index ||
          header->prev_term > state.hard_state().term) {
        return Damage(0, Cat("the segment begins behind a snapshot at entry ",
                             before, ", which is not there"));
      }
      state.Reset(before, header->prev_term);
    }
    if (header->hard_state != state.hard_state()) {
      return Damage(0, "the header contradicts the segments before it");
    }
    return absl::OkStatus();
  }

  absl::Status ApplyRecord(const RecordHeader& header,
                           std::string_view payload) {
    LogState& state = log_.state;
    absl::Status applied;
    bool sound = false;  // Whether the payload is one at all.
    switch (static_cast<RecordType>(header.type)) {
      case RecordType::kEntries: {
        EntryExtent extent;
        std::vector<uint64_t> terms;
        sound = DecodeEntries(payload, [&](const EntryView& entry) {
          if (terms.empty()) extent.first_index = entry.index;
          terms.push_back(entry.term);
          return true;
        });
        if (!sound) break;
        extent.seq = segment_->seq;
        extent.offset = header.offset;
        extent.bytes = static_cast<uint32_t>(RecordBytes(header.length));
        applied = state.AddEntries(extent, terms);
        break;
      }
      case RecordType::kHardState:
        if (const auto hard = DecodeHardState(payload)) {
          sound = true;
          applied = state.SetHardState(*hard);
        }
        break;
      case RecordType::kTruncate:
        if (const auto from = DecodeTruncate(payload)) {
          sound = true;
          applied = state.Truncate(*from);
          for (auto& [seq, segment] : log_.segments) {
            if (seq <= segment_->seq && segment.first_index > *from) {
              segment.can_begin = false;
            }
          }
        }
        break;
      case RecordType::kSegmentEnd:
        if (const auto end = DecodeSegmentEnd(payload)) {
          sound = end->next_seq == segment_->seq + 1 && end->next_index > 0;
          next_index_ = end->next_index;
        }
        break;
      default:
        return Damage(header.offset, Cat("a record of type ", header.type,
                                         ", which this version does not know"));
    }
    if (!sound) {
      return Damage(header.offset, "a record that says nothing sensible");
    }
    if (!applied.ok()) return Damage(header.offset, ToStd(applied.message()));
    return absl::OkStatus();
  }

  // At log_.end there is no valid record. `why` says what there is.
  absl::Status EndOfRecords(std::string_view why) {
    if (options_.mutant.drop_bad_middle) {
      log_.segments.erase(log_.segments.upper_bound(segment_->seq),
                          log_.segments.end());
      log_.torn_bytes = std::max(UsedBytes(bytes_), log_.end) - log_.end;
      return absl::OkStatus();
    }
    if (AtLastSegment()) return CheckTail(why);
    return FinishRoll(why);
  }

  // The segment is not the last, and lacks its end. That is as a crash leaves
  // it between making the next segment and ending this one; the next one's
  // chain then says exactly what has to stand here.
  absl::Status FinishRoll(std::string_view why) {
    const LogSegment& next = log_.segments.at(segment_->seq + 1);
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> file,
                        disk_.Open(next.path));
    absl::StatusOr<std::string> next_bytes = ReadFully(*file, kSegmentBytesMax);
    if (!next_bytes.ok()) return Annotate(next_bytes.status(), next.path);
    const absl::StatusOr<SegmentHeader> header =
        DecodeSegmentHeader(*next_bytes);
    const bool unused =
        next.seq == log_.segments.rbegin()->first && header.ok() &&
        next_bytes->find_first_not_of('\0', kSegmentHeaderBytes) ==
            std::string::npos;
    if (!unused || bytes_.size() - log_.end < kSegmentEndRecordBytes) {
      return Damage(log_.end, why);
    }
    const auto end = static_cast<uint32_t>(log_.end);
    RecordBuilder builder(log_.seed, end, end, log_.chain);
    builder.SegmentEndRecord(header->first_index, header->seq);
    if (builder.chain() != header->chain) return Damage(log_.end, why);
    RememberEnd(log_.end, builder.bytes());
    log_.chain = builder.chain();
    next_index_ = header->first_index;
    return absl::OkStatus();
  }

  // Whether what stands at log_.end and behind it is a torn tail.
  absl::Status CheckTail(std::string_view why) {
    const uint64_t end = log_.end;
    const uint64_t used = UsedBytes(bytes_);
    if (used <= end) return absl::OkStatus();  // Zeros: nothing was torn.
    const std::string_view bytes = bytes_;
    const auto header = ParseRecordHeader(bytes.substr(end), end, log_.seed);
    const uint64_t extent =
        header ? RecordBytes(header->length) : kRecordHeaderBytes;
    if (bytes_.size() - end < kRecordHeaderBytes ||
        !TornEvidence(bytes_, end, extent)) {
      return Damage(end, Cat(why, ", and no crash explains it"));
    }
    for (size_t at = bytes_.find("MRLR", end + 1); at != std::string::npos;
         at = bytes_.find("MRLR", at + 1)) {
      if (at % 8 != 0) continue;
      const auto later = ParseRecordHeader(bytes.substr(at), at, log_.seed);
      if (later && later->mark > end && !options_.mutant.ignore_marks) {
        return Damage(end, Cat(why, ", although the record at ", at,
                               " says that it had been synced"));
      }
    }
    log_.torn_bytes = used - end;
    return absl::OkStatus();
  }

  // Makes what was read last, and only it, stand on the disk. Even where
  // nothing was torn: the bytes may so far be in the page cache alone; and
  // after a failed sync of an earlier process the kernel believes them to be
  // clean, so that a sync alone would not write them. Hence they are written
  // again.
  absl::Status RepairTail() {
    // Names first: the segment before gets its end only when the next one is
    // sure to be found.
    MR_RETURN_IF_ERROR(disk_.SyncDirectory(LogDirectory(options_.directory)));
    if (!previous_path_.empty() && log_.end == kSegmentHeaderBytes) {
      MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> previous,
                          disk_.Open(previous_path_));
      MR_RETURN_IF_ERROR(Annotate(
          WriteFully(*previous, previous_end_at_, previous_end_record_),
          previous_path_));
      MR_RETURN_IF_ERROR(previous->Sync());
    }
    const std::string_view bytes = bytes_;
    const LogMutant& mutant = options_.mutant;
    const std::string zeros(mutant.keep_torn_tail ? 0 : log_.torn_bytes, '\0');
    MR_RETURN_IF_ERROR(
        Annotate(WriteFully(*log_.file, log_.end, zeros), segment_->path));
    if (!mutant.sync_only) {
      MR_RETURN_IF_ERROR(Annotate(
          WriteFully(*log_.file, mark_, bytes.substr(mark_, log_.end - mark_)),
          segment_->path));
    }
    return log_.file->Sync();
  }

  const RecoveryOptions& options_;
  Disk& disk_;
  RecoveredLog log_;
  std::vector<std::string> dropped_;  // Segments that are no longer needed.
  LogSegment* segment_ = nullptr;     // Being read; in log_.segments.
  std::string bytes_;                 // Of it.
  uint64_t mark_ = 0;                 // Of the last record.
  // From the end of the segment before this one.
  uint64_t next_index_ = 0;
  std::string previous_path_;
  uint64_t previous_end_at_ = 0;
  std::string previous_end_record_;
};

}  // namespace

absl::StatusOr<RecoveredLog> RecoverLog(const RecoveryOptions& options,
                                        Disk& disk) {
  return Recovery(options, disk).Run();
}

}  // namespace millrace::raft
