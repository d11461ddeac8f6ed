// Verified indexes of map outputs, kept for whoever asks next: as long as their
// job is there and there is room.
#ifndef MILLRACE_WORKER_SHUFFLE_INDEX_CACHE_H_
#define MILLRACE_WORKER_SHUFFLE_INDEX_CACHE_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <utility>

#include "common/ids.h"

namespace millrace::worker {

// Thread-compatible.
template <typename Index>
class IndexCache {
 public:
  // What is kept of one beside its rows, in rows of 56 bytes.
  static constexpr uint64_t kRowsOfEach = 6;

  explicit IndexCache(uint64_t rows_max) : rows_max_(rows_max) {}

  // Null: it is not there.
  std::shared_ptr<const Index> Find(const JobId& job, const AttemptUid& uid) {
    const auto it = entries_.find({job, uid});
    if (it == entries_.end()) return nullptr;
    use_.splice(use_.end(), use_, it->second.use);
    return it->second.index;
  }

  // In place of one that was kept for the attempt. Lets go of those that were
  // not used for longest; this one stays, however large.
  void Keep(const JobId& job, const AttemptUid& uid,
            std::shared_ptr<const Index> index, uint64_t rows) {
    const Key key = {job, uid};
    Erase(entries_.find(key));
    rows += kRowsOfEach;
    rows_ += rows;
    entries_[key] = {std::move(index), rows, use_.insert(use_.end(), key)};
    while (rows_ > rows_max_ && entries_.size() > 1) {
      Erase(entries_.find(use_.front()));
    }
  }

  void ForgetJob(const JobId& job) {
    auto it = entries_.lower_bound({job, AttemptUid()});
    while (it != entries_.end() && it->first.first == job) it = Erase(it);
  }

 private:
  using Key = std::pair<JobId, AttemptUid>;
  struct Entry {
    std::shared_ptr<const Index> index;
    uint64_t rows = 0;
    typename std::list<Key>::iterator use;
  };
  using Entries = std::map<Key, Entry>;

  typename Entries::iterator Erase(typename Entries::iterator it) {
    if (it == entries_.end()) return it;
    rows_ -= it->second.rows;
    use_.erase(it->second.use);
    return entries_.erase(it);
  }

  const uint64_t rows_max_;
  Entries entries_;
  std::list<Key> use_;  // Least recently used first.
  uint64_t rows_ = 0;   // Of all entries.
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_INDEX_CACHE_H_
