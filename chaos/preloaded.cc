// What the library preloaded into a process does: slow writes, another wall
// clock. The library counts how often.
#include "chaos/nemesis.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

class SlowDisk final : public Nemesis {
 public:
  SlowDisk(absl::Duration delay, Subject& subject)
      : delay_(delay), subject_(subject) {}

  absl::Status Begin() override {
    if (subject_.page == nullptr) {
      return absl::FailedPreconditionError("it has no preloaded library");
    }
    before_ = (*subject_.page)->slow_writes;
    (*subject_.page)->write_delay_us = absl::ToInt64Microseconds(delay_);
    return absl::OkStatus();
  }
  Effect End() override {
    (*subject_.page)->write_delay_us = 0;
    const uint64_t slow = (*subject_.page)->slow_writes - before_;
    return {slow > 0, Cat(slow, " writes were slow")};
  }

 private:
  const absl::Duration delay_;
  Subject& subject_;
  uint64_t before_ = 0;
};

class ShiftClock final : public Nemesis {
 public:
  ShiftClock(absl::Duration shift, Subject& subject)
      : shift_(shift), subject_(subject) {}

  absl::Status Begin() override {
    if (subject_.page == nullptr) {
      return absl::FailedPreconditionError("it has no preloaded library");
    }
    before_ = (*subject_.page)->clock_reads;
    (*subject_.page)->clock_shift_ns = absl::ToInt64Nanoseconds(shift_);
    return absl::OkStatus();
  }
  Effect End() override {
    (*subject_.page)->clock_shift_ns = 0;
    const uint64_t reads = (*subject_.page)->clock_reads - before_;
    return {reads > 0, Cat("off by ", ToStd(absl::FormatDuration(shift_)), ", ",
                           reads, " times seen")};
  }

 private:
  const absl::Duration shift_;
  Subject& subject_;
  uint64_t before_ = 0;
};

}  // namespace

std::unique_ptr<Nemesis> MakePreloadedFault(const PlannedFault& fault,
                                            Subject& subject) {
  if (fault.kind == FaultKind::kSlowDisk) {
    return std::make_unique<SlowDisk>(fault.by, subject);
  }
  // Forth or back.
  const absl::Duration shift = fault.detail % 2 == 0 ? fault.by : -fault.by;
  return std::make_unique<ShiftClock>(shift, subject);
}

}  // namespace millrace::chaos
