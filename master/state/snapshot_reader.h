// State::Restore: a state from the bytes of its snapshot. Lives as long as that
// call.
//
// The checksum at the end of the stream finds damage; what stands in it is
// checked all the same, so that a state comes out that Apply() could have made:
// every number within its limits and every reference to something that is
// there, the counts of done tasks and the sums over the winners as the tasks
// say, the parts of a job as its state demands. Whatever is not so is
// kDataLoss; no stream, damaged or forged, brings the process down, now or
// later.
#ifndef MILLRACE_MASTER_STATE_SNAPSHOT_READER_H_
#define MILLRACE_MASTER_STATE_SNAPSHOT_READER_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "master/state/snapshot_stream.h"
#include "master/state/state.h"
#include "proto/messages/state_snapshot.pb.h"

namespace millrace::master {

class SnapshotReader {
 public:
  // Fills `state`, which is new. After an error it is of no use.
  SnapshotReader(ByteSource& source, State& state)
      : input_(source), state_(state) {}

  absl::Status Read();

 private:
  using Case = proto::SnapshotPart::PartCase;

  // The next part, which is of that kind, into part_.
  absl::Status Next(Case part);

  absl::Status ReadWorkers(uint32_t count);
  absl::Status ReadDraining(uint32_t count);

  absl::Status ReadJob();
  // The parts of job_, each checked by itself.
  absl::Status ReadJobHead();
  absl::Status ReadSpec();
  absl::Status ReadCounters(uint32_t count);
  absl::Status ReadTroubles(uint32_t count);
  absl::Status ReadFailures(uint32_t count);
  absl::Status ReadBadRecords(uint32_t count);
  absl::Status ReadTasks(uint32_t count);
  absl::Status AddTasks(const proto::SnapshotTasks& from, TaskId* next);
  absl::Status AddTask(const proto::SnapshotTasks& from, int item,
                       std::string_view report, const TaskId& id);
  // ... and what they say of each other.
  absl::Status CheckStage() const;
  absl::Status CheckTasks() const;

  bool KnownWorker(uint32_t number) const;
  // Of a task of job_ that may have failed.
  bool KnownTask(const TaskId& task) const;
  absl::Status BadJob(std::string_view what) const;

  SnapshotInput input_;
  State& state_;
  proto::SnapshotPart part_;
  uint64_t last_index_ = 0;  // Of the job before.

  // Of the job that is being read.
  std::unique_ptr<Job> job_;
  Totals rest_;  // Its sums without the winners that were read: zero at last.
  // Of the tasks that were read.
  uint32_t touched_ = 0;
  uint64_t attempts_ = 0;
  uint32_t maps_done_ = 0;
  uint32_t reduces_done_ = 0;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_SNAPSHOT_READER_H_
