#include "master/service/blob_keeper.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/service/check_spec.h"

namespace millrace::master {
namespace {

constexpr absl::Duration kAnswerTimeout = absl::Seconds(10);

}  // namespace

BlobKeeper::BlobKeeper(MasterLoop& loop, Clock& clock)
    : BlobKeeper(loop, clock, Options()) {}

BlobKeeper::BlobKeeper(MasterLoop& loop, Clock& clock, const Options& options)
    : loop_(loop), clock_(clock), options_(options) {}

BlobKeeper::~BlobKeeper() { Stop(); }

void BlobKeeper::Start(BlobStore& blobs) {
  thread_ = std::thread([this, &blobs] {
    for (;;) {
      {
        absl::MutexLock lock(&mu_);
        if (mu_.AwaitWithTimeout(absl::Condition(&stopping_),
                                 options_.interval)) {
          return;
        }
      }
      if (const auto needed = AskLoop()) Look(blobs, *needed);
    }
  });
}

std::optional<std::set<std::string>> BlobKeeper::AskLoop() {
  // Shared with the loop, which may answer when nobody waits any more.
  struct Answer {
    absl::Notification given;
    bool leading = false;
    std::set<std::string> needed;
  };
  const auto answer = std::make_shared<Answer>();
  loop_.Read([answer](const absl::Status& leading, const State& state,
                      const SchedulerCore&) {
    answer->leading = leading.ok();
    if (answer->leading) answer->needed = NeededBlobs(state);
    answer->given.Notify();
  });
  if (!answer->given.WaitForNotificationWithTimeout(kAnswerTimeout) ||
      !answer->leading) {
    return std::nullopt;
  }
  return std::move(answer->needed);
}

void BlobKeeper::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void BlobKeeper::Look(BlobStore& blobs, const std::set<std::string>& needed) {
  const absl::Duration now = clock_.Monotonic();
  std::map<std::string, absl::Duration> since;
  for (const std::string& sha256 : blobs.TakeUnused()) {
    if (needed.count(sha256) > 0) continue;
    const auto found = unneeded_since_.find(sha256);
    const absl::Duration first =
        found == unneeded_since_.end() ? now : found->second;
    if (now - first < options_.unneeded_for) {
      since[sha256] = first;
      continue;
    }
    const absl::Status removed = blobs.RemoveUnused(sha256);
    LOG_IF(WARNING, !removed.ok())
        << "a blob that nothing needs stays: " << ToStd(removed.message());
  }
  unneeded_since_ = std::move(since);
}

std::set<std::string> NeededBlobs(const State& state) {
  std::set<std::string> needed;
  for (const auto& [index, job] : state.jobs()) {
    for (std::string& sha256 : BlobsOf(*job->spec)) {
      needed.insert(std::move(sha256));
    }
    if (!job->plan_sha256.empty()) needed.insert(job->plan_sha256);
    if (!job->manifest_sha256.empty()) needed.insert(job->manifest_sha256);
  }
  return needed;
}

}  // namespace millrace::master
