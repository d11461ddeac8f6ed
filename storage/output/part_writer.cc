#include "storage/output/part_writer.h"

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
    MR_RETURN_IF_ERROR(file_->Append(bytes));
    hash_.Update(bytes);
    summary_.bytes += bytes.size();
    return absl::OkStatus();
  }

  absl::StatusOr<PartSummary> Finish() override {
    MR_RETURN_IF_ERROR(file_->Sync());
    MR_RETURN_IF_ERROR(file_->Close());
    MR_RETURN_IF_ERROR(fs_.MakeReadOnly(path_));
    MR_ASSIGN_OR_RETURN(const FileInfo info, fs_.StatLink(path_));
    if (info.kind != FileKind::kRegular ||
        info.identity.size != summary_.bytes) {
      return absl::DataLossError(
          Av(Cat(path_, " has ", info.identity.size, " bytes after ",
                 summary_.bytes, " were written to it")));
    }
    summary_.inode = info.identity.inode;
    summary_.xxh3 = hash_.Digest();
    return summary_;
  }

 private:
  FileSystem& fs_;
  const std::string path_;
  const std::unique_ptr<WriteFile> file_;
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
