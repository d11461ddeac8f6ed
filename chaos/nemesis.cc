#include "chaos/nemesis.h"

namespace millrace::chaos {

std::unique_ptr<Nemesis> MakeNemesis(const PlannedFault& fault,
                                     Subject& subject) {
  switch (fault.kind) {
    case FaultKind::kKillWorker:
    case FaultKind::kKillMaster:
    case FaultKind::kKillTask:
      return MakeKill(fault, subject);
    case FaultKind::kStopWorker:
    case FaultKind::kStopMaster:
    case FaultKind::kStopTask:
      return MakeStop(fault, subject);
    case FaultKind::kCutLink:
    case FaultKind::kStallLink:
    case FaultKind::kDelayLink:
    case FaultKind::kCorruptLink:
      return MakeLinkFault(fault, subject);
    case FaultKind::kFlipBit:
    case FaultKind::kTruncateOutput:
    case FaultKind::kSwapOutputs:
    case FaultKind::kFlipSpill:
    case FaultKind::kDeleteSpool:
      return MakeIntermediateDataFault(fault, subject);
    case FaultKind::kFullDisk:
    case FaultKind::kReadOnlyDisk:
      return MakeDiskFault(fault, subject);
    case FaultKind::kSlowDisk:
    case FaultKind::kShiftClock:
      return MakePreloadedFault(fault, subject);
  }
  return nullptr;
}

Domain DomainOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kKillWorker:
    case FaultKind::kKillMaster:
    case FaultKind::kStopWorker:
    case FaultKind::kStopMaster:
      return Domain::kProcess;
    case FaultKind::kStopTask:
      return Domain::kTask;
    case FaultKind::kCutLink:
    case FaultKind::kStallLink:
    case FaultKind::kDelayLink:
    case FaultKind::kCorruptLink:
      return Domain::kLink;
    case FaultKind::kFullDisk:
    case FaultKind::kReadOnlyDisk:
      return Domain::kDisk;
    case FaultKind::kSlowDisk:
      return Domain::kWrites;
    case FaultKind::kShiftClock:
      return Domain::kClock;
    case FaultKind::kKillTask:
    case FaultKind::kFlipBit:
    case FaultKind::kTruncateOutput:
    case FaultKind::kSwapOutputs:
    case FaultKind::kFlipSpill:
    case FaultKind::kDeleteSpool:
      return Domain::kMoment;
  }
  return Domain::kMoment;
}

}  // namespace millrace::chaos
