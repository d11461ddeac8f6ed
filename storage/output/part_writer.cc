#include "storage/output/part_writer.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/status_macros.h"

namespace millrace::storage {
namespace {

class PartWriterImpl final : public PartWriter {
 public:
  PartWriterImpl(FileSystem& fs, std::string path,
                 std::unique_ptr<WriteFile> file)
      : fs_(fs), path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Append(std::string_view bytes) override {
    MR_RETURN_IF_ERROR(status_);
    // After a failure nobody knows how much was written: such a file is never
    // finished.
    status_ = file_->Append(bytes);
    hash_.Update(bytes);
    summary_.bytes += bytes.size();
    return status_;
  }

  absl::StatusOr<PartSummary> Finish() override {
    MR_RETURN_IF_ERROR(status_);
    status_ = absl::FailedPreconditionError(
        Av(Cat(path_, " is finished already, or could not be")));
    MR_RETURN_IF_ERROR(file_->Sync());
    MR_RETURN_IF_ERROR(file_->Close());
    MR_RETURN_IF_ERROR(fs_.MakeReadOnly(path_));
    // The second look at what was written: a file that is too short here was
    // changed by somebody, or the disk lies.
    MR_ASSIGN_OR_RETURN(const FileInfo info, fs_.StatLink(path_));
    if (info.kind != FileKind::kRegular ||
        info.identity.size != summary_.bytes) {
      return absl::DataLossError(
          Av(Cat(Printable(path_, 4096), " has ", info.identity.size,
                 " bytes after ", summary_.bytes, " were written to it")));
    }
    // The name, too, is to survive a power cut.
    MR_RETURN_IF_ERROR(fs_.SyncDirectory(ParentPath(path_)));
    summary_.inode = info.identity.inode;
    summary_.xxh3 = hash_.Digest();
    return summary_;
  }

 private:
  FileSystem& fs_;
  const std::string path_;
  const std::unique_ptr<WriteFile> file_;
  absl::Status status_;  // Not OK: neither Append nor Finish is possible.
  StreamHash64 hash_;
  PartSummary summary_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PartWriter>> PartWriter::Create(
    FileSystem& fs, const std::string& path) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file, fs.Create(path));
  return std::make_unique<PartWriterImpl>(fs, path, std::move(file));
}

std::string PartName(uint32_t index) {
  return absl::StrFormat("part-%05d", index);
}

}  // namespace millrace::storage
