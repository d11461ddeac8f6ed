// Ctrl-C, a closed terminal and a polite kill, as something that a command can
// wait for and go on after, instead of a sudden end.
#ifndef MILLRACE_CLI_INTERRUPT_H_
#define MILLRACE_CLI_INTERRUPT_H_

#include <memory>

#include "client/cluster_client.h"

namespace millrace::cli {

// SIGINT, SIGTERM and SIGHUP stop calls to the cluster for as long as this
// lives. Another one, a second later or more, ends the process at once. Make it
// before anything that starts threads: they inherit which signals are blocked.
// One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // For ClientOptions::stop.
  client::StopSignal& signal() { return signal_; }
  bool interrupted() const { return signal_.stopped(); }

 private:
  struct Watcher;
  client::StopSignal signal_;
  const std::unique_ptr<Watcher> watcher_;
};

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_INTERRUPT_H_
