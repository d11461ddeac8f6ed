// What a job program says of itself: the first thing a submission needs, and
// the check that the file is a Millrace program of a version that this client
// and its cluster understand.
#ifndef MILLRACE_CLIENT_DESCRIBE_PROGRAM_H_
#define MILLRACE_CLIENT_DESCRIBE_PROGRAM_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/job_settings.h"
#include "proto/messages/job.pb.h"

namespace millrace::client {

struct ProgramDescription {
  proto::JobDescription job;
  JobShape shape;
  std::string input_type;       // "TextLine".
  std::string arguments_usage;  // What follows "--"; "": nothing.
};

struct DescribeOptions {
  absl::Duration timeout = absl::Seconds(10);  // Then the program is killed.
  size_t output_bytes_max = 1 << 20;
  Clock* clock = &Clock::Real();
};

// Runs `path --describe -- arguments`, without a shell, with no input, in a
// process group of its own, so that the job's own check of its arguments is
// done before anything is submitted. Blocks until the program has ended; one
// that does not end in time, or prints too much, is killed with its group.
//   kNotFound          there is no such file
//   kPermissionDenied  it may not be executed
//   kInvalidArgument   it is no Millrace program, or one of another version, or
//                      the arguments are wrong: the message is one line
absl::StatusOr<ProgramDescription> DescribeProgram(
    const std::string& path, const std::vector<std::string>& arguments,
    const DescribeOptions& options = {});

// The JSON that --describe prints. kInvalidArgument: it is not that, or is of a
// version that this client does not know.
absl::StatusOr<ProgramDescription> ParseDescription(std::string_view json);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_DESCRIBE_PROGRAM_H_
