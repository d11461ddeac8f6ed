// Does to a local cluster what the schedule says, and puts it right again.
#ifndef MILLRACE_CHAOS_CONTROLLER_H_
#define MILLRACE_CHAOS_CONTROLLER_H_

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "chaos/journal.h"
#include "chaos/nemesis.h"
#include "chaos/schedule.h"
#include "chaos/spec.h"
#include "chaos/subject.h"
#include "common/clock.h"

namespace millrace::chaos {

struct ControllerOptions {
  std::string directory;  // Of the cluster; absolute.
  std::string spec_text;
  ChaosSpec spec;
  uint64_t seed = 1;
  int masters = 1;
  int workers = 1;
  // Whether this process and the cluster's have mounts of their own.
  bool private_mounts = false;
  std::string preload;  // Path of the library; "": there is none.
};

// Confined to one thread.
class Controller {
 public:
  Controller(ControllerOptions options, Clock& clock);
  ~Controller();

  // Proxies, disks, pages; tells how the cluster is to be started
  // (client/local/chaos_process.h).
  absl::Status Prepare();
  // Everything that is due. To be called every few milliseconds.
  void Tick();
  // Ends what is on, starts what was killed; nothing begins any more. The
  // proxies go on.
  void Calm();

 private:
  struct Active {
    PlannedFault fault;
    Subject* subject;
    std::unique_ptr<Nemesis> nemesis;
    absl::Duration end;
  };

  absl::Status PrepareSubject(const std::string& name, client::LocalRole role);
  // Who runs, as the cluster's record says.
  void ReadRecord();
  void Adopt();
  void Begin(const PlannedFault& fault);
  void End(Active& active);
  bool IsActive(const Subject& subject, Domain domain) const;
  bool AwaitsDisk(const Active& active) const;
  void Aim();
  void Revive();
  void RecordIdentity(const Subject& subject);
  Subject* Find(const std::string& name);
  absl::Duration Now() { return clock_.Monotonic() - began_; }

  const ControllerOptions options_;
  Clock& clock_;
  Journal journal_;
  std::list<Subject> subjects_;
  std::unique_ptr<Schedule> schedule_;
  std::optional<PlannedFault> next_;
  std::list<Active> active_;
  bool begun_ = false;
  bool calm_ = false;
  absl::Duration began_;
  absl::Duration looked_;   // For processes that began to listen.
  absl::Duration revived_;  // For processes that ended by themselves.
};

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_CONTROLLER_H_
