// Tasks on the socket. A message has a limit, and the inputs of a reduce task
// have none: they go in several messages, and come out as one task.
#ifndef MILLRACE_SUPERVISOR_TASK_FRAMES_H_
#define MILLRACE_SUPERVISOR_TASK_FRAMES_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/messages/task.pb.h"
#include "supervisor/message_channel.h"

namespace millrace::supervisor {

// Map outputs in one message; with paths of ordinary length some 2 MB.
inline constexpr int kInputsPerMessage = 10'000;

// The frames that tell a child to run `task`.
// kResourceExhausted: it cannot be told (not for the number of its inputs).
absl::StatusOr<std::string> FrameTask(const proto::RunTask& task);

// The job process's end: the next command, a reduce task with all its inputs.
// Returns as BlockingChannel::Receive; also kDataLoss: inputs without a reduce
// task.
absl::StatusOr<bool> ReceiveCommand(BlockingChannel& channel,
                                    proto::TaskCommand* command);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_TASK_FRAMES_H_
