// The kernel's side of cgroups, as far as memory limits need it, with its
// rules: a group of version 2 that hands a controller down holds no processes,
// a group with processes or groups in it is not removed, a process is in one
// group.
#ifndef MILLRACE_SUPERVISOR_TESTING_FAKE_CGROUPS_H_
#define MILLRACE_SUPERVISOR_TESTING_FAKE_CGROUPS_H_

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/memory_cgroups.h"

namespace millrace::supervisor {

class FakeCgroups final : public CgroupFiles {
 public:
  // A hierarchy is mounted at `point`; its top has no processes.
  void MountV1(const std::string& point, const std::string& root = "/");
  void MountV2(const std::string& point, const std::string& root = "/",
               bool memory = true);
  // The group at `path`, which is made with all above it, has this process.
  void Put(const std::string& path, int pid);
  void SetFile(const std::string& path, const std::string& text) {
    files_[path] = text;
  }
  // Every write to a file of this name, and every making of a directory if
  // "", fails.
  void Forbid(const std::string& name) { forbidden_.insert(name); }

  bool HasDirectory(const std::string& path) const {
    return groups_.contains(path);
  }
  const std::set<int>& MembersOf(const std::string& path) const {
    return groups_.at(path).members;
  }
  size_t num_groups() const { return groups_.size(); }
  // "": there is no such file.
  std::string File(const std::string& path);

  absl::StatusOr<std::string> Read(const std::string& path) override;
  absl::Status Write(const std::string& path, std::string_view text) override;
  absl::Status MakeDirectory(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  std::vector<std::string> Directories(const std::string& path) override;

 private:
  struct Group {
    bool v2 = false;
    bool memory = false;  // Has the files of the controller.
    bool hands_down = false;
    std::set<int> members = {};
  };
  void Make(const std::string& path, const Group& parent);

  std::map<std::string, Group> groups_;
  std::map<std::string, std::string> files_;
  std::set<std::string> forbidden_;
  std::string mounts_;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_TESTING_FAKE_CGROUPS_H_
