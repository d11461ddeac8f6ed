#include "supervisor/testing/fake_cgroups.h"

#include "absl/strings/numbers.h"
#include "common/strings.h"

namespace millrace::supervisor {
namespace {

constexpr uint64_t kPage = 4096;

std::pair<std::string, std::string> Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

void FakeCgroups::MountV1(const std::string& point, const std::string& root) {
  groups_[point] = {.v2 = false, .memory = true};
  mounts_ += Cat("31 30 0:26 ", root, " ", point,
                 " rw,relatime shared:9 - cgroup cgroup rw,memory\n");
  files_["/proc/self/mountinfo"] = mounts_;
}

void FakeCgroups::MountV2(const std::string& point, const std::string& root,
                          bool memory) {
  groups_[point] = {.v2 = true, .memory = memory, .hands_down = memory};
  mounts_ += Cat("32 30 0:27 ", root, " ", point,
                 " rw,relatime - cgroup2 cgroup2 rw\n");
  files_["/proc/self/mountinfo"] = mounts_;
}

void FakeCgroups::Put(const std::string& path, int pid) {
  if (!groups_.contains(path)) {
    const std::string parent = Split(path).first;
    if (!groups_.contains(parent)) Put(parent, 0);
    Make(path, groups_.at(parent));
    // Made by the system, which hands on what there is.
    if (pid == 0) groups_[path].hands_down = groups_[parent].hands_down;
  }
  if (pid > 0) groups_[path].members.insert(pid);
}

void FakeCgroups::Make(const std::string& path, const Group& parent) {
  Group group;
  group.v2 = parent.v2;
  group.memory = parent.v2 ? parent.hands_down : parent.memory;
  groups_[path] = group;
  if (!group.memory) return;
  const auto file = [&](const char* name, const char* text) {
    files_[Cat(path, "/", name)] = text;
  };
  if (group.v2) {
    file("memory.max", "max\n");
    file("memory.peak", "0\n");
    file("memory.oom.group", "0\n");
    file("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
  } else {
    file("memory.limit_in_bytes", "9223372036854771712\n");
    file("memory.max_usage_in_bytes", "0\n");
    file("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
  }
}

std::string FakeCgroups::File(const std::string& path) {
  return Read(path).value_or("");
}

absl::StatusOr<std::string> FakeCgroups::Read(const std::string& path) {
  const auto [directory, name] = Split(path);
  const auto group = groups_.find(directory);
  if (group != groups_.end()) {
    std::string text;
    if (name == "cgroup.procs") {
      for (int pid : group->second.members) text += Cat(pid, "\n");
      return text;
    }
    if (group->second.v2 && name == "cgroup.controllers") {
      return std::string(group->second.memory ? "cpu io memory pids\n"
                                              : "cpu\n");
    }
    if (group->second.v2 && name == "cgroup.subtree_control") {
      return std::string(group->second.hands_down ? "memory\n" : "\n");
    }
  }
  const auto file = files_.find(path);
  if (file == files_.end()) return absl::NotFoundError(Av(path));
  return file->second;
}

absl::Status FakeCgroups::Write(const std::string& path,
                                std::string_view text) {
  const auto [directory, name] = Split(path);
  if (forbidden_.contains(name)) return absl::PermissionDeniedError(Av(path));
  const auto at = groups_.find(directory);
  if (at == groups_.end()) return absl::NotFoundError(Av(path));
  Group& group = at->second;
  if (name == "cgroup.procs") {
    if (group.v2 && group.hands_down) return absl::UnavailableError("busy");
    int pid = 0;
    if (!absl::SimpleAtoi(Av(text), &pid)) {
      return absl::InvalidArgumentError("pid");
    }
    for (auto& [other_path, other] : groups_) {
      if (other.v2 == group.v2) other.members.erase(pid);
    }
    group.members.insert(pid);
    return absl::OkStatus();
  }
  if (group.v2 && name == "cgroup.subtree_control") {
    if (text == "+memory" && !group.members.empty()) {
      return absl::UnavailableError("busy");
    }
    if (!group.memory) return absl::NotFoundError("no such controller");
    group.hands_down = text == "+memory";
    return absl::OkStatus();
  }
  if (!files_.contains(path)) return absl::NotFoundError(Av(path));
  uint64_t number = 0;
  files_[path] = absl::SimpleAtoi(Av(text), &number) && number >= kPage
                     ? Cat(number / kPage * kPage, "\n")
                     : Cat(text, "\n");
  return absl::OkStatus();
}

absl::Status FakeCgroups::MakeDirectory(const std::string& path) {
  if (forbidden_.contains("")) return absl::PermissionDeniedError(Av(path));
  const auto parent = groups_.find(Split(path).first);
  if (parent == groups_.end()) return absl::NotFoundError(Av(path));
  if (groups_.contains(path)) return absl::AlreadyExistsError(Av(path));
  Make(path, parent->second);
  return absl::OkStatus();
}

absl::Status FakeCgroups::RemoveDirectory(const std::string& path) {
  const auto at = groups_.find(path);
  if (at == groups_.end()) return absl::NotFoundError(Av(path));
  if (!at->second.members.empty() || !Directories(path).empty()) {
    return absl::UnavailableError("busy");
  }
  std::erase_if(files_, [&](const auto& file) {
    return file.first.starts_with(path + "/");
  });
  groups_.erase(at);
  return absl::OkStatus();
}

std::vector<std::string> FakeCgroups::Directories(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& [group, unused] : groups_) {
    const auto [parent, name] = Split(group);
    if (parent == path) names.push_back(name);
  }
  return names;
}

}  // namespace millrace::supervisor
