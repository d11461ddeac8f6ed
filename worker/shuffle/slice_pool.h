// Buffers that carry file contents to the network. They come back when gRPC has
// let go of them, so what is out is what transfers hold in memory.
#ifndef MILLRACE_WORKER_SHUFFLE_SLICE_POOL_H_
#define MILLRACE_WORKER_SHUFFLE_SLICE_POOL_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace::worker {

// Thread-safe. Lives until its last buffer has come back.
class SlicePool : public std::enable_shared_from_this<SlicePool> {
 public:
  // Keeps up to `keep` free buffers of `slice_bytes`, and of those what it has
  // needed in the last kRound times that one was taken: what a burst has filled
  // is not held for ever.
  static constexpr size_t kRound = 256;
  static std::shared_ptr<SlicePool> Create(size_t slice_bytes, size_t keep) {
    return std::shared_ptr<SlicePool>(new SlicePool(slice_bytes, keep));
  }

  class Buffer {
   public:
    ~Buffer() { pool_->GiveBack(std::move(data_)); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    char* data() { return data_.get(); }

   private:
    friend class SlicePool;
    Buffer(std::shared_ptr<SlicePool> pool, std::unique_ptr<char[]> data)
        : pool_(std::move(pool)), data_(std::move(data)) {}
    // Second owner: whoever made the pool.
    const std::shared_ptr<SlicePool> pool_;
    std::unique_ptr<char[]> data_;
  };

  std::unique_ptr<Buffer> Take() ABSL_LOCKS_EXCLUDED(mu_) {
    std::unique_ptr<char[]> data;
    {
      const absl::MutexLock lock(&mu_);
      ++out_;
      if (!free_.empty()) {
        data = std::move(free_.back());
        free_.pop_back();
      }
      idle_ = std::min(idle_, free_.size());
      if (++taken_ == kRound) {
        free_.erase(free_.begin(),
                    free_.begin() + static_cast<ptrdiff_t>(idle_));
        idle_ = free_.size();
        taken_ = 0;
      }
    }
    if (data == nullptr) {
      data = std::make_unique_for_overwrite<char[]>(slice_bytes_);
    }
    return std::unique_ptr<Buffer>(
        new Buffer(shared_from_this(), std::move(data)));
  }

  size_t slice_bytes() const { return slice_bytes_; }
  size_t bytes_out() const ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return out_ * slice_bytes_;
  }
  size_t bytes_kept() const ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return free_.size() * slice_bytes_;
  }

 private:
  SlicePool(size_t slice_bytes, size_t keep)
      : slice_bytes_(slice_bytes), keep_(keep) {}

  void GiveBack(std::unique_ptr<char[]> data) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    --out_;
    if (free_.size() < keep_) free_.push_back(std::move(data));
  }

  const size_t slice_bytes_;
  const size_t keep_;
  mutable absl::Mutex mu_;
  size_t out_ ABSL_GUARDED_BY(mu_) = 0;
  // The last one is taken first.
  std::vector<std::unique_ptr<char[]>> free_ ABSL_GUARDED_BY(mu_);
  // Of this round: how often one was taken, and the fewest that were left.
  size_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  size_t idle_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_SLICE_POOL_H_
