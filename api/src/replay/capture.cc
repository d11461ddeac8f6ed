#include "api/src/replay/capture.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "api/src/task/partitioning.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/map_output_reader.h"
#include "proto/messages/plan.pb.h"
#include "storage/plan/planner.h"

namespace millrace::replay {
namespace {

constexpr uint64_t kPlanBytesMax = uint64_t{1} << 30;
constexpr size_t kCopyBytes = 1 << 20;

absl::StatusOr<proto::Plan> ReadPlan(FileSystem& fs, const Bundle& bundle) {
  MR_ASSIGN_OR_RETURN(const std::string bytes,
                      ReadWholeFile(fs, bundle.Plan(), kPlanBytesMax));
  return storage::ParsePlan(bytes);
}

absl::Status CheckIdentity(const proto::PlannedFile& planned, ReadFile& file) {
  MR_ASSIGN_OR_RETURN(const FileInfo info, file.Stat());
  if (info.identity ==
      FileIdentity{planned.size(), planned.mtime_ns(), planned.inode()}) {
    return absl::OkStatus();
  }
  return absl::AbortedError(
      Av(Cat("INPUT_CHANGED: ", Printable(planned.path(), 4096),
             " is not what it was when the job was planned")));
}

// Copies [from, to) of `in` behind what `out` has.
absl::Status CopyRange(ReadFile& in, uint64_t from, uint64_t to,
                       WriteFile& out) {
  const std::unique_ptr<char[]> buffer(new char[kCopyBytes]);
  while (from < to) {
    const size_t want =
        static_cast<size_t>(std::min<uint64_t>(kCopyBytes, to - from));
    MR_ASSIGN_OR_RETURN(const size_t n, in.ReadAt(from, buffer.get(), want));
    if (n == 0) {
      return absl::DataLossError(Av(Cat("a file ends at ", from)));
    }
    MR_RETURN_IF_ERROR(out.Append({buffer.get(), n}));
    from += n;
  }
  return absl::OkStatus();
}

// Where the last record that begins before `end` ends.
absl::StatusOr<uint64_t> EndOfRecords(const proto::Plan& plan, ReadFile& in,
                                      uint64_t end, uint64_t size) {
  if (plan.input_kind() == proto::FIXED_RECORDS) {
    const uint64_t record = plan.record_bytes();
    return std::min(size, (end + record - 1) / record * record);
  }
  const std::unique_ptr<char[]> buffer(new char[kCopyBytes]);
  for (uint64_t at = end - 1; at < size;) {
    MR_ASSIGN_OR_RETURN(const size_t n,
                        in.ReadAt(at, buffer.get(), kCopyBytes));
    if (n == 0) break;
    if (const void* found = std::memchr(buffer.get(), '\n', n)) {
      return at +
             static_cast<uint64_t>(static_cast<const char*>(found) -
                                   buffer.get()) +
             1;
    }
    at += n;
  }
  return size;
}

// A file of which a part is there.
class CopiedFile final : public ReadFile {
 public:
  CopiedFile(std::unique_ptr<ReadFile> copy, const proto::CopiedRange& range,
             const proto::PlannedFile& planned)
      : copy_(std::move(copy)),
        begin_(range.offset()),
        end_(range.offset() + range.length()),
        identity_{planned.size(), planned.mtime_ns(), planned.inode()} {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    if (offset >= identity_.size) return size_t{0};
    size =
        static_cast<size_t>(std::min<uint64_t>(size, identity_.size - offset));
    std::memset(buffer, 0, size);
    const uint64_t from = std::max(offset, begin_);
    const uint64_t to = std::min(offset + size, end_);
    for (uint64_t at = from; at < to;) {
      MR_ASSIGN_OR_RETURN(const size_t n,
                          copy_->ReadAt(at - begin_, buffer + (at - offset),
                                        static_cast<size_t>(to - at)));
      if (n == 0) {
        return absl::DataLossError("a file of the bundle is too short");
      }
      at += n;
    }
    return size;
  }
  absl::StatusOr<FileInfo> Stat() override {
    return FileInfo{FileKind::kRegular, identity_, 0};
  }

 private:
  const std::unique_ptr<ReadFile> copy_;
  const uint64_t begin_;
  const uint64_t end_;
  const FileIdentity identity_;
};

class ReplayFileSystem final : public FileSystem {
 public:
  struct Copy {
    std::string path;
    proto::CopiedRange range;
    proto::PlannedFile planned;
  };

  ReplayFileSystem(FileSystem& fs, std::map<std::string, Copy> copies)
      : fs_(fs), copies_(std::move(copies)) {}

  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string& path) override {
    const auto copy = copies_.find(path);
    if (copy == copies_.end()) return fs_.OpenRead(path);
    MR_ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file,
                        fs_.OpenRead(copy->second.path));
    return std::make_unique<CopiedFile>(std::move(file), copy->second.range,
                                        copy->second.planned);
  }
  absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string& path) override {
    return fs_.Create(path);
  }
  absl::StatusOr<FileInfo> Stat(const std::string& path) override {
    return fs_.Stat(path);
  }
  absl::StatusOr<FileInfo> StatLink(const std::string& path) override {
    return fs_.StatLink(path);
  }
  absl::StatusOr<std::vector<DirEntry>> List(
      const std::string& directory) override {
    return fs_.List(directory);
  }
  absl::Status MakeDirectory(const std::string& path) override {
    return fs_.MakeDirectory(path);
  }
  absl::Status RemoveTree(const std::string& path) override {
    return fs_.RemoveTree(path);
  }
  absl::Status RemoveFile(const std::string& path) override {
    return fs_.RemoveFile(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return fs_.Rename(from, to);
  }
  absl::Status RenameNoReplace(const std::string& from,
                               const std::string& to) override {
    return fs_.RenameNoReplace(from, to);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    return fs_.SyncDirectory(path);
  }
  absl::Status MakeReadOnly(const std::string& path) override {
    return fs_.MakeReadOnly(path);
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    return fs_.FreeBytes(path);
  }

 private:
  FileSystem& fs_;
  const std::map<std::string, Copy> copies_;
};

void SetSection(const engine::MapOutputSummary& summary,
                const engine::PartitionEntry& entry,
                proto::FetchedSection* section) {
  section->set_bytes(entry.bytes);
  section->set_records(entry.sum.records);
  section->set_hash(entry.sum.hash);
  section->set_digest(entry.digest);
  section->set_blocks(entry.blocks);
  section->set_largest_block_bytes(entry.largest_block_bytes);
  section->set_block_bytes(summary.block_bytes);
  section->set_codec(static_cast<uint32_t>(summary.codec));
}

}  // namespace

absl::Status CaptureSplit(FileSystem& fs, Bundle* bundle) {
  MR_ASSIGN_OR_RETURN(const proto::Plan plan, ReadPlan(fs, *bundle));
  const uint32_t index = bundle->head().task().index();
  if (index >= static_cast<uint32_t>(plan.splits_size())) {
    return absl::NotFoundError(Av(
        Cat("there is no map ", index, ": the job has ", plan.splits_size())));
  }
  bundle->head().mutable_task()->mutable_map()->set_num_partitions(
      plan.num_partitions());
  bundle->head().clear_inputs();
  if (plan.input_kind() == proto::SEQUENCE) return absl::OkStatus();
  // A split has one range of a file at most.
  for (const proto::Range& range :
       plan.splits(static_cast<int>(index)).ranges()) {
    const proto::PlannedFile& planned =
        plan.files(static_cast<int>(range.file()));
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> in,
                        fs.OpenRead(planned.path()));
    MR_RETURN_IF_ERROR(CheckIdentity(planned, *in));
    // Whether a text record begins at the offset, the byte before it says.
    const uint64_t from =
        range.offset() - std::min<uint64_t>(range.offset(), 1);
    MR_ASSIGN_OR_RETURN(const uint64_t to,
                        EndOfRecords(plan, *in, range.offset() + range.length(),
                                     planned.size()));
    const std::string path = bundle->Input(range.file());
    MR_RETURN_IF_ERROR(fs.RemoveTree(path));
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<WriteFile> out, fs.Create(path));
    MR_RETURN_IF_ERROR(CopyRange(*in, from, to, *out));
    MR_RETURN_IF_ERROR(out->Close());
    MR_RETURN_IF_ERROR(CheckIdentity(planned, *in));
    proto::CopiedRange* copied = bundle->head().add_inputs();
    copied->set_file(range.file());
    copied->set_offset(from);
    copied->set_length(to - from);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MapOutputCapture>> MapOutputCapture::Create(
    FileSystem& fs, Bundle* bundle) {
  bundle->head().mutable_task()->mutable_reduce()->clear_map_outputs();
  MR_RETURN_IF_ERROR(fs.RemoveTree(bundle->MapOutputs()));
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file,
                      fs.Create(bundle->MapOutputs()));
  return std::unique_ptr<MapOutputCapture>(
      new MapOutputCapture(fs, bundle, std::move(file)));
}

absl::Status MapOutputCapture::Add(const proto::MapOutputRef& ref) {
  const proto::RunTask& task = bundle_->head().task();
  proto::MapOutputRef captured = ref;
  proto::FetchedSection* section = captured.mutable_section();
  std::unique_ptr<ReadFile> opened;
  std::shared_ptr<const engine::MapOutputFile> whole;
  ReadFile* in = nullptr;
  uint64_t offset = 0;
  if (ref.has_section()) {
    offset = ref.section().offset();
    if (ref.section().bytes() > 0) {
      MR_ASSIGN_OR_RETURN(opened, fs_.OpenRead(ref.path()));
      in = opened.get();
    }
  } else {
    const auto job = JobId::FromBytes(bundle_->head().configure().job_id());
    const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
    const auto root = task::ParseRoot(ref.root());
    if (!job.has_value() || !uid.has_value() || !root.has_value()) {
      return absl::InternalError("a map output without job, attempt or root");
    }
    MR_ASSIGN_OR_RETURN(whole,
                        engine::MapOutputFile::Open(
                            fs_, ref.path(), {*job, ref.map_index(), *uid, 0},
                            task.reduce().num_partitions(), *root));
    const engine::PartitionEntry& entry =
        whole->summary().partitions[task.index()];
    SetSection(whole->summary(), entry, section);
    offset = entry.offset;
    in = &whole->file();
  }
  section->set_offset(bytes_);
  captured.clear_path();
  if (section->bytes() > 0) {
    MR_RETURN_IF_ERROR(
        CopyRange(*in, offset, offset + section->bytes(), *file_));
  }
  bytes_ += section->bytes();
  *bundle_->head().mutable_task()->mutable_reduce()->add_map_outputs() =
      std::move(captured);
  return absl::OkStatus();
}

absl::Status MapOutputCapture::Finish() {
  auto* refs =
      bundle_->head().mutable_task()->mutable_reduce()->mutable_map_outputs();
  std::sort(refs->begin(), refs->end(),
            [](const proto::MapOutputRef& a, const proto::MapOutputRef& b) {
              return a.map_index() < b.map_index();
            });
  return file_->Close();
}

absl::StatusOr<std::unique_ptr<FileSystem>> MakeReplayFileSystem(
    FileSystem& fs, const Bundle& bundle) {
  std::map<std::string, ReplayFileSystem::Copy> copies;
  if (bundle.head().inputs_size() > 0) {
    MR_ASSIGN_OR_RETURN(const proto::Plan plan, ReadPlan(fs, bundle));
    for (const proto::CopiedRange& range : bundle.head().inputs()) {
      if (range.file() >= static_cast<uint32_t>(plan.files_size())) {
        return absl::DataLossError("a bundle whose files are not the plan's");
      }
      const proto::PlannedFile& planned =
          plan.files(static_cast<int>(range.file()));
      copies[planned.path()] = {bundle.Input(range.file()), range, planned};
    }
  }
  return std::make_unique<ReplayFileSystem>(fs, std::move(copies));
}

}  // namespace millrace::replay
