// The tasks of one stage of a job, which may be a million: 48 bytes each beside
// what the winner reported.
//
// They stand in chunks of 256, which copies of the table share until one of
// them changes (cow.h). A chunk takes memory when its first task changes. It
// holds what its winners have reported one behind the other, as it came:
//
//   tasks    [0] [1] [2] ... [255]     each knows where its report begins
//   reports  | of 1 | gone | of 0 | free |
//
// Confined to whoever owns the table; see cow.h for its copies.
#ifndef MILLRACE_MASTER_STATE_TASK_TABLE_H_
#define MILLRACE_MASTER_STATE_TASK_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "master/state/cow.h"
#include "master/state/worker_table.h"

namespace millrace::master {

// One map or reduce task: 48 bytes.
struct Task {
  AttemptUid uid;               // Of the winner; if there is none, of the last.
  std::array<char, 16> root{};  // Of the map output of `uid`.
  WorkerNumber worker = 0;      // That holds, or held, what `uid` made.
  uint16_t attempts = 0;        // Highest attempt number in the log, plus one.
  bool has_winner = false;
  bool had_winner = false;  // `uid`, `root` and its report mean something.

  std::string_view root_bytes() const { return {root.data(), root.size()}; }
  // As it was when its job was planned.
  bool untouched() const { return attempts == 0 && !had_winner; }

 private:
  friend class TaskChunk;
  // Its report, in the chunk.
  uint32_t report_at_ = 0;
  uint32_t report_bytes_ = 0;
};

class TaskChunk {
 public:
  static constexpr uint32_t kTasks = 256;

  TaskChunk() = default;
  TaskChunk(const TaskChunk& other);
  TaskChunk(TaskChunk&&) = default;
  TaskChunk& operator=(const TaskChunk&) = delete;

  const Task& operator[](uint32_t at) const {
    return at < tasks_.size() ? tasks_[at] : NewTask();
  }
  std::string_view Report(uint32_t at) const {
    const Task& task = (*this)[at];
    return {reports_.data() + task.report_at_, task.report_bytes_};
  }

  // The chunk has so many tasks. No-op the second time.
  void Fill(uint32_t tasks) {
    if (tasks_.empty()) tasks_.resize(tasks);
  }
  Task& Mutable(uint32_t at) { return tasks_[at]; }
  void SetReport(uint32_t at, std::string_view report);

 private:
  static const Task& NewTask();
  // Makes room for `more` bytes behind what is there.
  void Grow(size_t more);

  std::vector<Task> tasks_;
  uint32_t reported_ = 0;  // Tasks that have a report.
  std::vector<char> reports_;
  size_t gone_ = 0;  // Bytes in `reports_` that belong to no task any more.
};

class TaskTable {
 public:
  uint32_t size() const { return size_; }
  // All tasks as when a job is planned.
  void Reset(uint32_t size);

  const Task& operator[](uint32_t index) const {
    return (*ChunkOf(index))[index % TaskChunk::kTasks];
  }
  // What the winner, or the last one, has reported (packed_done.h); good until
  // the table changes.
  std::string_view Report(uint32_t index) const {
    return ChunkOf(index)->Report(index % TaskChunk::kTasks);
  }
  // No task of the index's chunk has ever changed.
  bool untouched(uint32_t index) const { return ChunkOf(index).untouched(); }

  // Good until a copy is made of the table. Makes references from before
  // invalid, but for those from Mutable().
  Task& Mutable(uint32_t index) {
    return MutableChunk(index).Mutable(index % TaskChunk::kTasks);
  }
  void SetReport(uint32_t index, std::string_view report) {
    MutableChunk(index).SetReport(index % TaskChunk::kTasks, report);
  }

  class Iterator {
   public:
    Iterator(const TaskTable& table, uint32_t at) : table_(&table), at_(at) {}
    const Task& operator*() const { return (*table_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const TaskTable* table_;
    uint32_t at_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size_}; }

 private:
  const Cow<TaskChunk>& ChunkOf(uint32_t index) const {
    return chunks_[index / TaskChunk::kTasks];
  }
  TaskChunk& MutableChunk(uint32_t index);

  uint32_t size_ = 0;
  std::vector<Cow<TaskChunk>> chunks_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_TASK_TABLE_H_
