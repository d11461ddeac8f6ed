// The disk of a worker's spool is full or refuses writes.
#include <cerrno>
#include <cstring>

#include "chaos/nemesis.h"
#include "chaos/small_disk.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

class DiskFault final : public Nemesis {
 public:
  DiskFault(FaultKind kind, Subject& subject)
      : kind_(kind), subject_(subject) {}

  absl::Status Begin() override {
    if (subject_.disk.empty()) {
      return absl::FailedPreconditionError("it has no disk of its own");
    }
    if (kind_ == FaultKind::kFullDisk) {
      const absl::Status filled = FillDisk(subject_.disk);
      if (!filled.ok()) return filled;
      Check(ENOSPC);
      return absl::OkStatus();
    }
    Watch();
    return absl::OkStatus();
  }

  // Read-only it becomes in a moment in which nobody writes.
  void Watch() override {
    if (kind_ != FaultKind::kReadOnlyDisk || on_) return;
    on_ = MakeDiskReadOnly(subject_.disk).ok();
    if (on_) Check(EROFS);
  }

  Effect End() override {
    const absl::Status healed = HealDisk(subject_.disk);
    std::string what =
        on_ || kind_ == FaultKind::kFullDisk
            ? Cat("a write met: ", met_ == 0 ? "nothing" : std::strerror(met_))
            : std::string("files were open for writing all along");
    if (!healed.ok()) what += Cat("; ", ToStd(healed.message()));
    return {seen_, what};
  }

 private:
  void Check(int expected) {
    met_ = TryToWrite(subject_.disk);
    seen_ = met_ == expected;
  }

  const FaultKind kind_;
  Subject& subject_;
  bool on_ = false;
  bool seen_ = false;
  int met_ = 0;
};

}  // namespace

std::unique_ptr<Nemesis> MakeDiskFault(const PlannedFault& fault,
                                       Subject& subject) {
  return std::make_unique<DiskFault>(fault.kind, subject);
}

}  // namespace millrace::chaos
