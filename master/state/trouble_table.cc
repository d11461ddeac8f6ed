#include "master/state/trouble_table.h"

#include <algorithm>
#include <iterator>

namespace millrace::master {
namespace {

constexpr uint32_t kChunkTasks = 256;

TaskId ChunkOf(const TaskId& task) {
  return {task.kind, task.index / kChunkTasks};
}

}  // namespace

bool Trouble::Counted(const AttemptUid& uid) const {
  return std::any_of(counted.begin(), counted.end(),
                     [&uid](const auto& one) { return one.first == uid; });
}

const Trouble* TroubleTable::Find(const TaskId& task) const {
  const auto chunk = chunks_.find(ChunkOf(task));
  if (chunk == chunks_.end()) return nullptr;
  const auto found = chunk->second->find(task);
  return found == chunk->second->end() ? nullptr : &found->second;
}

Trouble& TroubleTable::Mutable(const TaskId& task) {
  const auto [at, added] = chunks_[ChunkOf(task)].Mutable().try_emplace(task);
  size_ += added;
  return at->second;
}

void TroubleTable::Shorten(size_t most) {
  while (size_ > most) {
    const auto last = std::prev(chunks_.end());
    const size_t surplus = size_ - most;
    if (last->second->size() <= surplus) {
      size_ -= last->second->size();
      chunks_.erase(last);
      continue;
    }
    Chunk& chunk = last->second.Mutable();
    chunk.erase(std::prev(chunk.end(), static_cast<ptrdiff_t>(surplus)),
                chunk.end());
    size_ = most;
  }
  for (auto& [first, chunk] : chunks_) {
    for (auto& [task, trouble] : chunk.Mutable()) {
      std::vector<std::pair<AttemptUid, WorkerNumber>>().swap(trouble.counted);
    }
  }
}

TroubleTable::Iterator TroubleTable::upper_bound(const TaskId& task) const {
  Iterator at(chunks_.lower_bound(ChunkOf(task)), chunks_.end());
  while (at != end() && at->first <= task) ++at;
  return at;
}

TroubleTable::Iterator::Iterator(Chunks::const_iterator chunk,
                                 Chunks::const_iterator end)
    : chunk_(chunk), end_(end) {
  if (chunk_ != end_) at_ = chunk_->second->begin();
}

TroubleTable::Iterator& TroubleTable::Iterator::operator++() {
  if (++at_ == chunk_->second->end() && ++chunk_ != end_) {
    at_ = chunk_->second->begin();
  }
  return *this;
}

}  // namespace millrace::master
