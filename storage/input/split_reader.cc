#include "storage/input/split_reader.h"

#include <algorithm>
#include <cstring>

#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/input/read_buffer.h"

namespace millrace::storage {
namespace {

constexpr size_t kBatchRecords = 256;

absl::Status Changed(const std::string& path, std::string_view how) {
  return absl::AbortedError(Av(Cat("INPUT_CHANGED: ", Printable(path, 4096),
                                   " ", how, " since the job was planned")));
}

// Opens the files of a split's ranges in turn and holds them against the plan.
class RangeFiles {
 public:
  RangeFiles(FileSystem& fs, const proto::Plan& plan) : fs_(fs), plan_(plan) {}

  absl::Status Open(uint32_t file) {
    if (file_ != nullptr && index_ == file) return absl::OkStatus();
    index_ = file;
    path_ = plan_.files(static_cast<int>(file)).path();
    absl::StatusOr<std::unique_ptr<ReadFile>> opened = fs_.OpenRead(path_);
    if (absl::IsNotFound(opened.status())) {
      return Changed(path_, "was deleted");
    }
    MR_RETURN_IF_ERROR(opened.status());
    file_ = *std::move(opened);
    return CheckIdentity();
  }

  // At the end of a range: what was read is what was planned.
  absl::Status CheckIdentity() {
    MR_ASSIGN_OR_RETURN(const FileInfo info, file_->Stat());
    const proto::PlannedFile& planned = plan_.files(static_cast<int>(index_));
    if (info.identity.size != planned.size()) {
      return Changed(path_, Cat("changed its size from ", planned.size(),
                                " to ", info.identity.size, " bytes"));
    }
    if (info.identity.inode != planned.inode()) {
      return Changed(path_, "was replaced by another file");
    }
    if (info.identity.mtime_ns != planned.mtime_ns()) {
      return Changed(path_, "was written to");
    }
    return absl::OkStatus();
  }

  absl::Status CutShort(uint64_t offset) const {
    return Changed(path_, Cat("was cut off at byte ", offset));
  }

  ReadFile& file() { return *file_; }
  uint32_t index() const { return index_; }
  uint64_t size() const { return plan_.files(static_cast<int>(index_)).size(); }
  const std::string& path() const { return path_; }

 private:
  FileSystem& fs_;
  const proto::Plan& plan_;
  std::unique_ptr<ReadFile> file_;
  uint32_t index_ = 0;
  std::string path_;
};

// What the readers share: the walk over the ranges, and the window of file
// bytes [base, base + size) in memory.
class FileSplitReader : public SplitReader {
 public:
  FileSplitReader(FileSystem& fs, const proto::Plan& plan, int split,
                  size_t buffer_bytes)
      : plan_(plan),
        split_(plan.splits(split)),
        files_(fs, plan),
        buffer_(buffer_bytes) {}

  absl::StatusOr<bool> Next(InputBatch* batch) final {
    records_.clear();
    for (;;) {
      if (!in_range_) {
        if (next_range_ == split_.ranges_size()) return false;
        MR_RETURN_IF_ERROR(BeginRange(split_.ranges(next_range_++)));
      }
      MR_ASSIGN_OR_RETURN(const bool range_done, FillBatch());
      if (range_done) {
        in_range_ = false;
        MR_RETURN_IF_ERROR(files_.CheckIdentity());
      }
      if (records_.empty()) continue;
      batch->file = files_.index();
      batch->records = records_.data();
      batch->count = records_.size();
      return true;
    }
  }

  uint64_t bytes_read() const final { return bytes_read_; }
  const std::string& current_path() const final { return files_.path(); }

 protected:
  // Appends up to kBatchRecords records of the range, all of them lying in the
  // window. True: the range holds no more.
  virtual absl::StatusOr<bool> FillBatch() = 0;
  // Moves `position_` to the first record of the range.
  virtual absl::Status FindFirstRecord() = 0;

  // Makes the bytes from `position_` on begin the window and adds what follows
  // them in the file, at least one byte more than now. False: there is nothing
  // to add. Invalidates views.
  absl::StatusOr<bool> ReadMore() {
    const uint64_t end = window_base_ + buffer_.size();
    if (end == files_.size()) return false;
    buffer_.DropFront(static_cast<size_t>(position_ - window_base_));
    window_base_ = position_;
    if (buffer_.size() > kRecordBytesMax) {
      return absl::InvalidArgumentError(
          Av(Cat(Printable(files_.path(), 4096), " offset ", position_,
                 ": a record of more than ", HumanBytes(kRecordBytesMax),
                 "; is this a file of lines?")));
    }
    const size_t want = static_cast<size_t>(
        std::min<uint64_t>(buffer_.RoomToAdd(), files_.size() - end));
    char* const at = buffer_.Extend(want);
    MR_ASSIGN_OR_RETURN(const size_t got, files_.file().ReadAt(end, at, want));
    if (got < want) return files_.CutShort(end + got);
    bytes_read_ += got;
    return true;
  }

  const proto::Plan& plan_;
  const proto::Split& split_;
  RangeFiles files_;
  ReadBuffer buffer_;
  uint64_t window_base_ = 0;  // File offset of buffer_.data().
  uint64_t position_ = 0;     // File offset of the next record.
  uint64_t range_begin_ = 0;
  uint64_t range_end_ = 0;
  std::vector<InputRecord> records_;

 private:
  absl::Status BeginRange(const proto::Range& range) {
    const bool same_file = next_range_ > 1 && range.file() == files_.index() &&
                           range.offset() == range_end_ &&
                           position_ >= range_end_;
    MR_RETURN_IF_ERROR(files_.Open(range.file()));
    range_begin_ = range.offset();
    range_end_ = range.offset() + range.length();
    in_range_ = true;
    if (same_file) return absl::OkStatus();
    buffer_.Clear();
    return FindFirstRecord();
  }

  int next_range_ = 0;
  bool in_range_ = false;
  uint64_t bytes_read_ = 0;
};

class TextSplitReader final : public FileSplitReader {
 public:
  using FileSplitReader::FileSplitReader;

 protected:
  // A line that begins before the range belongs to the range before. Whether
  // one begins exactly at the range's first byte, the byte before it tells.
  absl::Status FindFirstRecord() override {
    position_ = range_begin_ == 0 ? 0 : range_begin_ - 1;
    window_base_ = position_;
    if (range_begin_ == 0) return absl::OkStatus();
    for (;;) {
      MR_ASSIGN_OR_RETURN(const bool more, ReadMore());
      if (!more) return absl::OkStatus();
      const char* const from = buffer_.data();
      const void* const found = std::memchr(from, '\n', buffer_.size());
      if (found != nullptr) {
        position_ +=
            static_cast<uint64_t>(static_cast<const char*>(found) - from + 1);
        return absl::OkStatus();
      }
      // Nothing of this line is needed.
      position_ += buffer_.size();
      if (position_ >= range_end_) return absl::OkStatus();
    }
  }

  absl::StatusOr<bool> FillBatch() override {
    for (;;) {
      if (position_ >= range_end_ || position_ >= files_.size()) return true;
      const char* const data = buffer_.data();
      const size_t size = buffer_.size();
      size_t at = static_cast<size_t>(position_ - window_base_);
      const size_t stop = static_cast<size_t>(
          std::min<uint64_t>(range_end_ - window_base_, size));
      while (at < stop && records_.size() < kBatchRecords) {
        const void* const found = std::memchr(data + at, '\n', size - at);
        if (found == nullptr) break;
        const size_t end =
            static_cast<size_t>(static_cast<const char*>(found) - data);
        // A carriage return before the newline belongs to the line end.
        Add(data, at, end > at && data[end - 1] == '\r' ? end - 1 : end);
        at = end + 1;
      }
      position_ = window_base_ + at;
      if (!records_.empty()) return position_ >= range_end_;
      if (position_ >= range_end_) return true;
      // No whole line in the window: more of the file, or its last line.
      MR_ASSIGN_OR_RETURN(const bool more, ReadMore());
      if (more) continue;
      Add(buffer_.data(), static_cast<size_t>(position_ - window_base_),
          buffer_.size());
      position_ = files_.size();
      return true;
    }
  }

 private:
  void Add(const char* data, size_t begin, size_t end) {
    records_.push_back({data + begin, end - begin, window_base_ + begin});
  }
};

class FixedSplitReader final : public FileSplitReader {
 public:
  using FileSplitReader::FileSplitReader;

 protected:
  absl::Status FindFirstRecord() override {
    position_ = range_begin_;  // The plan cuts at record bounds.
    window_base_ = position_;
    return absl::OkStatus();
  }

  absl::StatusOr<bool> FillBatch() override {
    const size_t record = plan_.record_bytes();
    for (;;) {
      if (position_ >= range_end_) return true;
      size_t at = static_cast<size_t>(position_ - window_base_);
      while (at + record <= buffer_.size() && window_base_ + at < range_end_ &&
             records_.size() < kBatchRecords) {
        records_.push_back({buffer_.data() + at, record, window_base_ + at});
        at += record;
      }
      position_ = window_base_ + at;
      if (!records_.empty()) return position_ >= range_end_;
      MR_ASSIGN_OR_RETURN(const bool more, ReadMore());
      if (!more) return files_.CutShort(window_base_ + buffer_.size());
    }
  }
};

class SequenceReader final : public SplitReader {
 public:
  SequenceReader(const proto::Plan& plan, int split)
      : split_(plan.splits(split)) {}

  absl::StatusOr<bool> Next(InputBatch* batch) override {
    records_.clear();
    while (records_.size() < kBatchRecords) {
      if (at_ == end_) {
        if (next_range_ == split_.ranges_size()) break;
        const proto::Range& range = split_.ranges(next_range_++);
        at_ = range.offset();
        end_ = range.offset() + range.length();
        continue;
      }
      records_.push_back({nullptr, 0, at_++});
    }
    batch->file = 0;
    batch->records = records_.data();
    batch->count = records_.size();
    return !records_.empty();
  }

  uint64_t bytes_read() const override { return 0; }
  const std::string& current_path() const override { return path_; }

 private:
  const proto::Split& split_;
  int next_range_ = 0;
  uint64_t at_ = 0;
  uint64_t end_ = 0;
  std::vector<InputRecord> records_;
  const std::string path_;
};

}  // namespace

std::unique_ptr<SplitReader> SplitReader::Create(FileSystem& fs,
                                                 const proto::Plan& plan,
                                                 int split) {
  return internal::MakeSplitReader(fs, plan, split, ReadBuffer::kDefaultBytes);
}

namespace internal {

std::unique_ptr<SplitReader> MakeSplitReader(FileSystem& fs,
                                             const proto::Plan& plan, int split,
                                             size_t buffer_bytes) {
  switch (plan.input_kind()) {
    case proto::SEQUENCE:
      return std::make_unique<SequenceReader>(plan, split);
    case proto::FIXED_RECORDS:
      return std::make_unique<FixedSplitReader>(fs, plan, split, buffer_bytes);
    default:
      return std::make_unique<TextSplitReader>(fs, plan, split, buffer_bytes);
  }
}

}  // namespace internal
}  // namespace millrace::storage
