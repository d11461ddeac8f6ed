#include "tests/testing/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace {

struct MemoryFileSystem::Node {
  using Entries = std::map<std::string, std::shared_ptr<Node>, std::less<>>;

  FileKind kind = FileKind::kRegular;
  FileIdentity identity;
  bool read_only = false;
  // Of a file.
  std::string data;
  std::string durable_data;
  // Of a directory.
  Entries entries;
  Entries durable_entries;
};

namespace {

// Components of a path, without empty ones and ".".
std::vector<std::string> Components(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") out.emplace_back(name);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return out;
}

}  // namespace

class MemoryFileSystem::Reader final : public ReadFile {
 public:
  Reader(MemoryFileSystem* fs, std::shared_ptr<Node> node)
      : fs_(fs), node_(std::move(node)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    absl::MutexLock lock(&fs_->mu_);
    const std::string& data = node_->data;
    if (offset >= data.size()) return size_t{0};
    const size_t n = std::min<size_t>(size, data.size() - offset);
    if (n > 0) std::memcpy(buffer, data.data() + offset, n);
    return n;
  }

  absl::StatusOr<FileInfo> Stat() override {
    absl::MutexLock lock(&fs_->mu_);
    return FileInfo{node_->kind, node_->identity, 1};
  }

 private:
  MemoryFileSystem* const fs_;
  const std::shared_ptr<Node> node_;
};

class MemoryFileSystem::Writer final : public WriteFile {
 public:
  Writer(MemoryFileSystem* fs, std::shared_ptr<Node> node, std::string path)
      : fs_(fs), node_(std::move(node)), path_(std::move(path)) {}

  absl::Status Append(std::string_view data) override {
    absl::MutexLock lock(&fs_->mu_);
    uint64_t room = std::numeric_limits<uint64_t>::max();
    if (fs_->capacity_bytes_.has_value()) {
      const uint64_t used = fs_->UsedBytesLocked();
      room = *fs_->capacity_bytes_ - std::min(used, *fs_->capacity_bytes_);
    }
    const bool fits = data.size() <= room;
    node_->data.append(data.substr(0, fits ? data.size() : room));
    node_->identity.size = node_->data.size();
    node_->identity.mtime_ns = ++fs_->now_ns_;
    return fits ? absl::OkStatus() : ErrnoStatus(ENOSPC, "write", path_);
  }

  absl::Status Sync() override {
    absl::MutexLock lock(&fs_->mu_);
    node_->durable_data = node_->data;
    return absl::OkStatus();
  }

  absl::Status Close() override {
    CHECK(!closed_) << "second Close of " << path_;
    closed_ = true;
    return absl::OkStatus();
  }

 private:
  MemoryFileSystem* const fs_;
  const std::shared_ptr<Node> node_;
  const std::string path_;
  bool closed_ = false;
};

MemoryFileSystem::MemoryFileSystem() {
  absl::MutexLock lock(&mu_);
  root_ = NewNode(FileKind::kDirectory);
}

MemoryFileSystem::~MemoryFileSystem() = default;

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::NewNode(
    FileKind kind) {
  auto node = std::make_shared<Node>();
  node->kind = kind;
  node->identity.inode = next_inode_++;
  node->identity.mtime_ns = ++now_ns_;
  return node;
}

int MemoryFileSystem::Find(const std::string& path, Place* place) const {
  const std::vector<std::string> names = Components(path);
  place->directory = root_;
  place->node = root_;
  for (const std::string& name : names) {
    if (place->node == nullptr) return ENOENT;
    if (place->node->kind != FileKind::kDirectory) return ENOTDIR;
    place->directory = place->node;
    place->name = name;
    const auto it = place->directory->entries.find(name);
    place->node = it == place->directory->entries.end() ? nullptr : it->second;
  }
  return 0;
}

uint64_t MemoryFileSystem::UsedBytesLocked() const {
  uint64_t bytes = 0;
  std::vector<const Node*> todo = {root_.get()};
  while (!todo.empty()) {
    const Node* node = todo.back();
    todo.pop_back();
    bytes += node->data.size();
    for (const auto& [name, child] : node->entries) todo.push_back(child.get());
  }
  return bytes;
}

void MemoryFileSystem::SetCapacity(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  capacity_bytes_ = bytes;
}

void MemoryFileSystem::PowerCut() {
  absl::MutexLock lock(&mu_);
  // New nodes all over, so that writers from before the cut change nothing.
  std::vector<std::pair<Node*, std::shared_ptr<Node>*>> todo;
  const std::shared_ptr<Node> old_root = root_;
  todo.emplace_back(old_root.get(), &root_);
  while (!todo.empty()) {
    const auto [old_node, slot] = todo.back();
    todo.pop_back();
    auto node = std::make_shared<Node>();
    node->kind = old_node->kind;
    node->identity = old_node->identity;
    node->identity.size = old_node->durable_data.size();
    node->read_only = old_node->read_only;
    node->data = old_node->durable_data;
    node->durable_data = old_node->durable_data;
    *slot = node;
    for (const auto& [name, child] : old_node->durable_entries) {
      todo.emplace_back(child.get(), &node->entries[name]);
    }
    // Durable entries are made equal to the live ones once those exist; keys
    // suffice for now, map nodes do not move.
  }
  std::vector<Node*> directories = {root_.get()};
  while (!directories.empty()) {
    Node* node = directories.back();
    directories.pop_back();
    node->durable_entries = node->entries;
    for (const auto& [name, child] : node->entries) {
      directories.push_back(child.get());
    }
  }
}

std::string MemoryFileSystem::Contents(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  CHECK_EQ(Find(path, &place), 0) << path;
  CHECK(place.node != nullptr) << "no such file: " << path;
  return place.node->data;
}

void MemoryFileSystem::SetContents(const std::string& path,
                                   std::string_view bytes) {
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Node> node = root_;
  const std::vector<std::string> names = Components(path);
  for (size_t i = 0; i < names.size(); ++i) {
    CHECK(node->kind == FileKind::kDirectory) << path;
    std::shared_ptr<Node>& child = node->entries[names[i]];
    if (child == nullptr) {
      child = NewNode(i + 1 < names.size() ? FileKind::kDirectory
                                           : FileKind::kRegular);
    }
    node->durable_entries[names[i]] = child;
    node = child;
  }
  CHECK(node->kind == FileKind::kRegular) << path;
  node->data.assign(bytes);
  node->durable_data.assign(bytes);
  node->identity.size = bytes.size();
  node->identity.mtime_ns = ++now_ns_;
}

void MemoryFileSystem::FlipBit(const std::string& path, uint64_t bit) {
  absl::MutexLock lock(&mu_);
  Place place;
  CHECK_EQ(Find(path, &place), 0) << path;
  CHECK(place.node != nullptr && bit / 8 < place.node->data.size()) << path;
  char& byte = place.node->data[bit / 8];
  byte = static_cast<char>(byte ^ (1 << (bit % 8)));
}

bool MemoryFileSystem::Exists(const std::string& path) {
  return Stat(path).ok();
}

bool MemoryFileSystem::IsReadOnly(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  return Find(path, &place) == 0 && place.node != nullptr &&
         place.node->read_only;
}

std::vector<std::string> MemoryFileSystem::AllFiles(
    const std::string& directory) {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> files;
  Place place;
  if (Find(directory, &place) != 0 || place.node == nullptr) return files;
  std::vector<std::pair<std::string, const Node*>> todo;
  todo.emplace_back(directory, place.node.get());
  while (!todo.empty()) {
    const auto [path, node] = todo.back();
    todo.pop_back();
    if (node->kind == FileKind::kRegular) files.push_back(path);
    for (const auto& [name, child] : node->entries) {
      todo.emplace_back(JoinPath(path, name), child.get());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<std::unique_ptr<ReadFile>> MemoryFileSystem::OpenRead(
    const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "open", path);
  return std::make_unique<Reader>(this, place.node);
}

absl::StatusOr<std::unique_ptr<WriteFile>> MemoryFileSystem::Create(
    const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node != nullptr) error = EEXIST;
  if (error == 0 && place.directory->read_only) error = EACCES;
  if (error != 0) return ErrnoStatus(error, "create", path);
  place.node = NewNode(FileKind::kRegular);
  place.directory->entries[place.name] = place.node;
  return std::make_unique<Writer>(this, place.node, path);
}

absl::StatusOr<FileInfo> MemoryFileSystem::Stat(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "stat", path);
  return FileInfo{place.node->kind, place.node->identity, 1};
}

absl::StatusOr<FileInfo> MemoryFileSystem::StatLink(const std::string& path) {
  return Stat(path);
}

absl::StatusOr<std::vector<DirEntry>> MemoryFileSystem::List(
    const std::string& directory) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(directory, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error == 0 && place.node->kind != FileKind::kDirectory) error = ENOTDIR;
  if (error != 0) return ErrnoStatus(error, "list", directory);
  std::vector<DirEntry> entries;
  for (const auto& [name, child] : place.node->entries) {
    entries.push_back({name, child->kind});
  }
  return entries;
}

absl::Status MemoryFileSystem::MakeDirectory(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node != nullptr) error = EEXIST;
  if (error == 0 && place.directory->read_only) error = EACCES;
  if (error != 0) return ErrnoStatus(error, "create directory", path);
  place.directory->entries[place.name] = NewNode(FileKind::kDirectory);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RemoveTree(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == ENOENT || (error == 0 && place.node == nullptr)) {
    return absl::OkStatus();
  }
  if (error == 0 && place.name.empty()) error = EBUSY;
  if (error == 0 && place.directory->read_only) error = EACCES;
  if (error != 0) return ErrnoStatus(error, "remove", path);
  place.directory->entries.erase(place.name);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RemoveFile(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error == 0 && place.node->kind == FileKind::kDirectory) error = EISDIR;
  if (error == 0 && place.directory->read_only) error = EACCES;
  if (error != 0) return ErrnoStatus(error, "remove", path);
  place.directory->entries.erase(place.name);
  return absl::OkStatus();
}

int MemoryFileSystem::RenameLocked(const std::string& from,
                                   const std::string& to, bool replace) {
  Place source;
  Place target;
  if (int error = Find(from, &source); error != 0) return error;
  if (source.node == nullptr) return ENOENT;
  if (int error = Find(to, &target); error != 0) return error;
  if (source.directory->read_only || target.directory->read_only) {
    return EACCES;
  }
  // A directory may not move below itself.
  const std::vector<std::string> from_names = Components(from);
  const std::vector<std::string> to_names = Components(to);
  if (from_names.size() < to_names.size() &&
      std::equal(from_names.begin(), from_names.end(), to_names.begin())) {
    return EINVAL;
  }
  if (target.node != nullptr) {
    if (!replace) return EEXIST;
    if (target.node == source.node) return 0;
    const bool source_is_directory = source.node->kind == FileKind::kDirectory;
    if (target.node->kind == FileKind::kDirectory) {
      if (!source_is_directory) return EISDIR;
      if (!target.node->entries.empty()) return ENOTEMPTY;
    } else if (source_is_directory) {
      return ENOTDIR;
    }
  }
  source.directory->entries.erase(source.name);
  target.directory->entries[target.name] = source.node;
  return 0;
}

absl::Status MemoryFileSystem::Rename(const std::string& from,
                                      const std::string& to) {
  absl::MutexLock lock(&mu_);
  const int error = RenameLocked(from, to, /*replace=*/true);
  if (error != 0) return ErrnoStatus(error, Cat("rename ", from, " to"), to);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RenameNoReplace(const std::string& from,
                                               const std::string& to) {
  absl::MutexLock lock(&mu_);
  const int error = RenameLocked(from, to, /*replace=*/false);
  if (error != 0) return ErrnoStatus(error, Cat("rename ", from, " to"), to);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::SyncDirectory(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error == 0 && place.node->kind != FileKind::kDirectory) error = ENOTDIR;
  if (error != 0) return ErrnoStatus(error, "sync directory", path);
  place.node->durable_entries = place.node->entries;
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::MakeReadOnly(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "change mode of", path);
  place.node->read_only = true;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> MemoryFileSystem::FreeBytes(const std::string& path) {
  absl::MutexLock lock(&mu_);
  Place place;
  int error = Find(path, &place);
  if (error == 0 && place.node == nullptr) error = ENOENT;
  if (error != 0) return ErrnoStatus(error, "measure free space of", path);
  if (!capacity_bytes_.has_value()) return std::numeric_limits<uint64_t>::max();
  return *capacity_bytes_ - std::min(UsedBytesLocked(), *capacity_bytes_);
}

}  // namespace millrace
