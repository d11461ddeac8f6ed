// What a winner reported, in few bytes: a cluster may hold millions.
//
//   flags        1 byte    bit 0: the path of the output file lacks its first
//                          part, which is the job's output path
//   length       varint    of the following
//   report       bytes     TaskDone without uid, root and counters
//   counters     pairs of varints until the end: the counter's number in
//                Job::counter_names, its value in zigzag form
//
// In memory alone; no other process reads it.
#ifndef MILLRACE_MASTER_STATE_PACKED_DONE_H_
#define MILLRACE_MASTER_STATE_PACKED_DONE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "master/state/job.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

// May give new counters a number in `job`.
std::string PackDone(const proto::TaskDone& done, Job* job);

struct UnpackedDone {
  proto::TaskDone done;  // As it was, without counters and root.
  std::vector<std::pair<uint32_t, int64_t>> counters;  // By number.
};
// What the last winner of `task` reported. REQUIRES: task.had_winner.
UnpackedDone UnpackDone(const Job& job, const Task& task);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_PACKED_DONE_H_
