#include "master/state/task_table.h"

#include <algorithm>
#include <utility>

namespace millrace::master {

TaskChunk::TaskChunk(const TaskChunk& other)
    : tasks_(other.tasks_),
      reported_(other.reported_),
      reports_(other.reports_),
      gone_(other.gone_) {
  Grow(0);  // A chunk is copied because it is about to change.
}

const Task& TaskChunk::NewTask() {
  static const Task task;
  return task;
}

void TaskChunk::Grow(size_t more) {
  // Reports of one stage are of much the same length. So a chunk grows once or
  // twice, and when it is full it has no room left over.
  constexpr size_t kRoomMin = 256;
  constexpr size_t kRoomMax = 64 << 10;
  const size_t kept = reports_.size() - gone_;
  const size_t usual = (kept + more) / std::max<size_t>(reported_, 1);
  const size_t rest = (tasks_.size() - reported_) * usual;
  std::vector<char> grown;
  grown.reserve(kept + more +
                std::min(kRoomMax, std::max({kRoomMin, kept / 16, rest})));
  if (gone_ == 0) {
    grown.insert(grown.end(), reports_.begin(), reports_.end());
  } else {
    for (Task& task : tasks_) {
      const char* from = reports_.data() + task.report_at_;
      task.report_at_ = static_cast<uint32_t>(grown.size());
      grown.insert(grown.end(), from, from + task.report_bytes_);
    }
    gone_ = 0;
  }
  reports_ = std::move(grown);
}

void TaskChunk::SetReport(uint32_t at, std::string_view report) {
  Task& task = tasks_[at];
  reported_ += task.report_bytes_ == 0;
  gone_ += task.report_bytes_;
  task.report_bytes_ = 0;
  if (report.size() > reports_.capacity() - reports_.size()) {
    Grow(report.size());
  }
  task.report_at_ = static_cast<uint32_t>(reports_.size());
  task.report_bytes_ = static_cast<uint32_t>(report.size());
  reports_.insert(reports_.end(), report.begin(), report.end());
}

void TaskTable::Reset(uint32_t size) {
  size_ = size;
  chunks_.assign((size + TaskChunk::kTasks - 1) / TaskChunk::kTasks, {});
  chunks_.shrink_to_fit();
}

TaskChunk& TaskTable::MutableChunk(uint32_t index) {
  const uint32_t number = index / TaskChunk::kTasks;
  TaskChunk& chunk = chunks_[number].Mutable();
  chunk.Fill(std::min(TaskChunk::kTasks, size_ - number * TaskChunk::kTasks));
  return chunk;
}

}  // namespace millrace::master
