#include "api/src/task/bad_records.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::task {

BadRecords::BadRecords(FileSystem& fs, const proto::Plan& plan,
                       const List& records, std::string path)
    : fs_(fs),
      plan_(plan),
      path_(std::move(path)),
      bad_(records.begin(), records.end()) {
  std::sort(bad_.begin(), bad_.end(),
            [](const proto::BadRecord& a, const proto::BadRecord& b) {
              return std::pair(a.file(), a.offset()) <
                     std::pair(b.file(), b.offset());
            });
}

absl::Status BadRecords::Begin() {
  if (!expected() || path_.empty()) return absl::OkStatus();
  MR_ASSIGN_OR_RETURN(writer_, storage::DeadLetterWriter::Create(fs_, path_));
  return absl::OkStatus();
}

size_t BadRecords::GoodOnes(std::span<const internal::RawRecord> records,
                            uint32_t file) const {
  if (next_ == bad_.size() || bad_[next_].file() != file) {
    return records.size();
  }
  const auto at =
      std::lower_bound(records.begin(), records.end(), bad_[next_].offset(),
                       [](const internal::RawRecord& record, uint64_t offset) {
                         return record.offset < offset;
                       });
  if (at == records.end() || at->offset != bad_[next_].offset()) {
    return records.size();
  }
  return static_cast<size_t>(at - records.begin());
}

absl::Status BadRecords::PassOver(const internal::RawRecord& record) {
  const proto::BadRecord& bad = bad_[next_++];
  if (writer_ == nullptr) return absl::OkStatus();
  const std::string path =
      plan_.files().empty() ? std::string()
                            : plan_.files(static_cast<int>(bad.file())).path();
  return writer_->Add(bad, path,
                      record.data == nullptr
                          ? std::string_view()
                          : std::string_view(record.data, record.size));
}

absl::StatusOr<proto::OutputFile> BadRecords::Finish() {
  if (next_ != bad_.size()) {
    return absl::InternalError(
        Av(Cat("the bad record at offset ", bad_[next_].offset(), " of file ",
               bad_[next_].file(), " is no record of this split")));
  }
  MR_ASSIGN_OR_RETURN(const storage::PartSummary part, writer_->Finish());
  proto::OutputFile file;
  file.set_path(path_);
  file.set_bytes(part.bytes);
  file.set_records(writer_->records());
  file.set_xxh3(part.xxh3);
  file.set_inode(part.inode);
  return file;
}

}  // namespace millrace::task
