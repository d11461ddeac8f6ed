#include "client/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "common/errno_status.h"
#include "supervisor/unique_fd.h"

namespace millrace::client {
namespace {

// Descriptors that become 0 to 2 of the child are moved out of the way first:
// one that already had such a number would be overwritten by another.
constexpr int kSourceFdMin = 3;

class SpawnArguments {
 public:
  SpawnArguments() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnArguments() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnArguments(const SpawnArguments&) = delete;
  SpawnArguments& operator=(const SpawnArguments&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

absl::StatusOr<pid_t> Spawn(const SpawnCommand& command) {
  const supervisor::UniqueFd out(
      fcntl(command.stdout_fd, F_DUPFD_CLOEXEC, kSourceFdMin));
  const supervisor::UniqueFd err(
      fcntl(command.stderr_fd, F_DUPFD_CLOEXEC, kSourceFdMin));
  if (!out.valid() || !err.valid()) {
    return ErrnoStatus(errno, "duplicate", "descriptor");
  }
  SpawnArguments spawn;
  // Each returns an error number; the only one is ENOMEM.
  int error = posix_spawn_file_actions_addopen(&spawn.actions, 0, "/dev/null",
                                               O_RDONLY, 0);
  error |= posix_spawn_file_actions_adddup2(&spawn.actions, out.get(), 1);
  error |= posix_spawn_file_actions_adddup2(&spawn.actions, err.get(), 2);
  // What this program inherited itself may not be close-on-exec.
  error |= posix_spawn_file_actions_addclosefrom_np(&spawn.actions, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  error |= posix_spawnattr_setsigmask(&spawn.attributes, &none);
  error |= posix_spawnattr_setsigdefault(&spawn.attributes, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.detached) {
    flags |= POSIX_SPAWN_SETSID;
  } else {
    flags |= POSIX_SPAWN_SETPGROUP;
    error |= posix_spawnattr_setpgroup(&spawn.attributes, 0);
  }
  error |= posix_spawnattr_setflags(&spawn.attributes, flags);
  if (error != 0) {
    return absl::ResourceExhaustedError("no memory to start a process");
  }
  std::vector<std::string> words = {command.executable};
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<std::string> added = command.environment;
  std::vector<char*> environment;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view old(*at);
    const std::string_view name = old.substr(0, old.find('=') + 1);
    const bool replaced = std::any_of(
        added.begin(), added.end(),
        [&](const std::string& set) { return set.rfind(name, 0) == 0; });
    if (!replaced) environment.push_back(*at);
  }
  for (std::string& set : added) environment.push_back(set.data());
  environment.push_back(nullptr);
  pid_t pid = 0;
  error = posix_spawn(&pid, command.executable.c_str(), &spawn.actions,
                      &spawn.attributes, argv.data(), environment.data());
  if (error != 0) return ErrnoStatus(error, "start", command.executable);
  return pid;
}

}  // namespace millrace::client
