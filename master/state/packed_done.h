// What a winner reported, in few bytes: a cluster may hold millions.
//
//   flags        1 byte    bit 0: the path of the output file lacks its first
//                          part, which is the job's output path
//   length       varint    of the following
//   report       bytes     TaskDone without uid, root and counters
//   counters     pairs of varints until the end: the counter's number in
//                Job::counter_names, its value in zigzag form
//
// In memory and in snapshots of the state, so a change of it is a change of
// their version.
#ifndef MILLRACE_MASTER_STATE_PACKED_DONE_H_
#define MILLRACE_MASTER_STATE_PACKED_DONE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "master/state/job.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

struct PackedDone {
  std::string bytes;
  NumberedCounters counters;
};
// May give new counters a number in `job`.
PackedDone PackDone(const proto::TaskDone& done, Job* job);

struct UnpackedDone {
  proto::TaskDone done;  // As it was, without counters and root.
  NumberedCounters counters;
};
// What the last winner of a map or reduce reported. REQUIRES: it had one.
UnpackedDone UnpackDone(const Job& job, const TaskId& task);

// Likewise, of bytes that come from elsewhere; none: PackDone() makes no such
// bytes for this job.
std::optional<UnpackedDone> TryUnpackDone(const Job& job, const TaskId& task);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_PACKED_DONE_H_
