// What is known of each worker, by its number: in the order of numbers, as in a
// std::map, and found at once, as a step looks for the same few of thousands
// again and again. An element stays where it is.
//
// Confined to whoever owns the map.
#ifndef MILLRACE_MASTER_SCHEDULER_WORKER_MAP_H_
#define MILLRACE_MASTER_SCHEDULER_WORKER_MAP_H_

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "master/state/worker_table.h"

namespace millrace::master {

template <typename T>
class WorkerMap {
 public:
  WorkerMap() = default;
  WorkerMap(const WorkerMap&) = delete;
  WorkerMap& operator=(const WorkerMap&) = delete;

  // Named as the standard library's are, for its uses.
  using iterator = typename std::map<WorkerNumber, T>::iterator;
  using const_iterator = typename std::map<WorkerNumber, T>::const_iterator;

  iterator begin() { return elements_.begin(); }
  iterator end() { return elements_.end(); }
  const_iterator begin() const { return elements_.begin(); }
  const_iterator end() const { return elements_.end(); }
  bool empty() const { return elements_.empty(); }
  size_t size() const { return elements_.size(); }

  iterator find(WorkerNumber number) {
    return number < places_.size() ? places_[number] : end();
  }
  const_iterator find(WorkerNumber number) const {
    return number < places_.size() ? const_iterator(places_[number]) : end();
  }
  // REQUIRES: it is there.
  T& at(WorkerNumber number) {
    const iterator found = find(number);
    CHECK(found != end());
    return found->second;
  }
  T& operator[](WorkerNumber number) {
    if (number >= places_.size()) places_.resize(number + 1, end());
    if (places_[number] == end()) {
      places_[number] = elements_.try_emplace(number).first;
    }
    return places_[number]->second;
  }
  void erase(WorkerNumber number) {
    const iterator found = find(number);
    if (found == end()) return;
    elements_.erase(found);
    places_[number] = end();
  }
  void clear() {
    elements_.clear();
    places_.clear();
  }

 private:
  std::map<WorkerNumber, T> elements_;
  // Of each number up to the highest one; end(): it is not there.
  std::vector<iterator> places_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_WORKER_MAP_H_
