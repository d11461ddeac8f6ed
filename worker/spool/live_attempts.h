// Which attempts execute now: their logs may still grow.
#ifndef MILLRACE_WORKER_SPOOL_LIVE_ATTEMPTS_H_
#define MILLRACE_WORKER_SPOOL_LIVE_ATTEMPTS_H_

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/ids.h"

namespace millrace::worker {

// Thread-safe: the loop writes, the server that follows logs reads.
class LiveAttempts {
 public:
  void Add(const AttemptUid& uid) {
    absl::MutexLock lock(&mu_);
    uids_.insert(uid);
  }
  void Remove(const AttemptUid& uid) {
    absl::MutexLock lock(&mu_);
    uids_.erase(uid);
  }
  bool Contains(const AttemptUid& uid) const {
    absl::MutexLock lock(&mu_);
    return uids_.contains(uid);
  }

 private:
  mutable absl::Mutex mu_;
  std::set<AttemptUid> uids_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_LIVE_ATTEMPTS_H_
