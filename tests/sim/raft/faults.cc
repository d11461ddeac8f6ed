#include "tests/sim/raft/faults.h"

namespace millrace::raftsim {

std::string_view FaultName(Fault fault) {
  switch (fault) {
    case Fault::kLoss:
      return "loss";
    case Fault::kDuplication:
      return "duplication";
    case Fault::kReordering:
      return "reordering";
    case Fault::kDelay:
      return "delay";
    case Fault::kPartition:
      return "partition";
    case Fault::kOneWayCut:
      return "one-way cut";
    case Fault::kBridge:
      return "bridge";
    case Fault::kLeaderCut:
      return "leader cut";
    case Fault::kClockRate:
      return "clock rate";
    case Fault::kPause:
      return "pause";
    case Fault::kMailboxFull:
      return "mailbox full";
    case Fault::kKill:
      return "kill";
    case Fault::kPowerCut:
      return "power cut";
    case Fault::kKillAtCall:
      return "kill at call";
    case Fault::kPowerCutAtCall:
      return "power cut at call";
    case Fault::kPowerCutAll:
      return "power cut of all";
    case Fault::kSlowDisk:
      return "slow disk";
    case Fault::kDiskFull:
      return "disk full";
    case Fault::kIoError:
      return "I/O error";
    case Fault::kSyncDropsPages:
      return "sync drops pages";
    case Fault::kBitRot:
      return "bit rot";
    case Fault::kDiskLost:
      return "disk lost";
    case Fault::kMembership:
      return "membership";
    case Fault::kTransfer:
      return "transfer";
    case Fault::kSnapshotBroken:
      return "snapshot broken";
    case Fault::kStateSlow:
      return "slow state";
    case Fault::kCount:
      break;
  }
  return "?";
}

}  // namespace millrace::raftsim
