// Threads for work that may block: one pool for the local disk, one for the
// stores, one for blobs, so that what hangs holds up its own kind alone.
#ifndef MILLRACE_WORKER_LOOP_JOB_THREADS_H_
#define MILLRACE_WORKER_LOOP_JOB_THREADS_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace::worker {

// Thread-safe. Work begins in the order in which it was handed over, as soon as
// one of `threads_max` threads is free; threads are started when there is work
// for them, and kept.
class JobThreads {
 public:
  explicit JobThreads(int threads_max) : threads_max_(threads_max) {}
  // As Finish().
  ~JobThreads();
  JobThreads(const JobThreads&) = delete;
  JobThreads& operator=(const JobThreads&) = delete;

  // After Finish has begun, nothing is run any more.
  void Run(std::function<void()> work) ABSL_LOCKS_EXCLUDED(mu_);

  // Waits for the work that has begun; what has not is dropped. May be called
  // again.
  void Finish() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mu_);

  const int threads_max_;
  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  int idle_ ABSL_GUARDED_BY(mu_) = 0;
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_LOOP_JOB_THREADS_H_
