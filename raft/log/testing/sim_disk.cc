#include "raft/log/testing/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

constexpr uint64_t kSector = 512;

std::string SectorOf(std::string_view bytes, uint64_t sector) {
  const uint64_t begin = std::min<uint64_t>(sector * kSector, bytes.size());
  return std::string(bytes.substr(begin, kSector));
}

void SetSector(std::string* bytes, uint64_t sector, std::string_view content) {
  const uint64_t begin = sector * kSector;
  if (content.empty()) return;
  if (bytes->size() < begin + content.size()) {
    bytes->resize(begin + content.size());
  }
  bytes->replace(begin, content.size(), content);
}

bool IsOfWritesAlone(SimFault fault) {
  return fault == SimFault::kShortWrite || fault == SimFault::kLostWrite ||
         fault == SimFault::kMisdirectedWrite;
}

}  // namespace

// What happened to names of a directory, in one step.
struct SimDisk::NameChange {
  std::string removed;  // Empty: none.
  std::string added;    // Empty: none.
  NodePtr node;         // Of `added`.
};

struct SimDisk::Node {
  bool is_directory = false;
  // Of a file. `versions` has the contents of each unsynced sector since the
  // last sync, in order of time, the present one last.
  std::string synced;
  std::string cached;
  std::map<uint64_t, std::vector<std::string>> versions;
  // Of a directory.
  std::map<std::string, NodePtr> synced_names;
  std::map<std::string, NodePtr> names;
  std::vector<NameChange> changes;  // From synced_names to names.
};

class SimDisk::File final : public DiskFile {
 public:
  File(SimDisk& disk, NodePtr node, std::string path)
      : disk_(disk), node_(std::move(node)), path_(std::move(path)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    absl::MutexLock lock(&disk_.mu_);
    MR_RETURN_IF_ERROR(disk_.BeginLook("read", path_));
    const std::string& bytes = node_->cached;
    if (offset >= bytes.size()) return 0;
    const size_t n = std::min<uint64_t>(size, bytes.size() - offset);
    std::copy_n(bytes.data() + offset, n, buffer);
    return n;
  }

  absl::StatusOr<size_t> WriteAt(uint64_t offset,
                                 std::string_view data) override {
    absl::MutexLock lock(&disk_.mu_);
    auto fault = SimFault::kIoError;
    std::optional<size_t> written;  // As far as the caller is told.
    if (absl::Status s = disk_.BeginCall("write", path_, &fault); !s.ok()) {
      if (!IsOfWritesAlone(fault)) return s;
      if (fault == SimFault::kLostWrite) return data.size();
      if (fault == SimFault::kShortWrite) {
        data = data.substr(0, (data.size() + 1) / 2);
      } else {
        offset += static_cast<uint64_t>(disk_.shift_bytes_);
        // Before the beginning it would be huge.
        if (offset >= node_->cached.size()) return data.size();
        written = data.size();
        data = data.substr(0, node_->cached.size() - offset);
      }
    }
    if (data.empty()) return 0;
    std::string& bytes = node_->cached;
    if (bytes.size() < offset + data.size()) {
      bytes.resize(offset + data.size());
    }
    bytes.replace(offset, data.size(), data);
    for (uint64_t sector = offset / kSector;
         sector <= (offset + data.size() - 1) / kSector; ++sector) {
      node_->versions[sector].push_back(SectorOf(bytes, sector));
    }
    return written.value_or(data.size());
  }

  absl::Status Sync() override {
    absl::MutexLock lock(&disk_.mu_);
    auto fault = SimFault::kIoError;
    if (absl::Status s = disk_.BeginCall("sync", path_, &fault); !s.ok()) {
      if (fault == SimFault::kSyncDropsPages) node_->versions.clear();
      if (!IsOfWritesAlone(fault)) return s;
    }
    for (const auto& [sector, versions] : node_->versions) {
      SetSector(&node_->synced, sector, versions.back());
    }
    node_->versions.clear();
    ++disk_.durable_version_;
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    absl::MutexLock lock(&disk_.mu_);
    MR_RETURN_IF_ERROR(disk_.BeginLook("stat", path_));
    return node_->cached.size();
  }

 private:
  SimDisk& disk_;
  const NodePtr node_;
  const std::string path_;
};

class SimDisk::HeldLock final : public DiskLock {
 public:
  HeldLock(SimDisk& disk, std::string path)
      : disk_(disk), path_(std::move(path)) {}
  ~HeldLock() override {
    absl::MutexLock lock(&disk_.mu_);
    disk_.locked_.erase(path_);
  }

 private:
  SimDisk& disk_;
  const std::string path_;
};

SimDisk::SimDisk() : root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}

SimDisk::~SimDisk() = default;

// ------------------------------------------------------------------- control

void SimDisk::FailCall(uint64_t call, SimFault fault, int64_t shift_sectors) {
  absl::MutexLock lock(&mu_);
  fail_call_ = call;
  fault_ = fault;
  shift_bytes_ = shift_sectors * static_cast<int64_t>(kSector);
  fault_happened_ = false;
}

void SimDisk::FailLook(uint64_t look) {
  absl::MutexLock lock(&mu_);
  fail_look_ = look;
  fault_happened_ = false;
}

uint64_t SimDisk::looks() const {
  absl::MutexLock lock(&mu_);
  return looks_;
}

void SimDisk::CutPowerAfter(uint64_t call) {
  absl::MutexLock lock(&mu_);
  power_until_ = call;
}

uint64_t SimDisk::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

std::string SimDisk::last_call() const {
  absl::MutexLock lock(&mu_);
  return last_call_;
}

bool SimDisk::fault_happened() const {
  absl::MutexLock lock(&mu_);
  return fault_happened_;
}

std::string SimDisk::fault_call() const {
  absl::MutexLock lock(&mu_);
  return fault_call_;
}

bool SimDisk::has_power() const {
  absl::MutexLock lock(&mu_);
  return CheckPower().ok();
}

void SimDisk::SetFreeBytes(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  free_bytes_ = bytes;
}

absl::Status SimDisk::CheckPower() const {
  if (calls_ > power_until_) return absl::DataLossError("the power is gone");
  return absl::OkStatus();
}

absl::Status SimDisk::BeginLook(std::string_view operation,
                                std::string_view path) {
  ++looks_;
  MR_RETURN_IF_ERROR(CheckPower());
  if (looks_ != fail_look_) return absl::OkStatus();
  fault_happened_ = true;
  return ErrnoStatus(EIO, operation, path);
}

absl::Status SimDisk::BeginCall(std::string_view operation,
                                std::string_view path, SimFault* fault) {
  ++calls_;
  MR_RETURN_IF_ERROR(CheckPower());
  last_call_ = Cat(calls_, " ", operation, " ", path);
  if (calls_ != fail_call_) return absl::OkStatus();
  fault_happened_ = true;
  fault_call_ = last_call_;
  *fault = fault_;
  return ErrnoStatus(fault_ == SimFault::kNoSpace ? ENOSPC : EIO, operation,
                     path);
}

// ----------------------------------------------------------- what survives

void SimDisk::Apply(const NameChange& change,
                    std::map<std::string, NodePtr>* names) {
  if (!change.removed.empty()) names->erase(change.removed);
  if (!change.added.empty()) (*names)[change.added] = change.node;
}

// A file with two names, as between a rename that is not synced and the power
// cut that undoes it, stays one file: hence the copies.
SimDisk::NodePtr SimDisk::CutPower(const NodePtr& node, const Choose& choose,
                                   Copies* copies) {
  if (const auto found = copies->find(node.get()); found != copies->end()) {
    return found->second;
  }
  auto after = std::make_shared<Node>();
  copies->emplace(node.get(), after);
  after->is_directory = node->is_directory;
  after->synced = node->synced;
  for (const auto& [sector, versions] : node->versions) {
    const size_t choice = choose(versions.size() + 1);
    if (choice > 0) SetSector(&after->synced, sector, versions[choice - 1]);
  }
  after->cached = after->synced;
  std::map<std::string, NodePtr> names = node->synced_names;
  for (const NameChange& change : node->changes) {
    if (choose(2) == 1) Apply(change, &names);
  }
  for (const auto& [name, child] : names) {
    after->names[name] = CutPower(child, choose, copies);
  }
  after->synced_names = after->names;
  return after;
}

SimDisk::NodePtr SimDisk::Copy(const NodePtr& node, Copies* copies) {
  if (const auto found = copies->find(node.get()); found != copies->end()) {
    return found->second;
  }
  auto copy = std::make_shared<Node>(*node);
  copies->emplace(node.get(), copy);
  for (auto& [name, child] : copy->names) child = Copy(child, copies);
  for (auto& [name, child] : copy->synced_names) child = Copy(child, copies);
  for (NameChange& change : copy->changes) {
    if (change.node != nullptr) change.node = Copy(change.node, copies);
  }
  return copy;
}

std::unique_ptr<SimDisk> SimDisk::AfterPowerCut(const Choose& choose) const {
  absl::MutexLock lock(&mu_);
  auto after = std::make_unique<SimDisk>();
  Copies copies;
  absl::MutexLock after_lock(&after->mu_);
  after->root_ = CutPower(root_, choose, &copies);
  return after;
}

std::unique_ptr<SimDisk> SimDisk::AfterProcessDeath() const {
  absl::MutexLock lock(&mu_);
  auto after = std::make_unique<SimDisk>();
  Copies copies;
  absl::MutexLock after_lock(&after->mu_);
  after->root_ = Copy(root_, &copies);
  return after;
}

size_t SimDisk::unsynced() const {
  size_t count = 0;
  AfterPowerCut([&count](size_t options) {
    ++count;
    return options - 1;
  });
  return count;
}

// --------------------------------------------------------------------- paths

SimDisk::NodePtr SimDisk::FindBy(
    const NodePtr& root, std::string_view path,
    std::map<std::string, NodePtr> Node::*names) {
  NodePtr node = root;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    const std::string name(path.substr(0, path.find('/')));
    path.remove_prefix(name.size());
    const auto found = ((*node).*names).find(name);
    if (found == ((*node).*names).end()) return nullptr;
    node = found->second;
  }
  return node;
}

SimDisk::NodePtr SimDisk::Find(std::string_view path) const {
  return FindBy(root_, path, &Node::names);
}

SimDisk::NodePtr SimDisk::FindDurable(std::string_view path) const {
  return FindBy(root_, path, &Node::synced_names);
}

absl::StatusOr<SimDisk::NodePtr> SimDisk::Directory(
    std::string_view path) const {
  NodePtr node = Find(path);
  if (node == nullptr || !node->is_directory) {
    return ErrnoStatus(ENOENT, "open directory", path);
  }
  return node;
}

std::string SimDisk::Contents(const std::string& path) const {
  absl::MutexLock lock(&mu_);
  const NodePtr node = Find(path);
  CHECK(node != nullptr) << path;
  return node->cached;
}

void SimDisk::SetContents(const std::string& path, std::string_view bytes) {
  absl::MutexLock lock(&mu_);
  NodePtr node = Find(path);
  if (node == nullptr) {
    auto directory = Directory(ParentPath(path));
    CHECK(directory.ok()) << path;
    node = std::make_shared<Node>();
    (*directory)->names[BaseName(path)] = node;
    (*directory)->synced_names[BaseName(path)] = node;
  }
  node->cached = node->synced = std::string(bytes);
  node->versions.clear();
}

std::vector<std::string> SimDisk::Names(const std::string& directory) const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> names;
  const auto node = Directory(directory);
  if (!node.ok()) return names;
  for (const auto& [name, child] : (*node)->names) names.push_back(name);
  return names;
}

uint64_t SimDisk::durable_version() const {
  absl::MutexLock lock(&mu_);
  return durable_version_;
}

std::vector<std::string> SimDisk::DurableNames(
    const std::string& directory) const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> names;
  const NodePtr node = FindDurable(directory);
  if (node == nullptr) return names;
  for (const auto& [name, child] : node->synced_names) names.push_back(name);
  return names;
}

std::string SimDisk::DurableBytes(const std::string& path, uint64_t offset,
                                  uint64_t size) const {
  absl::MutexLock lock(&mu_);
  const NodePtr node = FindDurable(path);
  if (node == nullptr || offset >= node->synced.size()) return "";
  return node->synced.substr(offset, size);
}

// --------------------------------------------------------------- operations

absl::StatusOr<std::unique_ptr<DiskFile>> SimDisk::Open(
    const std::string& path) {
  absl::MutexLock lock(&mu_);
  MR_RETURN_IF_ERROR(BeginLook("open", path));
  NodePtr node = Find(path);
  if (node == nullptr) return ErrnoStatus(ENOENT, "open", path);
  if (node->is_directory) return ErrnoStatus(EISDIR, "open", path);
  return std::make_unique<File>(*this, std::move(node), path);
}

absl::StatusOr<std::unique_ptr<DiskFile>> SimDisk::CreateWith(
    std::string_view operation, const std::string& path, uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall(operation, path, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  MR_ASSIGN_OR_RETURN(const NodePtr directory, Directory(ParentPath(path)));
  const std::string name = BaseName(path);
  if (directory->names.count(name) > 0) {
    return ErrnoStatus(EEXIST, operation, path);
  }
  if (bytes > free_bytes_) return ErrnoStatus(ENOSPC, operation, path);
  auto node = std::make_shared<Node>();
  node->synced = node->cached = std::string(bytes, '\0');
  directory->changes.push_back({"", name, node});
  Apply(directory->changes.back(), &directory->names);
  return std::make_unique<File>(*this, std::move(node), path);
}

absl::StatusOr<std::unique_ptr<DiskFile>> SimDisk::Create(
    const std::string& path) {
  return CreateWith("create", path, 0);
}

absl::StatusOr<std::unique_ptr<DiskFile>> SimDisk::CreateZeroed(
    const std::string& path, uint64_t bytes) {
  return CreateWith("create zeroed", path, bytes);
}

absl::Status SimDisk::MakeDirectory(const std::string& path) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall("make directory", path, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  if (const NodePtr node = Find(path)) {
    return node->is_directory ? absl::OkStatus()
                              : ErrnoStatus(EEXIST, "make directory", path);
  }
  MR_ASSIGN_OR_RETURN(const NodePtr parent, Directory(ParentPath(path)));
  auto node = std::make_shared<Node>();
  node->is_directory = true;
  parent->changes.push_back({"", BaseName(path), std::move(node)});
  Apply(parent->changes.back(), &parent->names);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimDisk::List(
    const std::string& directory) {
  absl::MutexLock lock(&mu_);
  MR_RETURN_IF_ERROR(BeginLook("list", directory));
  MR_ASSIGN_OR_RETURN(const NodePtr node, Directory(directory));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->names) names.push_back(name);
  return names;
}

absl::Status SimDisk::Rename(const std::string& from, const std::string& to) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall("rename", from, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  CHECK_EQ(ParentPath(from), ParentPath(to));
  MR_ASSIGN_OR_RETURN(const NodePtr directory, Directory(ParentPath(from)));
  const NodePtr node = Find(from);
  if (node == nullptr) return ErrnoStatus(ENOENT, "rename", from);
  directory->changes.push_back({BaseName(from), BaseName(to), node});
  Apply(directory->changes.back(), &directory->names);
  return absl::OkStatus();
}

absl::Status SimDisk::Remove(const std::string& path) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall("remove", path, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  if (Find(path) == nullptr) return ErrnoStatus(ENOENT, "remove", path);
  MR_ASSIGN_OR_RETURN(const NodePtr directory, Directory(ParentPath(path)));
  directory->changes.push_back({BaseName(path), "", nullptr});
  Apply(directory->changes.back(), &directory->names);
  return absl::OkStatus();
}

absl::Status SimDisk::SyncDirectory(const std::string& path) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall("sync directory", path, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  MR_ASSIGN_OR_RETURN(const NodePtr directory, Directory(path));
  directory->synced_names = directory->names;
  directory->changes.clear();
  ++durable_version_;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DiskLock>> SimDisk::Lock(
    const std::string& path) {
  absl::MutexLock lock(&mu_);
  auto fault = SimFault::kIoError;
  if (absl::Status s = BeginCall("lock", path, &fault); !s.ok()) {
    if (!IsOfWritesAlone(fault)) return s;
  }
  MR_ASSIGN_OR_RETURN(const NodePtr directory, Directory(ParentPath(path)));
  if (Find(path) == nullptr) {
    directory->changes.push_back(
        {"", BaseName(path), std::make_shared<Node>()});
    Apply(directory->changes.back(), &directory->names);
  }
  if (!locked_.insert(path).second) {
    return absl::FailedPreconditionError(
        Av(Cat("lock ", path, ": another process holds it")));
  }
  return std::make_unique<HeldLock>(*this, path);
}

absl::StatusOr<uint64_t> SimDisk::FreeBytes(const std::string& path) {
  absl::MutexLock lock(&mu_);
  MR_RETURN_IF_ERROR(CheckPower());
  MR_RETURN_IF_ERROR(Directory(path).status());
  return free_bytes_;
}

}  // namespace millrace::raft
