#include "worker/loop/worker_loop.h"

#include <malloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/errno_status.h"
#include "common/fault_point.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/output_commit.h"
#include "worker/agent/job_setup.h"
#include "worker/commit/commit_task.h"
#include "worker/spool/attempt_files.h"

namespace millrace::worker {
namespace {

constexpr int kLocalThreads = 2;
// One may hang for each job that commits to a store that hangs.
constexpr int kStoreThreads = 16;
constexpr int kBlobThreads = 4;

// After a job, so that many that end together are one.
constexpr absl::Duration kTrimDelay = absl::Seconds(2);

// What a job's transfers have freed stays with malloc, in pieces that what
// comes later does not fit: without this a worker that runs many jobs keeps
// several times what it uses.
void GiveBackFreeMemory() { malloc_trim(0); }

void WarnIfNot(const absl::Status& deleted) {
  if (deleted.ok()) return;
  LOG_EVERY_N(WARNING, 100) << "not deleted: " << ToStd(deleted.message());
}

}  // namespace

WorkerLoop::WorkerLoop(const WorkerLoopOptions& options,
                       const WorkerParts& parts,
                       std::unique_ptr<AgentCore> core,
                       std::function<void(const std::string&)> on_give_up)
    : options_(options),
      parts_(parts),
      layout_(parts.directory.layout()),
      on_give_up_(std::move(on_give_up)),
      core_(std::move(core)),
      local_work_(kLocalThreads),
      store_work_(kStoreThreads),
      blob_work_(kBlobThreads) {}

WorkerLoop::~WorkerLoop() { Stop(); }

absl::Status WorkerLoop::Start() {
  wake_ = supervisor::UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return ErrnoStatus(errno, "create", "event descriptor");
  MR_ASSIGN_OR_RETURN(supervisor_, supervisor::Supervisor::Create(
                                       parts_.clock, parts_.cgroups));
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void WorkerLoop::Stop() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  thread_.join();
  local_work_.Finish();
  blob_work_.Finish();
  store_work_.Finish();
}

void WorkerLoop::Post(Event event) {
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    mail_.push_back(std::move(event));
  }
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void WorkerLoop::OnClosed(StreamId stream, const absl::Status& status) {
  VLOG(1) << "stream to the master closed: " << ToStd(status.message());
  Post(StreamClosed{stream});
}

std::vector<Event> WorkerLoop::TakeMail() {
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof count);
  absl::MutexLock lock(&mu_);
  return std::exchange(mail_, {});
}

absl::Duration WorkerLoop::UntilTick() const {
  const bool busy =
      std::any_of(processes_.begin(), processes_.end(),
                  [](const auto& entry) { return entry.second.busy; });
  const absl::Duration interval =
      busy ? options_.busy_tick : options_.idle_tick;
  return std::max(absl::ZeroDuration(),
                  last_tick_ + interval - parts_.clock.Monotonic());
}

void WorkerLoop::Loop() {
  for (const Effect& effect : core_->Start()) {
    std::visit([this](const auto& e) { Do(e); }, effect);
  }
  parts_.fetcher.Start(*this);
  parts_.link.Start(*this);
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) break;
    }
    pollfd fds[] = {{wake_.get(), POLLIN, 0},
                    {supervisor_->wake_fd(), POLLIN, 0}};
    // Rounded up, so that a tick that is due in a moment is not spun for.
    const int wait_ms = static_cast<int>(absl::ToInt64Milliseconds(
        absl::Ceil(UntilTick(), absl::Milliseconds(1))));
    const int n = poll(fds, 2, wait_ms);
    if (n < 0 && errno != EINTR) {
      LOG(FATAL) << "poll: " << ErrnoStatus(errno, "poll", "events");
    }
    for (const Event& event : TakeMail()) Step(event);
    PumpSupervisor();
    if (UntilTick() <= absl::ZeroDuration()) RunTick();
  }
  supervisor_.reset();  // Kills what runs; its last words go to the logs.
  for (auto& [number, process] : processes_) CloseLog(process);
  processes_.clear();
}

void WorkerLoop::Step(const Event& event) {
  own_.push_back(event);
  // Effects may fail at once and give events of their own.
  for (size_t i = 0; i < own_.size(); ++i) {
    const Event next = std::move(own_[i]);
    for (const Effect& effect : core_->Step(next, parts_.clock.Monotonic())) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
  }
  own_.clear();
}

void WorkerLoop::RunTick() {
  last_tick_ = parts_.clock.Monotonic();
  Tick tick;
  for (const auto& [number, process] : processes_) {
    if (!process.busy) continue;
    const supervisor::ChildProgress progress =
        supervisor_->Progress(process.id);
    tick.children.push_back({number, progress.records, progress.input_bytes});
  }
  Step(tick);
  if (trim_at_ <= last_tick_) {
    trim_at_ = absl::InfiniteDuration();
    local_work_.Run(&GiveBackFreeMemory);
  }
}

// --------------------------------------------------------------- file work

void WorkerLoop::Do(const FetchBlob& effect) {
  parts_.blobs.Want(effect.sha256);
  blob_work_.Run([this, effect] {
    const absl::Status status = parts_.blobs.Get(effect.sha256);
    if (status.ok()) {
      Post(BlobReady{effect.sha256});
    } else {
      Post(BlobFailed{effect.sha256, status});
    }
  });
}

void WorkerLoop::Do(const TrimBlobs& effect) {
  // At once, so that what is wanted by the next effect is not taken.
  parts_.blobs.WantOnly(effect.keep);
  std::set<JobId> running;
  for (const auto& [number, process] : processes_) running.insert(process.job);
  local_work_.Run([this, running = std::move(running)] {
    parts_.blobs.Trim();
    TrimLogs(parts_.fs, layout_, running, options_.old_log_jobs_max,
             options_.log_bytes_max);
  });
}

void WorkerLoop::Do(const PrepareAttempt& effect) {
  const bool needs_store = effect.makes_staging || effect.writes_output;
  JobThreads& threads = needs_store ? store_work_ : local_work_;
  threads.Run(
      [this, effect] { Post(PrepareDirectories(parts_.fs, layout_, effect)); });
}

void WorkerLoop::Do(const PutPlan& effect) {
  blob_work_.Run(
      [this, effect] { Post(StorePlan(layout_, parts_.blobs, effect)); });
}

void WorkerLoop::Do(const RunCheck& effect) {
  store_work_.Run([this, effect] {
    Post(CheckOutput(parts_.fs, parts_.blobs, effect,
                     storage::kParanoidReaders));
  });
}

void WorkerLoop::Do(const RunPublish& effect) {
  store_work_.Run(
      [this, effect] { Post(PublishOutput(parts_.fs, parts_.blobs, effect)); });
}

void WorkerLoop::Do(const DeleteAttempt& effect) {
  local_work_.Run([this, effect] {
    WarnIfNot(RemoveAttemptFiles(parts_.fs, layout_.Spool(), effect.job,
                                 effect.attempt));
  });
  if (effect.output.empty()) return;
  store_work_.Run([this, effect] {
    WarnIfNot(parts_.fs.RemoveTree(
        OutputDirectory(effect.output, effect.job, effect.attempt)));
  });
}

void WorkerLoop::Do(const DeleteJob& effect) {
  trim_at_ = std::min(trim_at_, parts_.clock.Monotonic() + kTrimDelay);
  store_work_.Run([this, effect] {
    JobDeleted deleted = DeleteJobFiles(parts_.fs, layout_, effect);
    if (options_.on_job_deleted) options_.on_job_deleted(effect.job);
    Post(std::move(deleted));
  });
}

void WorkerLoop::Do(const MeasureDisk& effect) {
  local_work_.Run([this, effect] {
    const absl::StatusOr<uint64_t> free = parts_.fs.FreeBytes(layout_.Spool());
    if (!free.ok()) return;
    DiskMeasured measured{*free};
    for (const auto& [job, uid] : effect.attempts) {
      measured.written[uid] =
          AttemptFileBytes(parts_.fs, layout_.Spool(), job, uid);
    }
    Post(std::move(measured));
  });
}

// ------------------------------------------------------------------- others

void WorkerLoop::Do(const Send& effect) {
  if (FaultsSet() && effect.message.update().outcomes_size() > 0) {
    FaultPoint("worker.outcome");
  }
  parts_.link.Send(effect.stream, effect.message);
}

void WorkerLoop::Do(const CloseStream& effect) {
  parts_.link.Close(effect.stream);
}

void WorkerLoop::Do(const StartFetch& effect) {
  parts_.fetcher.StartReduce(effect.input);
}

void WorkerLoop::Do(const CancelFetch& effect) {
  parts_.fetcher.Cancel(effect.attempt);
}

void WorkerLoop::Do(const UpdateLocations& effect) {
  parts_.fetcher.UpdateLocations(effect.locations);
}

void WorkerLoop::Do(const ForgetFetches& effect) {
  parts_.fetcher.ForgetJob(effect.job);
}

void WorkerLoop::Do(const ForgetLocations&) {
  parts_.fetcher.ForgetLocations();
}

void WorkerLoop::Do(const BecomeIncarnation& effect) {
  parts_.fetcher.SetIncarnation(effect.incarnation);
}

void WorkerLoop::Do(const JoinCluster& effect) {
  const absl::Status status = parts_.directory.JoinCluster(effect.cluster);
  if (!status.ok()) Do(GiveUp{std::string(ToStd(status.message()))});
}

void WorkerLoop::Do(const Note& effect) {
  if (effect.warning) {
    LOG(WARNING) << effect.text;
  } else {
    LOG(INFO) << effect.text;
  }
}

void WorkerLoop::Do(const GiveUp& effect) {
  if (std::exchange(gave_up_, true)) return;
  on_give_up_(effect.message);
}

}  // namespace millrace::worker
