#include "storage/input/split_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/input/read_window.h"
#include "storage/input/split_reader_internal.h"

namespace millrace::storage {
namespace {

using internal::SplitReaderOptions;

std::string Shown(const std::string& path) { return Printable(path, 4096); }

absl::Status InputChanged(const std::string& path, std::string_view how) {
  return absl::AbortedError(Av(Cat("INPUT_CHANGED: ", Shown(path), " ", how)));
}

// OK, or INPUT_CHANGED with what is not as planned.
absl::Status CheckIdentity(const proto::PlannedFile& planned,
                           const FileInfo& found) {
  if (found.kind != FileKind::kRegular) {
    return InputChanged(planned.path(),
                        "is no regular file any more; it was when the job was "
                        "planned");
  }
  const FileIdentity& now = found.identity;
  std::string how;
  const auto add = [&how](std::string_view what, auto was, auto is) {
    how += Cat(how.empty() ? "" : ", ", what, " ", was, " -> ", is);
  };
  if (now.size != planned.size()) add("size", planned.size(), now.size);
  if (now.mtime_ns != planned.mtime_ns()) {
    add("mtime_ns", planned.mtime_ns(), now.mtime_ns);
  }
  if (now.inode != planned.inode()) add("inode", planned.inode(), now.inode);
  if (how.empty()) return absl::OkStatus();
  return InputChanged(planned.path(),
                      Cat("changed since the job was planned: ", how));
}

// What all formats on files share: files one after another, each checked
// against the plan when it is opened and when its last byte has been read.
class FileSplitReader : public SplitReader {
 public:
  FileSplitReader(FileSystem& fs, const proto::Plan& plan, int split,
                  const SplitReaderOptions& options)
      : plan_(plan),
        options_(options),
        window_(options.buffer_bytes),
        fs_(fs),
        split_(plan.splits(split)) {
    records_.resize(options.batch_records);
  }

  absl::StatusOr<bool> Next(InputBatch* batch) final {
    if (!status_.ok()) return status_;
    absl::StatusOr<bool> more = NextBatch(batch);
    if (!more.ok()) status_ = more.status();
    return more;
  }

  uint64_t bytes_read() const final { return bytes_read_; }

  const std::string& current_path() const final {
    static const std::string* const kNone = new std::string;
    return file_index_ < 0 ? *kNone : planned().path();
  }

 protected:
  // The window is empty and stands at the first byte of the range. Moves it to
  // the first record that begins in the range, or to range_end() or beyond.
  virtual absl::Status SeekFirstRecord(uint64_t range_offset) = 0;
  // Puts the next records into records_ and consumes them; 0: no more begin in
  // this range, and then the window is at range_end() or beyond.
  virtual absl::StatusOr<size_t> Collect() = 0;

  const proto::PlannedFile& planned() const { return plan_.files(file_index_); }
  uint64_t range_end() const { return range_end_; }

  // Extends the window, as far as the range reaches and then in steps that
  // double, so that a long last record costs few reads and a short one reads
  // little beyond. REQUIRES: the window does not reach the end of the file.
  absl::Status Fill() {
    const uint64_t at = window_.end_offset();
    const uint64_t left_of_file = planned().size() - at;
    uint64_t want = at < range_end_ ? range_end_ - at : 0;
    want = std::max<uint64_t>({want, options_.overread_bytes, window_.size()});
    want = std::min(want, left_of_file);
    absl::StatusOr<size_t> n =
        window_.Extend(*file_, want, window_.size() + left_of_file);
    if (!n.ok()) {
      return Annotate(n.status(), Cat("reading ", Shown(planned().path()),
                                      " at offset ", at));
    }
    if (*n > 0) return absl::OkStatus();
    MR_RETURN_IF_ERROR(CheckOpenFile());
    return InputChanged(
        planned().path(),
        Cat("ends at ", at, ", before its size of ", planned().size()));
  }

  absl::Status TooLong(uint64_t offset) const {
    return absl::InvalidArgumentError(
        Av(Cat("the record at offset ", offset, " of ", Shown(planned().path()),
               " is longer than ", HumanBytes(options_.record_bytes_max),
               "; is this a text file?")));
  }

  const proto::Plan& plan_;
  const SplitReaderOptions options_;
  ReadWindow window_;
  std::vector<InputRecord> records_;

 private:
  absl::StatusOr<bool> NextBatch(InputBatch* batch) {
    for (;;) {
      if (!in_range_) {
        if (next_range_ == split_.ranges_size()) return false;
        MR_RETURN_IF_ERROR(BeginRange(split_.ranges(next_range_++)));
      }
      const uint64_t before = window_.offset();
      MR_ASSIGN_OR_RETURN(const size_t count, Collect());
      bytes_read_ += window_.offset() - before;
      if (window_.offset() >= range_end_) {
        // The bytes stay in the window; the file is not needed any more.
        MR_RETURN_IF_ERROR(EndRange());
      }
      if (count > 0) {
        batch->file = static_cast<uint32_t>(file_index_);
        batch->records = records_.data();
        batch->count = count;
        return true;
      }
      CHECK(!in_range_) << "no records, and the range goes on";
    }
  }

  absl::Status BeginRange(const proto::Range& range) {
    file_index_ = static_cast<int>(range.file());
    if (file_ == nullptr) {
      absl::StatusOr<std::unique_ptr<ReadFile>> file =
          fs_.OpenRead(planned().path());
      if (absl::IsNotFound(file.status())) {
        return InputChanged(planned().path(),
                            "was deleted since the job was planned");
      }
      if (!file.ok()) return file.status();
      file_ = *std::move(file);
      MR_RETURN_IF_ERROR(CheckOpenFile());
    }
    // Plans are checked when they are parsed; memory beyond that is our own.
    CHECK_LE(range.offset(), planned().size());
    CHECK_LE(range.length(), planned().size() - range.offset());
    range_end_ = range.offset() + range.length();
    in_range_ = true;
    window_.MoveTo(range.offset());
    return SeekFirstRecord(range.offset());
  }

  absl::Status EndRange() {
    in_range_ = false;
    MR_RETURN_IF_ERROR(CheckOpenFile());
    const bool stays =
        next_range_ < split_.ranges_size() &&
        split_.ranges(next_range_).file() == static_cast<uint32_t>(file_index_);
    if (!stays) file_ = nullptr;
    return absl::OkStatus();
  }

  absl::Status CheckOpenFile() {
    MR_ASSIGN_OR_RETURN(const FileInfo info, file_->Stat());
    return CheckIdentity(planned(), info);
  }

  FileSystem& fs_;
  const proto::Split& split_;
  int next_range_ = 0;
  bool in_range_ = false;
  uint64_t range_end_ = 0;
  int file_index_ = -1;
  std::unique_ptr<ReadFile> file_;  // Of file_index_; may be null between.
  uint64_t bytes_read_ = 0;
  absl::Status status_;  // The first error; Next() repeats it.
};

class TextReader final : public FileSplitReader {
 public:
  using FileSplitReader::FileSplitReader;

 private:
  // A record begins at 0 and behind each '\n'. The search begins one byte
  // early, since the range's own first byte may begin a record, and ends one
  // byte early, since a line end at range_end() - 1 begins the next range's.
  absl::Status SeekFirstRecord(uint64_t range_offset) override {
    scanned_ = 0;
    if (range_offset == 0) return absl::OkStatus();
    window_.MoveTo(range_offset - 1);
    while (window_.offset() < range_end() - 1) {
      if (window_.size() == 0) MR_RETURN_IF_ERROR(Fill());
      const size_t search = static_cast<size_t>(std::min<uint64_t>(
          window_.size(), range_end() - 1 - window_.offset()));
      const void* found = std::memchr(window_.data(), '\n', search);
      if (found != nullptr) {
        window_.Consume(static_cast<size_t>(static_cast<const char*>(found) -
                                            window_.data()) +
                        1);
        return absl::OkStatus();
      }
      window_.Consume(search);
    }
    window_.MoveTo(range_end());
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Collect() override {
    while (window_.offset() < range_end()) {
      MR_ASSIGN_OR_RETURN(const size_t count, TakeLines());
      if (count > 0) return count;
      if (window_.end_offset() == planned().size()) return TakeUnendedLine();
      scanned_ = window_.size();
      // One more, since a '\r' may be part of the line end to come.
      if (scanned_ > options_.record_bytes_max + 1) {
        return TooLong(window_.offset());
      }
      MR_RETURN_IF_ERROR(Fill());
    }
    return size_t{0};
  }

  // The lines that are whole in the window.
  absl::StatusOr<size_t> TakeLines() {
    const char* const begin = window_.data();
    const char* const end = begin + window_.size();
    const uint64_t begin_offset = window_.offset();
    // Lines that begin here or later belong to the next range.
    const char* const stop =
        begin + std::min<uint64_t>(window_.size(), range_end() - begin_offset);
    const char* line = begin;
    const char* search = begin + scanned_;
    InputRecord* const records = records_.data();
    const size_t count_max = records_.size();
    size_t count = 0;
    while (count < count_max && line < stop) {
      const char* const newline = static_cast<const char*>(
          std::memchr(search, '\n', static_cast<size_t>(end - search)));
      if (newline == nullptr) break;
      InputRecord& record = records[count++];
      record.data = line;
      record.size = static_cast<size_t>(newline - line);
      if (record.size > 0 && newline[-1] == '\r') --record.size;
      record.offset = begin_offset + static_cast<uint64_t>(line - begin);
      if (record.size > options_.record_bytes_max)
        return TooLong(record.offset);
      line = newline + 1;
      search = line;
    }
    window_.Consume(static_cast<size_t>(line - begin));
    if (count > 0) scanned_ = 0;
    return count;
  }

  absl::StatusOr<size_t> TakeUnendedLine() {
    if (window_.size() > options_.record_bytes_max) {
      return TooLong(window_.offset());
    }
    records_[0] = {window_.data(), window_.size(), window_.offset()};
    window_.Consume(window_.size());
    scanned_ = 0;
    return size_t{1};
  }

  // How much of the window holds no line end, as far as is known: a line of
  // 300 MB is searched once, not once for each read.
  size_t scanned_ = 0;
};

class FixedReader final : public FileSplitReader {
 public:
  using FileSplitReader::FileSplitReader;

 private:
  absl::Status SeekFirstRecord(uint64_t range_offset) override {
    const uint64_t size = plan_.record_bytes();
    const uint64_t rest = range_offset % size;
    if (rest != 0) window_.MoveTo(range_offset - rest + size);
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Collect() override {
    const uint64_t size = plan_.record_bytes();
    if (window_.offset() >= range_end()) return size_t{0};
    if (size > options_.record_bytes_max) return TooLong(window_.offset());
    if (planned().size() - window_.offset() < size) {
      return absl::InvalidArgumentError(
          Av(Cat(Shown(planned().path()), " ends within the record of ", size,
                 " bytes at offset ", window_.offset())));
    }
    while (window_.size() < size) MR_RETURN_IF_ERROR(Fill());
    const uint64_t wanted = (range_end() - window_.offset() + size - 1) / size;
    const size_t count = static_cast<size_t>(
        std::min<uint64_t>({wanted, window_.size() / size, records_.size()}));
    for (size_t i = 0; i < count; ++i) {
      records_[i] = {window_.data() + i * size, static_cast<size_t>(size),
                     window_.offset() + i * size};
    }
    window_.Consume(count * static_cast<size_t>(size));
    return count;
  }
};

class SequenceReader final : public SplitReader {
 public:
  SequenceReader(const proto::Plan& plan, int split,
                 const SplitReaderOptions& options)
      : split_(plan.splits(split)), records_(options.batch_records) {}

  absl::StatusOr<bool> Next(InputBatch* batch) override {
    while (range_ < split_.ranges_size()) {
      const proto::Range& range = split_.ranges(range_);
      const size_t count = static_cast<size_t>(
          std::min<uint64_t>(range.length() - taken_, records_.size()));
      for (size_t i = 0; i < count; ++i) {
        records_[i].offset = range.offset() + taken_ + i;
      }
      taken_ += count;
      if (taken_ == range.length()) {
        ++range_;
        taken_ = 0;
      }
      if (count == 0) continue;
      batch->file = 0;
      batch->records = records_.data();
      batch->count = count;
      return true;
    }
    return false;
  }

  uint64_t bytes_read() const override { return 0; }
  const std::string& current_path() const override { return path_; }

 private:
  const proto::Split& split_;
  const std::string path_;  // There is none.
  int range_ = 0;
  uint64_t taken_ = 0;  // Of the present range.
  std::vector<InputRecord> records_;
};

}  // namespace

std::unique_ptr<SplitReader> SplitReader::Create(FileSystem& fs,
                                                 const proto::Plan& plan,
                                                 int split) {
  return internal::CreateSplitReader(fs, plan, split, {});
}

namespace internal {

std::unique_ptr<SplitReader> CreateSplitReader(
    FileSystem& fs, const proto::Plan& plan, int split,
    const SplitReaderOptions& options) {
  CHECK_LT(split, plan.splits_size());
  if (plan.input_kind() == proto::SEQUENCE) {
    return std::make_unique<SequenceReader>(plan, split, options);
  }
  if (plan.input_kind() == proto::FIXED_RECORDS) {
    CHECK_GT(plan.record_bytes(), 0u);
    return std::make_unique<FixedReader>(fs, plan, split, options);
  }
  CHECK_EQ(plan.input_kind(), proto::TEXT_LINES);
  return std::make_unique<TextReader>(fs, plan, split, options);
}

}  // namespace internal
}  // namespace millrace::storage
