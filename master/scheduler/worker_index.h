// The workers in the orders in which decisions look for them, so that none of
// them costs time in the number of workers: the one with the most free slots,
// those whose queue has room, the one on which a reduce would wait least.
//
// What an order sorts by is a function of one SoftWorker (KeysOf). Whoever
// changes something of a worker that this function reads calls Update() before
// anything else is decided; the changes of attempts do so in SoftState.
// IndexFault() (testing/index_check.h) compares all this with a look at every
// worker.
//
// Orders that few steps look at are brought up to date when somebody does, for
// all workers that have changed since; most of these have what they had by
// then.
//
// Within an order workers that are equal stand by number, so decisions are
// those of a search in the order of numbers for the best one.
//
// Confined to the master loop.
#ifndef MILLRACE_MASTER_SCHEDULER_WORKER_INDEX_H_
#define MILLRACE_MASTER_SCHEDULER_WORKER_INDEX_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/time/time.h"
#include "common/logging.h"
#include "master/scheduler/options.h"
#include "master/state/worker_table.h"

namespace millrace::master {

struct SoftWorker;

// Workers by a key, the equal ones by number.
template <typename Key>
class WorkerOrder {
 public:
  struct Place {
    Key key;
    WorkerNumber number = 0;
    SoftWorker* worker = nullptr;

    friend bool operator<(const Place& a, const Place& b) {
      return a.key != b.key ? a.key < b.key : a.number < b.number;
    }
    friend bool operator==(const Place& a, const Place& b) {
      return a.key == b.key && a.number == b.number;
    }
  };
  using Places = absl::btree_set<Place>;

  // The worker moves from one key to another one; none: it is not in it.
  void Move(WorkerNumber number, SoftWorker* worker,
            const std::optional<Key>& from, const std::optional<Key>& to) {
    if (from == to) return;
    if (from.has_value()) CHECK(places_.erase({*from, number, worker}) == 1);
    if (to.has_value()) places_.insert({*to, number, worker});
  }

  const Places& places() const { return places_; }
  bool empty() const { return places_.empty(); }
  size_t size() const { return places_.size(); }
  void clear() { places_.clear(); }

  friend bool operator==(const WorkerOrder& a, const WorkerOrder& b) {
    return a.places_ == b.places_;
  }

 private:
  Places places_;
};

// Of a worker for one more reduce: it would wait for a slot; how busy the
// worker is, for each of its slots.
struct ReduceKey {
  bool waits = false;
  double load = 0;

  friend bool operator==(const ReduceKey&, const ReduceKey&) = default;
  friend auto operator<=>(const ReduceKey&, const ReduceKey&) = default;
};
// ... among workers that have reduces of the job already: after `waits` these
// for each slot.
struct JobReduceKey {
  bool waits = false;
  double of_job = 0;
  double load = 0;

  friend bool operator==(const JobReduceKey&, const JobReduceKey&) = default;
  friend auto operator<=>(const JobReduceKey&, const JobReduceKey&) = default;
};

// What the index knows of one worker at once.
struct WorkerKeys {
  bool sound = false;
  bool eligible = false;
  uint32_t slots = 0;  // Of an eligible one, as is what follows.
  uint32_t free = 0;
  uint32_t spare = 0;  // Free, and no reduce is about to want them.
  // Of any worker: maps that stand in its queue; attempts that are told to stop
  // while it has one.
  uint32_t queued = 0;
  uint32_t stopping = 0;

  std::optional<int64_t> most_free;  // Less its free slots.
  std::optional<bool> queue_room;
  std::optional<bool> overtakes;
  // When the last map in its queue was granted, and that one's order.
  std::optional<std::pair<absl::Duration, uint64_t>> last_queued;

  friend bool operator==(const WorkerKeys&, const WorkerKeys&) = default;
};

// ... and when it is asked for it.
struct LaterKeys {
  std::optional<int64_t> most_spare;  // Less its spare slots.
  std::optional<size_t> attempts;
  std::optional<uint32_t> taken;  // Of one that is connected.
  // For a reduce of a job whose maps have not all won; have all won.
  std::optional<ReduceKey> early_reduce;
  std::optional<ReduceKey> ready_reduce;

  friend bool operator==(const LaterKeys&, const LaterKeys&) = default;
};

// Reads what the worker counts of its attempts, not the attempts, but for the
// last one in its queue.
WorkerKeys KeysOf(const SchedulerOptions& options, const SoftWorker& worker);
// Likewise. `keys`: those of that worker.
LaterKeys LaterKeysOf(const SoftWorker& worker, const WorkerKeys& keys);
// Of a worker that has so many reduces of the job, at least one.
std::optional<JobReduceKey> JobReduceKeyOf(const SoftWorker& worker,
                                           const LaterKeys& keys,
                                           uint32_t of_job, bool ready);

class WorkerIndex {
 public:
  explicit WorkerIndex(const SchedulerOptions& options) : options_(options) {}

  // It has come, or something of it has changed.
  void Update(SoftWorker& worker);
  // It goes. Its attempts are gone before.
  void Remove(SoftWorker& worker);
  void Clear();

  // The worker has one reduce more or less of the job with that Job::index.
  // Update() follows.
  void AddReduce(SoftWorker& worker, uint64_t job);
  void RemoveReduce(SoftWorker& worker, uint64_t job);
  // Whether all maps of the job have won. Update() follows for every worker
  // that has reduces of it.
  void SetReady(uint64_t job, bool ready) { jobs_[job].ready = ready; }
  // The job has ended, and no worker has reduces of it any more.
  void ForgetJob(uint64_t job) { jobs_.erase(job); }

  // ------------------------------------------------------------------ sums
  // May be granted tasks: workers, their slots, those of the largest.
  size_t eligible() const { return eligible_; }
  uint32_t slots() const { return slots_; }
  uint32_t largest() const {
    return sizes_.empty() ? 0 : sizes_.rbegin()->first;
  }
  int64_t free() const { return free_; }
  int64_t spare() const { return spare_; }
  int64_t queued() const { return queued_; }
  int64_t stopping() const { return stopping_; }
  // Would be eligible, but for what has failed there.
  const std::set<WorkerNumber>& sound() const { return sound_; }
  // Goes up when those are others.
  uint64_t sound_changes() const { return sound_changes_; }

  // ---------------------------------------------------------------- orders
  // Of eligible workers, unless it says otherwise.

  // With free slots: the most first.
  const WorkerOrder<int64_t>& by_free() const { return by_free_; }
  // All slots are taken, no reduce waits, and the queue has room.
  const WorkerOrder<bool>& with_queue_room() const { return with_queue_room_; }
  // Reduces wait for a slot, and more of them than maps have overtaken them.
  const WorkerOrder<bool>& with_waiting() const { return with_waiting_; }
  // Connected, whether eligible or not, with maps in the queue beyond those
  // that are told to stop: the one whose last map was granted first.
  const WorkerOrder<std::pair<absl::Duration, uint64_t>>& by_last_queued()
      const {
    return by_last_queued_;
  }

  // Those that are brought up to date by being looked at: good until a worker
  // changes.

  // With spare slots: the most first.
  const WorkerOrder<int64_t>& by_spare() const {
    Settle();
    return by_spare_;
  }
  // The one with the fewest attempts first.
  const WorkerOrder<size_t>& by_attempts() const {
    Settle();
    return by_attempts_;
  }
  // Connected and not about to be lost: the fewest slots taken first.
  const WorkerOrder<uint32_t>& by_taken() const {
    Settle();
    return by_taken_;
  }
  // May have one more reduce.
  const WorkerOrder<ReduceKey>& for_reduce(bool ready) const {
    Settle();
    return ready ? for_ready_reduce_ : for_early_reduce_;
  }
  // ... and have some of that job.
  const WorkerOrder<JobReduceKey>& for_reduce_of(uint64_t job) const;

  // Brings them up to date.
  void Settle() const;

 private:
  struct JobReduces {
    bool ready = false;
    WorkerOrder<JobReduceKey> order;
  };

  // In the sums, or not any more (-1).
  void Count(const WorkerKeys& keys, int sign);
  void CountSound(WorkerNumber number, const WorkerKeys& from,
                  const WorkerKeys& to);
  void Move(SoftWorker& worker, const WorkerKeys& from, const WorkerKeys& to);
  void MoveLater(SoftWorker& worker, const LaterKeys& to) const;

  const SchedulerOptions& options_;
  size_t eligible_ = 0;
  uint32_t slots_ = 0;
  std::map<uint32_t, size_t> sizes_;  // Workers with so many slots.
  int64_t free_ = 0;
  int64_t spare_ = 0;
  int64_t queued_ = 0;
  int64_t stopping_ = 0;
  std::set<WorkerNumber> sound_;
  uint64_t sound_changes_ = 0;
  WorkerOrder<int64_t> by_free_;
  WorkerOrder<bool> with_queue_room_;
  WorkerOrder<bool> with_waiting_;
  WorkerOrder<std::pair<absl::Duration, uint64_t>> by_last_queued_;

  // What Settle() brings up to date, and the workers for which it has to: those
  // that are SoftWorker::unsettled.
  mutable std::vector<SoftWorker*> unsettled_;
  mutable WorkerOrder<int64_t> by_spare_;
  mutable WorkerOrder<size_t> by_attempts_;
  mutable WorkerOrder<uint32_t> by_taken_;
  mutable WorkerOrder<ReduceKey> for_early_reduce_;
  mutable WorkerOrder<ReduceKey> for_ready_reduce_;
  mutable std::map<uint64_t, JobReduces> jobs_;  // By Job::index.
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_WORKER_INDEX_H_
