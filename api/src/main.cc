#include "millrace/main.h"

#include <cstdio>
#include <cstring>

#include "api/src/describe.h"
#include "api/src/flags.h"
#include "api/src/local/local_run.h"
#include "api/src/replay/replay.h"
#include "api/src/task/task_mode.h"
#include "common/bundle_names.h"
#include "common/logging.h"

namespace millrace {

int Main(int argc, char** argv, internal::JobDefinition job) {
  if (argc >= 2 && std::strcmp(argv[1], task::kTaskModeArgument) == 0) {
    return task::RunTaskMode(job, argc >= 3 ? argv[2] : "");
  }
  if (argc >= 2 && std::strcmp(argv[1], kReplayArgument) == 0) {
    InitLogging(argv[0], /*min_severity=*/2);
    return replay::RunReplay(argc, argv, job);
  }
  const ParsedFlags parsed = ParseJobFlags(argc, argv, job);
  if (parsed.describe) {
    std::fputs(DescribeJob(job).c_str(), stdout);
    return kExitOk;
  }
  if (!parsed.run) return parsed.exit_code;
  InitLogging(argv[0], /*min_severity=*/2);
  return local::RunLocally(argv[0], job, parsed.flags);
}

}  // namespace millrace
