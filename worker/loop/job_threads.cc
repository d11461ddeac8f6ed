#include "worker/loop/job_threads.h"

#include <utility>

namespace millrace::worker {

JobThreads::~JobThreads() { Finish(); }

void JobThreads::Run(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  if (finishing_) return;
  queue_.push_back(std::move(work));
  // An idle thread may have more than one piece of work waiting for it.
  if (static_cast<int>(queue_.size()) > idle_ &&
      static_cast<int>(threads_.size()) < threads_max_) {
    threads_.emplace_back([this] { Loop(); });
  }
}

void JobThreads::Loop() {
  absl::MutexLock lock(&mu_);
  while (true) {
    ++idle_;
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return finishing_ || !queue_.empty();
    };
    mu_.Await(absl::Condition(&ready));
    --idle_;
    if (finishing_) return;
    const std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    mu_.Unlock();
    work();
    mu_.Lock();
  }
}

void JobThreads::Finish() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mu_);
    finishing_ = true;
    queue_.clear();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace millrace::worker
