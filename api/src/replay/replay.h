// A job program in replay mode: it runs the attempt of a bundle.
//
//   PROGRAM --millrace-replay DIR [--in-process] [--prepare]
//
// The attempt runs in a job process, as on its worker, and what becomes of it
// is said as a local run says it; with --in-process in this thread, for a
// debugger.
// --prepare takes its input into the bundle, if that has not been done, and
// ends.
#ifndef MILLRACE_API_SRC_REPLAY_REPLAY_H_
#define MILLRACE_API_SRC_REPLAY_REPLAY_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/file_system.h"
#include "millrace/internal/job_definition.h"
#include "proto/messages/replay.pb.h"

namespace millrace::replay {

// argv[1] is kReplayArgument (common/bundle_names.h), argv[2] on are what
// stands above. Returns the process's exit code: 0 the attempt ended well, 1 it
// failed, 2 usage, 4 no bundle, 5 its input is not to be had.
int RunReplay(int argc, char** argv, const internal::JobDefinition& job);

// Makes the bundle of an attempt of this program, whose input is where `task`
// says, at `directory`, which does not exist yet. `head` has all but the task's
// input.
absl::Status KeepBundle(FileSystem& fs, const std::string& directory,
                        const proto::ReplayBundle& head,
                        const proto::RunTask& task);

}  // namespace millrace::replay

#endif  // MILLRACE_API_SRC_REPLAY_REPLAY_H_
