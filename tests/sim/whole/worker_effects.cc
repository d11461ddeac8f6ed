// What a simulated worker does of what its core wants done, but for processes.
#include <utility>

#include "common/strings.h"
#include "storage/commit/output_commit.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/worker_life.h"
#include "worker/agent/job_setup.h"
#include "worker/commit/commit_task.h"
#include "worker/spool/attempt_files.h"

namespace millrace::wholesim {
namespace {

constexpr uint64_t kDiskBytes = uint64_t{8} << 30;

}  // namespace

void Worker::Do(const worker::FetchBlob& effect) {
  life_->blobs.Want(effect.sha256);
  StepSet steps;
  for (const auto& [uid, seen] : seen_) {
    if (seen.phase == Phase::kPreparing) steps |= StepOf(seen);
  }
  Do(steps, world_.Between(1, 40), [sha256 = effect.sha256](Life& life) {
    const absl::Status status = life.blobs.Get(sha256);
    return status.ok() ? worker::Event(worker::BlobReady{sha256})
                       : worker::Event(worker::BlobFailed{sha256, status});
  });
}

void Worker::Do(const worker::TrimBlobs& effect) {
  life_->blobs.WantOnly(effect.keep);
  Later(world_.Between(1, 20), [this] { life_->blobs.Trim(); });
}

void Worker::Do(const worker::PrepareAttempt& effect) {
  Do(StepOf(effect.attempt), world_.Between(0.1, 15), [this, effect](Life&) {
    return worker::PrepareDirectories(disk_, layout_, effect);
  });
}

void Worker::Do(const worker::PutPlan& effect) {
  SetPhase(effect.attempt, Phase::kStoring);
  Do(StepOf(effect.attempt), world_.Between(1, 50), [this, effect](Life& life) {
    return worker::StorePlan(layout_, life.blobs, effect);
  });
}

void Worker::Do(const worker::RunCheck& effect) {
  SetPhase(effect.attempt, Phase::kStoring);
  Do(StepOf(effect.attempt), world_.Between(0.5, 50),
     [this, effect](Life& life) {
       return worker::CheckOutput(disk_, life.blobs, effect, /*readers=*/1);
     });
}

void Worker::Do(const worker::RunPublish& effect) {
  SetPhase(effect.attempt, Phase::kStoring);
  std::vector<AttemptUid> winners;
  if (effect.winners != nullptr) {
    for (const worker::WinnerFile& winner : *effect.winners) {
      winners.push_back(winner.uid);
    }
  }
  world_.checker.OnPublished(effect.job, winners);
  Do(StepOf(effect.attempt), world_.Between(0.5, 50),
     [this, effect](Life& life) {
       return worker::PublishOutput(disk_, life.blobs, effect);
     });
}

void Worker::Do(const worker::DeleteAttempt& effect) {
  held_.erase(effect.attempt);
  Later(world_.Between(0.5, 50), [this, effect] {
    worker::RemoveAttemptFiles(world_.fs, layout_.Spool(), effect.job,
                               effect.attempt)
        .IgnoreError();
    if (effect.output.empty()) return;
    const std::string own =
        worker::OutputDirectory(effect.output, effect.job, effect.attempt);
    world_.fs
        .RemoveTree(world_.options.mutant.edge.collect_live_staging
                        ? ParentPath(own)
                        : own)
        .IgnoreError();
  });
}

void Worker::Do(const worker::DeleteJob& effect) {
  Do(Only(Step::kCleanup), world_.Between(1, 60), [this, effect](Life&) {
    if (world_.options.mutant.edge.forget_to_delete) {  // Of the spool.
      return worker::JobDeleted{
          effect.job,
          effect.output.empty()
              ? absl::OkStatus()
              : storage::RemoveStaging(disk_, effect.output, effect.job)};
    }
    return worker::DeleteJobFiles(disk_, layout_, effect);
  });
}

void Worker::Do(const worker::StartFetch& effect) {
  life_->shuffle->Step(worker::fetch::StartReduce{effect.input});
}

void Worker::Do(const worker::CancelFetch& effect) {
  life_->shuffle->Step(worker::fetch::Cancel{effect.attempt});
}

void Worker::Do(const worker::UpdateLocations& effect) {
  life_->shuffle->Step(worker::fetch::UpdateLocations{&effect.locations});
}

void Worker::Do(const worker::ForgetFetches& effect) {
  life_->shuffle->Step(worker::fetch::ForgetJob{effect.job});
}

void Worker::Do(const worker::ForgetLocations&) {
  life_->shuffle->Step(worker::fetch::ForgetLocations{});
}

void Worker::Do(const worker::BecomeIncarnation& effect) {
  incarnation_ = effect.incarnation;
  seen_.clear();
  life_->shuffle->Step(worker::fetch::SetIncarnation{effect.incarnation});
}

void Worker::Do(const worker::MeasureDisk&) {
  Later(world_.Between(0.1, 5),
        [this] { Post(worker::DiskMeasured{disk_full_ ? 0 : kDiskBytes}); });
}

void Worker::Do(const worker::Note& effect) {
  world_.Note(Cat(name_, effect.warning ? " warns: " : " says: ", effect.text));
}

void Worker::Do(const worker::GiveUp& effect) {
  world_.Violate(Cat(name_, " gives up: ", effect.message));
}

}  // namespace millrace::wholesim
