// The name of a task within its job.
#ifndef MILLRACE_MASTER_STATE_TASK_ID_H_
#define MILLRACE_MASTER_STATE_TASK_ID_H_

#include <compare>
#include <cstdint>
#include <string>

#include "proto/messages/job.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

struct TaskId {
  proto::TaskKind kind = proto::PLAN_TASK;
  uint32_t index = 0;  // Map index or partition; 0 for the other kinds.

  static TaskId From(const proto::TaskName& name) {
    return {name.kind(), name.index()};
  }
  void To(proto::TaskName* name) const {
    name->set_kind(kind);
    name->set_index(index);
  }
  friend auto operator<=>(const TaskId&, const TaskId&) = default;
};

// "map 17", "reduce 3", "the plan", "the check", "the publication".
std::string ToString(const TaskId& task);

// The first `bytes_max` bytes of a text, or somewhat less: whole characters of
// UTF-8, since a message with half of one is not read by Protobuf.
std::string CutText(const std::string& text, size_t bytes_max);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_TASK_ID_H_
