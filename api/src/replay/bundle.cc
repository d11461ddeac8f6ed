#include "api/src/replay/bundle.h"

#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/output/dead_letter.h"
#include "storage/output/part_writer.h"

namespace millrace::replay {
namespace {

// A reduce of a million maps names them all.
constexpr uint64_t kHeadBytesMax = uint64_t{1} << 30;
constexpr size_t kCopyBytes = 1 << 20;

}  // namespace

std::string Bundle::Input(uint32_t file) const {
  return JoinPath(directory_, BundleInputName(file));
}

std::string Bundle::SideFile(int index) const {
  return JoinPath(directory_, BundleSideFileName(index));
}

std::string Bundle::Output() const {
  const proto::RunTask& task = head_.task();
  const bool is_part = task.has_reduce() || task.map().num_partitions() == 0;
  return JoinPath(Run(), is_part ? storage::PartName(task.index()) : "map.out");
}

absl::StatusOr<Bundle> Bundle::Open(FileSystem& fs, std::string directory) {
  Bundle bundle(std::move(directory));
  const std::string shown = Printable(bundle.directory_, 4096);
  absl::StatusOr<std::string> bytes =
      ReadWholeFile(fs, bundle.Attempt(), kHeadBytesMax);
  if (absl::IsNotFound(bytes.status())) {
    return absl::NotFoundError(
        Av(Cat(shown, " is no bundle of an attempt: there is no file ",
               Printable(bundle.Attempt(), 4096))));
  }
  if (!bytes.ok()) return bytes.status();
  if (!bundle.head_.ParseFromString(*bytes) || !bundle.head_.has_task()) {
    return absl::DataLossError(
        Av(Cat(shown, ": its file \"attempt\" is damaged")));
  }
  if (bundle.head_.format_version() != kBundleFormatVersion) {
    return absl::DataLossError(
        Av(Cat(shown, " has format version ", bundle.head_.format_version(),
               ", this program reads version ", kBundleFormatVersion)));
  }
  return bundle;
}

absl::Status Bundle::Save(FileSystem& fs) const {
  proto::ReplayBundle head = head_;
  head.set_format_version(kBundleFormatVersion);
  const std::string next = Attempt() + ".new";
  MR_RETURN_IF_ERROR(fs.RemoveTree(next));
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, next, head.SerializeAsString()));
  return fs.Rename(next, Attempt());
}

proto::Configure Bundle::Configure() const {
  proto::Configure configure = head_.configure();
  for (int i = 0; i < configure.side_files_size(); ++i) {
    configure.mutable_side_files(i)->set_path(SideFile(i));
  }
  return configure;
}

proto::RunTask Bundle::Task() const {
  proto::RunTask task = head_.task();
  if (task.has_map()) {
    proto::MapTask* map = task.mutable_map();
    map->set_plan_path(Plan());
    map->set_scratch_dir(Run());
    map->set_output_path(Output());
    map->set_dead_letter_path(
        JoinPath(Run(), storage::DeadLetterName(task.index())));
  } else if (task.has_reduce()) {
    proto::ReduceTask* reduce = task.mutable_reduce();
    for (proto::MapOutputRef& ref : *reduce->mutable_map_outputs()) {
      ref.set_path(MapOutputs());
    }
    reduce->set_scratch_dir(Run());
    reduce->set_output_path(Output());
  }
  return task;
}

absl::Status CopyFile(FileSystem& fs, const std::string& from,
                      const std::string& to, bool executable) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> in, fs.OpenRead(from));
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<WriteFile> out, fs.Create(to));
  const std::unique_ptr<char[]> buffer(new char[kCopyBytes]);
  for (uint64_t offset = 0;;) {
    MR_ASSIGN_OR_RETURN(const size_t n,
                        in->ReadAt(offset, buffer.get(), kCopyBytes));
    if (n == 0) break;
    MR_RETURN_IF_ERROR(out->Append({buffer.get(), n}));
    offset += n;
  }
  MR_RETURN_IF_ERROR(out->Close());
  if (executable && chmod(to.c_str(), 0755) != 0) {
    return ErrnoStatus(errno, "make executable", to);
  }
  return absl::OkStatus();
}

}  // namespace millrace::replay
