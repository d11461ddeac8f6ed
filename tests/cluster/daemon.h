// A daemon under test: started, found by its address file, killed by its pid.
#ifndef MILLRACE_TESTS_CLUSTER_DAEMON_H_
#define MILLRACE_TESTS_CLUSTER_DAEMON_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace millrace {

// Waits until `condition` holds, asking every few milliseconds. False: it did
// not within `patience`.
bool WaitUntil(const std::function<bool()>& condition,
               absl::Duration patience = absl::Seconds(30));

// Thread-compatible. Kills the process when it is destroyed.
class Daemon {
 public:
  // `argv` without the flag --address-file, which is added. Both outputs go to
  // the end of `log_path`; `address_path` is removed first. `environment`:
  // "NAME=value", over ours.
  Daemon(std::vector<std::string> argv, std::string log_path,
         std::string address_path, std::vector<std::string> environment = {});
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  void Start();
  // For the next starts.
  void SetArgv(std::vector<std::string> argv) { argv_ = std::move(argv); }
  void SetEnvironment(std::vector<std::string> environment) {
    environment_ = std::move(environment);
  }
  bool running();
  pid_t pid() const { return pid_; }
  // "host:port", once it serves. Fails the test when it ends before.
  const std::string& WaitForAddress();
  const std::string& address() const { return address_; }

  void Signal(int signal);
  // SIGKILL, and waits for its end.
  void Kill();
  // SIGTERM; returns the exit code, -1 if a signal ended it. Kills it, and
  // fails the test, when it takes longer than ten seconds.
  int Stop();
  // Until it has ended by itself; -1 likewise.
  int WaitForExit(absl::Duration patience = absl::Seconds(30));

  std::string ReadLog() const;

 private:
  bool Reap(bool block);

  std::vector<std::string> argv_;
  std::vector<std::string> environment_;
  const std::string log_path_;
  const std::string address_path_;
  pid_t pid_ = -1;
  bool ended_ = true;
  int exit_code_ = -1;
  std::string address_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_DAEMON_H_
