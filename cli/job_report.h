// What a command says when a job has ended, and the exit code that goes with
// it.
#ifndef MILLRACE_CLI_JOB_REPORT_H_
#define MILLRACE_CLI_JOB_REPORT_H_

#include <string>

#include "cli/exit_code.h"
#include "cli/job_format.h"
#include "proto/messages/client.pb.h"

namespace millrace::cli {

// Several lines with a final newline, as at the end of a local run: what was
// read and written, how fast, what was chosen and why, and the counters. Shows
// what `job` has: without spec no sizes.
std::string SuccessSummary(const proto::GetJobReply& job);

// One line without a newline: what failed, where, why, what to try.
std::string FailureLine(const proto::JobStatus& status);
// The stack and the end of the attempt's log, indented, or "".
std::string FailureDetails(const proto::JobFailure& failure);

// REQUIRES: the job has ended.
ExitCode ExitCodeOfJob(const proto::JobStatus& status);

// All of it, on stderr, for a job that has ended.
ExitCode ReportEnd(std::string_view command, const proto::GetJobReply& job);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_JOB_REPORT_H_
