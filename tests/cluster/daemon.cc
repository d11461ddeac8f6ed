#include "tests/cluster/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "common/clock.h"
#include "common/strings.h"

namespace millrace {
namespace {

constexpr int kLookMs = 5;

std::string ReadFileOrEmpty(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition,
               absl::Duration patience) {
  Clock& clock = Clock::Real();
  const absl::Duration deadline = clock.Monotonic() + patience;
  while (!condition()) {
    if (clock.Monotonic() > deadline) return false;
    poll(nullptr, 0, kLookMs);
  }
  return true;
}

Daemon::Daemon(std::vector<std::string> argv, std::string log_path,
               std::string address_path, std::vector<std::string> environment)
    : argv_(std::move(argv)),
      environment_(std::move(environment)),
      log_path_(std::move(log_path)),
      address_path_(std::move(address_path)) {}

Daemon::~Daemon() { Kill(); }

void Daemon::Start() {
  ASSERT_TRUE(ended_) << argv_[0] << " runs already";
  unlink(address_path_.c_str());
  address_.clear();
  std::vector<std::string> words = argv_;
  words.push_back("--address-file");
  words.push_back(address_path_);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  // Ours, without what is set anew.
  std::vector<char*> variables;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view old(*at);
    const std::string_view name = old.substr(0, old.find('=') + 1);
    const bool replaced = std::any_of(
        environment_.begin(), environment_.end(),
        [&](const std::string& set) { return set.rfind(name, 0) == 0; });
    if (!replaced) variables.push_back(*at);
  }
  for (std::string& set : environment_) variables.push_back(set.data());
  variables.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log_path_.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(),
                                variables.data());
  posix_spawn_file_actions_destroy(&actions);
  ASSERT_EQ(error, 0) << argv_[0];
  ended_ = false;
}

bool Daemon::Reap(bool block) {
  if (ended_) return true;
  int status = 0;
  const pid_t reaped = waitpid(pid_, &status, block ? 0 : WNOHANG);
  if (reaped != pid_) return false;
  ended_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return true;
}

bool Daemon::running() { return !Reap(false); }

const std::string& Daemon::WaitForAddress() {
  const bool found = WaitUntil([&] {
    const std::string text = ReadFileOrEmpty(address_path_);
    if (!text.empty() && text.back() == '\n') {
      address_ = text.substr(0, text.size() - 1);
    }
    return !address_.empty() || Reap(false);
  });
  EXPECT_TRUE(found && !address_.empty())
      << argv_[0] << " does not serve; exit code " << exit_code_ << "; log:\n"
      << ReadLog();
  return address_;
}

void Daemon::Signal(int signal) {
  if (!ended_) kill(pid_, signal);
}

void Daemon::Kill() {
  Signal(SIGKILL);
  Reap(true);
}

int Daemon::Stop() {
  Signal(SIGTERM);
  return WaitForExit(absl::Seconds(10));
}

int Daemon::WaitForExit(absl::Duration patience) {
  if (!WaitUntil([this] { return Reap(false); }, patience)) {
    ADD_FAILURE() << argv_[0] << " does not end; log:\n" << ReadLog();
    Kill();
  }
  return exit_code_;
}

std::string Daemon::ReadLog() const { return ReadFileOrEmpty(log_path_); }

}  // namespace millrace
