// One fault, done to one process of a cluster. A nemesis looks for itself
// whether it has had an effect: what did not show does not count.
//
//   Begin ──► Watch, Watch, ... ──► End
//
// One file for each family: kill.cc, stop.cc, link.cc, intermediate_data.cc,
// disk.cc, preloaded.cc.
#ifndef MILLRACE_CHAOS_NEMESIS_H_
#define MILLRACE_CHAOS_NEMESIS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "chaos/schedule.h"
#include "chaos/subject.h"

namespace millrace::chaos {

struct Effect {
  bool seen = false;
  std::string what;  // For the log: what was seen, or why nothing was.
};

// Confined to the loop of millrace-chaos. The subject outlives it.
class Nemesis {
 public:
  virtual ~Nemesis() = default;

  // Does it. Not OK: nothing was done, and why; the others are not called then.
  virtual absl::Status Begin() = 0;
  // Every few milliseconds while it lasts.
  virtual void Watch() {}
  // Undoes it. Called once, at once where the kind has no length.
  virtual Effect End() = 0;
};

std::unique_ptr<Nemesis> MakeNemesis(const PlannedFault& fault,
                                     Subject& subject);

// Two faults of one domain are not on at the same time for one process: a
// process that is stopped cannot be stopped. kMoment: those without a length.
enum class Domain { kMoment, kProcess, kTask, kLink, kDisk, kWrites, kClock };
Domain DomainOf(FaultKind kind);

// The families.
std::unique_ptr<Nemesis> MakeKill(const PlannedFault& fault, Subject& subject);
std::unique_ptr<Nemesis> MakeStop(const PlannedFault& fault, Subject& subject);
std::unique_ptr<Nemesis> MakeLinkFault(const PlannedFault& fault,
                                       Subject& subject);
std::unique_ptr<Nemesis> MakeIntermediateDataFault(const PlannedFault& fault,
                                                   Subject& subject);
std::unique_ptr<Nemesis> MakeDiskFault(const PlannedFault& fault,
                                       Subject& subject);
std::unique_ptr<Nemesis> MakePreloadedFault(const PlannedFault& fault,
                                            Subject& subject);

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_NEMESIS_H_
