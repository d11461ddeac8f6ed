#include "master/state/task_id.h"

#include "common/strings.h"

namespace millrace::master {

std::string ToString(const TaskId& task) {
  switch (task.kind) {
    case proto::MAP_TASK:
      return Cat("map ", task.index);
    case proto::REDUCE_TASK:
      return Cat("reduce ", task.index);
    case proto::PLAN_TASK:
      return "the plan";
    case proto::CHECK_TASK:
      return "the check";
    case proto::PUBLISH_TASK:
      return "the publication";
    default:
      return Cat("task of kind ", static_cast<int>(task.kind));
  }
}

std::string CutText(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return text.substr(0, end);
}

}  // namespace millrace::master
