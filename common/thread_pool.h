// A few threads for work that may block, so that those who must not block (loop
// threads, gRPC's callbacks) need not.
#ifndef MILLRACE_COMMON_THREAD_POOL_H_
#define MILLRACE_COMMON_THREAD_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace {

// Runs what it is given in order of arrival, on `threads` threads. The queue is
// not bounded: callers bound how much they have under way. Thread-safe.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  // Runs what is queued, then ends the threads.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(std::function<void()> work) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Loop();

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_THREAD_POOL_H_
