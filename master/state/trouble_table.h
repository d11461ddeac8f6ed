// The failures of a job's tasks: only tasks that had any are in it. A copy
// shares chunks of tasks with the original until one of them changes.
//
// Confined to whoever owns the table; see cow.h for its copies.
#ifndef MILLRACE_MASTER_STATE_TROUBLE_TABLE_H_
#define MILLRACE_MASTER_STATE_TROUBLE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "master/state/cow.h"
#include "master/state/task_id.h"
#include "master/state/worker_table.h"

namespace millrace::master {

// The failures of one task.
struct Trouble {
  uint32_t user_failures = 0;
  uint32_t infrastructure_failures = 0;
  // Attempts that can never win (again), with the worker each ran on: failed,
  // or made an output that was lost. Invariant: no uid is in it twice.
  std::vector<std::pair<AttemptUid, WorkerNumber>> counted;
  std::string last_message;

  bool Counted(const AttemptUid& uid) const;
};

class TroubleTable {
  // Neighbours: of one kind, with indexes that differ in their last bits.
  using Chunk = std::map<TaskId, Trouble>;
  using Chunks = std::map<TaskId, Cow<Chunk>>;  // By the first one's place.

 public:
  size_t size() const { return size_; }
  // Null: the task has had no failures.
  const Trouble* Find(const TaskId& task) const;

  // Made if it is not there. Good until a copy is made of the table; makes
  // references from before invalid, but for those from Mutable().
  Trouble& Mutable(const TaskId& task);
  // Forgets all but the first `most`, and of those the attempts.
  void Shorten(size_t most);

  // In the order of the tasks: pairs of TaskId and Trouble.
  class Iterator {
   public:
    const Chunk::value_type& operator*() const { return *at_; }
    const Chunk::value_type* operator->() const { return &*at_; }
    Iterator& operator++();
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.chunk_ == b.chunk_ && (a.chunk_ == a.end_ || a.at_ == b.at_);
    }

   private:
    friend class TroubleTable;
    Iterator(Chunks::const_iterator chunk, Chunks::const_iterator end);
    Chunks::const_iterator chunk_;
    Chunks::const_iterator end_;
    Chunk::const_iterator at_;
  };
  Iterator begin() const { return {chunks_.begin(), chunks_.end()}; }
  Iterator end() const { return {chunks_.end(), chunks_.end()}; }
  // The first behind `task`.
  Iterator upper_bound(const TaskId& task) const;

 private:
  size_t size_ = 0;
  Chunks chunks_;  // None is empty.
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_TROUBLE_TABLE_H_
