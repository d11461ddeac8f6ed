#include "common/file_system.h"

#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace {

std::string JoinPath(std::string_view directory, std::string_view name) {
  while (directory.size() > 1 && directory.back() == '/') {
    directory.remove_suffix(1);
  }
  if (directory == "/") return Cat("/", name);
  if (directory.empty()) return std::string(name);
  return Cat(directory, "/", name);
}

std::string ParentPath(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

std::string BaseName(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path
                                                     : path.substr(slash + 1));
}

absl::Status MakeDirectories(FileSystem& fs, const std::string& path) {
  absl::Status made = fs.MakeDirectory(path);
  if (absl::IsNotFound(made) && ParentPath(path) != path) {
    MR_RETURN_IF_ERROR(MakeDirectories(fs, ParentPath(path)));
    made = fs.MakeDirectory(path);
  }
  if (!absl::IsAlreadyExists(made)) return made;
  MR_ASSIGN_OR_RETURN(const FileInfo info, fs.Stat(path));
  return info.kind == FileKind::kDirectory ? absl::OkStatus() : made;
}

absl::StatusOr<std::string> ReadWholeFile(FileSystem& fs,
                                          const std::string& path,
                                          uint64_t max_bytes) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  MR_ASSIGN_OR_RETURN(const FileInfo info, file->Stat());
  if (info.identity.size > max_bytes) {
    return absl::OutOfRangeError(
        Av(Cat(path, " has ", HumanBytes(info.identity.size),
               ", expected at most ", HumanBytes(max_bytes))));
  }
  std::string data(info.identity.size, '\0');
  MR_ASSIGN_OR_RETURN(const size_t n,
                      file->ReadAt(0, data.data(), data.size()));
  data.resize(n);
  return data;
}

absl::Status WriteWholeFile(FileSystem& fs, const std::string& path,
                            std::string_view data) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file, fs.Create(path));
  MR_RETURN_IF_ERROR(file->Append(data));
  MR_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace millrace
