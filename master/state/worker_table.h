// The worker incarnations of a cluster in the order in which they joined, the
// lost ones included. A copy copies a pointer for each 256 of them.
//
// Confined to whoever owns the table; see cow.h for its copies.
#ifndef MILLRACE_MASTER_STATE_WORKER_TABLE_H_
#define MILLRACE_MASTER_STATE_WORKER_TABLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "master/state/cow.h"

namespace millrace::master {

// Position of a worker incarnation in the order in which they joined. Compact
// where an incarnation would take 16 bytes; the same on all masters.
using WorkerNumber = uint32_t;

struct Worker {
  WorkerNumber number = 0;
  WorkerIncarnation incarnation;
  std::string name;
  std::string host_id;
  std::string address;
  uint32_t slots = 0;
  std::string version;
  bool alive = true;  // Joined and not lost.
};

class WorkerTable {
 public:
  uint32_t size() const { return size_; }
  // Good until the worker is lost.
  const Worker& operator[](WorkerNumber number) const { return *Slot(number); }
  // The worker as it is now, for as long as the caller likes to have it.
  std::shared_ptr<const Worker> Share(WorkerNumber number) const {
    return Slot(number);
  }

  // The worker gets the next number.
  const Worker& Add(Worker worker) {
    if (size_ % kChunk == 0) chunks_.emplace_back();
    worker.number = size_++;
    return *chunks_.back().Mutable().emplace_back(
        std::make_shared<const Worker>(std::move(worker)));
  }
  void SetLost(WorkerNumber number) {
    Worker lost = *Slot(number);
    lost.alive = false;
    chunks_[number / kChunk].Mutable()[number % kChunk] =
        std::make_shared<const Worker>(std::move(lost));
  }

 private:
  static constexpr uint32_t kChunk = 256;

  const std::shared_ptr<const Worker>& Slot(WorkerNumber number) const {
    return (*chunks_[number / kChunk])[number % kChunk];
  }

  uint32_t size_ = 0;
  // Shared with copies of the table and with those who asked for it.
  std::vector<Cow<std::vector<std::shared_ptr<const Worker>>>> chunks_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_WORKER_TABLE_H_
