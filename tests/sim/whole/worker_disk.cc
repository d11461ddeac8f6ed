// What the disks of a simulated worker, its own and the store, do to it.
#include <cerrno>
#include <string>

#include "common/errno_status.h"
#include "common/strings.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {
namespace {

bool IsWrite(FileOp operation) {
  switch (operation) {
    case FileOp::kCreate:
    case FileOp::kAppend:
    case FileOp::kSync:
    case FileOp::kMakeDirectory:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Worker::NextServed(worker::ServedTransfer& served,
                        worker::ServedMessage* message) {
  serves_ = true;
  const bool more = served.Next(message);
  serves_ = false;
  return more;
}

bool Worker::ReadFails(const StepSet& steps) {
  if (!world_.May(Fault::kReadError) ||
      !world_.Chance(world_.scenario.op_faults)) {
    return false;
  }
  world_.Hit(Fault::kReadError, steps);
  return true;
}

absl::Status Worker::BeforeOperation(FileOp operation,
                                     const std::string& path) {
  if (serves_) {
    if (operation == FileOp::kRead && ReadFails(Only(Step::kMapHeld))) {
      return ErrnoStatus(EIO, "read", path);
    }
    return absl::OkStatus();
  }
  if (!work_.has_value()) return absl::OkStatus();
  const Work work = *work_;
  const absl::Status gone = absl::CancelledError("the process is gone");
  if (work.life != life_number_ || !IsThere(work.process)) return gone;
  if (work_->operations_left.has_value() && (*work_->operations_left)-- == 0) {
    work_->operations_left = 0;
    return gone;
  }
  if (path.rfind(kStore, 0) != 0) {
    if (operation == FileOp::kRead && ReadFails(work.steps)) {
      return ErrnoStatus(EIO, "read", path);
    }
    if (!IsWrite(operation)) return absl::OkStatus();
    if (disk_full_) {
      world_.Hit(Fault::kDiskFull, work.steps);
      return ErrnoStatus(ENOSPC, "write", path);
    }
    if (world_.May(Fault::kWriteError) &&
        world_.Chance(world_.scenario.op_faults)) {
      world_.Hit(Fault::kWriteError, work.steps);
      return ErrnoStatus(EIO, "write", path);
    }
    return absl::OkStatus();
  }
  if (store_away_) {
    world_.Hit(Fault::kStoreAway, work.steps);
    return absl::UnavailableError(Av(Cat("stale handle: ", path)));
  }
  if (operation == FileOp::kRename && path.ends_with("/final")) {
    const std::string output = path.substr(0, path.find(".millrace-"));
    world_.before_publish(output);
    if (world_.options.mutant.edge.rename_replaces) {
      // As a rename without the flag.
      world_.fs.RemoveTree(output).IgnoreError();
    }
  }
  // Some steps make one operation, others hundreds.
  const StepSet rare =
      Only(Step::kMapPrepare) | Only(Step::kFetch) | Only(Step::kCleanup);
  const double stalls = (work.steps & rare).any()
                            ? 0.02
                            : 0.001 + 0.5 * world_.scenario.op_faults;
  if (!work.operations_left.has_value() && world_.May(Fault::kStoreStalls) &&
      world_.Chance(stalls)) {
    world_.Hit(Fault::kStoreStalls, work.steps);
    world_.Note(Cat(name_, " waits for the store: ", path));
    work_.reset();  // Whoever comes meanwhile is about something else.
    world_.Suspend(world_.Between(1, world_.Chance(0.3) ? 15'000 : 800));
    while ((work.process == 0 ? paused_ : processes_paused_) &&
           work.life == life_number_ && !world_.violated()) {
      world_.Suspend(absl::Milliseconds(200));
    }
    work_ = work;
    if (work.life != life_number_ || !IsThere(work.process)) return gone;
  }
  return absl::OkStatus();
}

}  // namespace millrace::wholesim
