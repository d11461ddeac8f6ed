#include "supervisor/task_frames.h"

#include <utility>

#include "common/status_macros.h"

namespace millrace::supervisor {

absl::StatusOr<std::string> FrameTask(const proto::RunTask& task) {
  std::string frames;
  proto::TaskCommand command;
  const auto& inputs = task.reduce().map_outputs();
  int told = 0;
  while (inputs.size() - told > kInputsPerMessage) {
    auto* part = command.mutable_inputs()->mutable_map_outputs();
    part->Clear();
    part->Add(inputs.begin() + told, inputs.begin() + told + kInputsPerMessage);
    told += kInputsPerMessage;
    MR_ASSIGN_OR_RETURN(const std::string frame, FrameMessage(command));
    frames += frame;
  }
  *command.mutable_run() = task;
  if (told > 0) {
    command.mutable_run()
        ->mutable_reduce()
        ->mutable_map_outputs()
        ->DeleteSubrange(0, told);
  }
  MR_ASSIGN_OR_RETURN(const std::string frame, FrameMessage(command));
  frames += frame;
  return frames;
}

absl::StatusOr<bool> ReceiveCommand(BlockingChannel& channel,
                                    proto::TaskCommand* command) {
  proto::ReduceInputs inputs;
  for (;;) {
    command->Clear();
    MR_ASSIGN_OR_RETURN(const bool more, channel.Receive(command));
    if (command->has_inputs()) {
      inputs.mutable_map_outputs()->MergeFrom(
          std::move(*command->mutable_inputs()->mutable_map_outputs()));
      continue;
    }
    if (inputs.map_outputs().empty()) return more;
    if (!command->run().has_reduce()) {
      return absl::DataLossError("inputs of a reduce task, and no such task");
    }
    proto::ReduceTask& reduce = *command->mutable_run()->mutable_reduce();
    inputs.mutable_map_outputs()->MergeFrom(reduce.map_outputs());
    reduce.mutable_map_outputs()->Swap(inputs.mutable_map_outputs());
    return more;
  }
}

}  // namespace millrace::supervisor
