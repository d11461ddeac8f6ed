#include "master/group/blob_keeper.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::master {

BlobKeeper::BlobKeeper(BlobStore& store, Clock& clock, Edges edges,
                       const Options& options)
    : store_(store),
      clock_(clock),
      edges_(std::move(edges)),
      options_(options),
      repair_at_(clock.Monotonic()),
      remove_at_(clock.Monotonic() + options.removal_interval) {}

BlobKeeper::~BlobKeeper() { Stop(); }

void BlobKeeper::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void BlobKeeper::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void BlobKeeper::Need(const std::vector<std::string>& blobs) {
  for (const std::string& sha256 : blobs) {
    if (store_.Has(sha256)) continue;
    absl::MutexLock lock(&mu_);
    missing_.emplace(sha256, clock_.Monotonic());
    news_ = true;
  }
}

void BlobKeeper::LookNow() {
  absl::MutexLock lock(&mu_);
  look_now_ = true;
}

void BlobKeeper::Loop() {
  const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || news_ || look_now_;
  };
  for (;;) {
    bool all = false;
    {
      absl::MutexLock lock(&mu_);
      absl::Duration next = std::min(repair_at_, remove_at_);
      for (const auto& [sha256, when] : missing_) next = std::min(next, when);
      mu_.AwaitWithTimeout(absl::Condition(&due), next - clock_.Monotonic());
      if (stopping_) return;
      all = std::exchange(look_now_, false);
      news_ = false;
    }
    const absl::Duration now = clock_.Monotonic();
    if (all || now >= repair_at_) {
      repair_at_ = now + options_.repair_interval;
      FindMissing();
    }
    FetchMissing();
    if (all || now >= remove_at_) {
      remove_at_ = now + options_.removal_interval;
      Remove();
    }
  }
}

void BlobKeeper::Repair() {
  FindMissing();
  FetchMissing();
}

void BlobKeeper::FindMissing() {
  std::set<std::string> named;
  if (!edges_.named(&named)) return;
  std::map<std::string, absl::Duration> missing;
  for (const std::string& sha256 : named) {
    if (!store_.Has(sha256)) missing.emplace(sha256, clock_.Monotonic());
  }
  absl::MutexLock lock(&mu_);
  // What is named no more need not be had; what is waited for, waits on.
  for (auto& [sha256, when] : missing) {
    const auto known = missing_.find(sha256);
    if (known != missing_.end()) when = known->second;
  }
  missing_ = std::move(missing);
}

void BlobKeeper::FetchMissing() {
  std::vector<std::string> due;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [sha256, when] : missing_) {
      if (when <= clock_.Monotonic()) due.push_back(sha256);
    }
  }
  for (const std::string& sha256 : due) {
    const absl::Status status = edges_.fetch(sha256);
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    if (status.ok()) {
      missing_.erase(sha256);
    } else {
      LOG_EVERY_N(WARNING, 100) << "not yet here: " << ToStd(status.message());
      missing_[sha256] = clock_.Monotonic() + options_.retry_interval;
    }
  }
}

void BlobKeeper::Remove() {
  std::set<std::string> named;
  if (!edges_.named(&named)) return;
  const absl::Duration now = clock_.Monotonic();
  std::map<std::string, absl::Duration> since;
  std::vector<std::string> unneeded;
  // Before the leader is asked: whoever relies on one from now on uses it.
  for (const std::string& sha256 : store_.TakeUnused()) {
    if (named.count(sha256) > 0) continue;
    const auto found = unneeded_since_.find(sha256);
    const absl::Duration first =
        found == unneeded_since_.end() ? now : found->second;
    since[sha256] = first;
    if (now - first >= options_.unneeded_for) unneeded.push_back(sha256);
  }
  unneeded_since_ = std::move(since);
  if (unneeded.empty()) return;
  for (const std::string& sha256 : edges_.release(unneeded)) {
    unneeded_since_.erase(sha256);
    const absl::Status removed = store_.RemoveUnused(sha256);
    LOG_IF(WARNING, !removed.ok())
        << "a blob that nothing needs stays: " << ToStd(removed.message());
  }
}

}  // namespace millrace::master
