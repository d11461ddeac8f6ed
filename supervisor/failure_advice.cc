#include "supervisor/failure_advice.h"

namespace millrace::supervisor {

std::string_view AdviceFor(proto::FailureCause cause, RanOn where) {
  const bool cluster = where == RanOn::kCluster;
  switch (cause) {
    case proto::USER_EXCEPTION:
    case proto::CRASHED:
      return cluster ? "run that task here, on its input, under a debugger: "
                       "millrace replay JOB TASK --gdb"
                     : "run with --in-process under a debugger to stop there, "
                       "or --keep-bundle it for millrace replay";
    case proto::EXITED:
      return "user code must return, not end the process";
    case proto::TASK_TIMEOUT:
      return "if the work is slow rather than stuck, raise the limit that the "
             "message names, or call Context::Progress() if it is "
             "--task-timeout";
    case proto::MEMORY_LIMIT:
      return "hold less in memory, or raise --memory-limit";
    case proto::LOG_LIMIT:
      return "print less, or raise --log-limit";
    case proto::OUTPUT_LIMIT:
      return "emit less, or raise --output-limit";
    case proto::PROCESS_LIMIT:
      return "start fewer processes, or wait for those that are started";
    case proto::BAD_RECORD_LIMIT:
      return "mend the mapper, or raise --skip-bad-records";
    case proto::BAD_PARTITION:
      return "a partitioner must answer with 0 to N - 1 for N partitions";
    case proto::INPUT_CHANGED:
      return "run again when nothing writes to the input";
    case proto::INPUT_UNREADABLE:
      return cluster ? "check that the workers can read every input file"
                     : "check that every input file can be read";
    case proto::INPUT_INVALID:
      return cluster ? "check the paths as the workers see them" : "";
    case proto::DISK_FULL:
      return cluster ? "free some space on the workers and run again"
                     : "free some space and run again";
    case proto::NO_DESCRIPTORS:
      return cluster ? "raise the limit of open files of the workers (ulimit "
                       "-n, LimitNOFILE) and run again"
                     : "raise the limit of open files (ulimit -n) and run "
                       "again";
    case proto::NO_MEMORY:
      return cluster ? "give the workers fewer slots or the job less --memory, "
                       "and run again"
                     : "end other programs, or use fewer --slots or less "
                       "--memory, and run again";
    case proto::MAP_OUTPUT_LOST:
      return cluster ? ""
                     : "the disk of the scratch directory damages or loses "
                       "files; check it or use another with --scratch";
    case proto::NONDETERMINISTIC_MAP:
      return "map code must give the same records each time: look for clocks, "
             "random numbers, hash order and addresses in it";
    case proto::INFRASTRUCTURE:
      return cluster ? "see the state of the workers: millrace worker list"
                     : "check the disk of the scratch directory, or name "
                       "another with --scratch";
    case proto::INTERNAL:
    case proto::LEDGER_MISMATCH:
      return "this is a bug in Millrace; please report it with this message";
    default:
      return "";
  }
}

}  // namespace millrace::supervisor
