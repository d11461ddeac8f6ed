// From what a user asks for to what a cluster is told: a complete JobSpec and
// the files that have to be there before it.
#ifndef MILLRACE_CLIENT_JOB_REQUEST_H_
#define MILLRACE_CLIENT_JOB_REQUEST_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/describe_program.h"
#include "common/file_system.h"
#include "common/job_settings.h"
#include "proto/messages/job.pb.h"

namespace millrace::client {

struct JobRequest {
  std::string program;  // Path of the job binary on this machine.
  std::vector<std::string> arguments;  // Behind "--".
  std::string name;  // Shown to people; empty: the program's own.
  std::string user;  // Who submits, for people.
  JobSettings settings;
  // False for a repeated submit of a job that may have ended meanwhile: its
  // own output is then no reason to refuse it.
  bool refuse_existing_output = true;
};

struct PreparedJob {
  proto::JobSpec spec;
  // SHA-256 (32 raw bytes) -> path on this machine: program and side files.
  std::map<std::string, std::string> blobs;
};

// Makes every path absolute, hashes the program and the side files, and fills
// in the specification. Reads the files; changes nothing.
//   kAlreadyExists     something is at the output path on this machine, whose
//                      store may be the workers' own: it is never overwritten
//   kNotFound, kPermissionDenied   a side file or the program cannot be read
//   kInvalidArgument   what no cluster would take: the message names the flag
absl::StatusOr<PreparedJob> PrepareJob(FileSystem& fs,
                                       const std::string& working_directory,
                                       const ProgramDescription& description,
                                       const JobRequest& request);

// `path` as seen from `working_directory`, without empty and "." components and
// trailing separators. ".." stays: behind a symbolic link it is not what it
// looks like.
std::string AbsolutePath(const std::string& working_directory,
                         std::string_view path);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_JOB_REQUEST_H_
