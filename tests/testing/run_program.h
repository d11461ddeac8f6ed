// Runs a program as a user would and tells what came of it: for tests of real
// binaries.
#ifndef MILLRACE_TESTS_TESTING_RUN_PROGRAM_H_
#define MILLRACE_TESTS_TESTING_RUN_PROGRAM_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace millrace {

struct ProgramOptions {
  std::vector<std::string> argv;  // argv[0] is the path, not looked up.
  std::vector<std::string> environment = {};  // "NAME=value", over ours.
  std::string directory = {};                 // Empty: ours.
  // Killed by SIGKILL after so long; the result says so.
  absl::Duration deadline = absl::Seconds(60);
};

struct ProgramResult {
  int exit_code = -1;  // -1: ended by a signal.
  int signal = 0;
  bool timed_out = false;
  std::string out;
  std::string err;
  absl::Duration elapsed;
  // Of the largest process among the program and the children it waited for.
  uint64_t peak_rss_bytes = 0;
};

// For failure messages: exit and the beginnings of both outputs.
std::ostream& operator<<(std::ostream& os, const ProgramResult& result);

// A started program. Its stdin is empty. Thread-compatible.
class RunningProgram {
 public:
  explicit RunningProgram(const ProgramOptions& options);
  // Kills it when nobody waited for it.
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // Until `condition` holds, asked again whenever the program says something
  // and every few milliseconds. False: it ended, or the deadline passed.
  bool WaitUntil(const std::function<bool()>& condition);
  // Until it has ended. Output of descendants that outlive it is not waited
  // for.
  ProgramResult Wait();
  // What it has said so far.
  const std::string& out() const { return result_.out; }
  const std::string& err() const { return result_.err; }

 private:
  // One round: reads what is there, waits at most `timeout`. True once ended.
  bool Pump(absl::Duration timeout);

  const absl::Duration deadline_;
  absl::Duration started_;
  pid_t pid_ = -1;
  int pid_fd_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  bool ended_ = false;
  ProgramResult result_;
};

ProgramResult RunProgram(const ProgramOptions& options);

// Whether the process is gone within `patience`. For descendants of something
// that has been killed, whose ends nobody else can wait for.
bool ProcessEnds(pid_t pid, absl::Duration patience);

}  // namespace millrace

#endif  // MILLRACE_TESTS_TESTING_RUN_PROGRAM_H_
