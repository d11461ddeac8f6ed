// Whether a job can be accepted, as far as its specification alone tells.
#ifndef MILLRACE_MASTER_SERVICE_CHECK_SPEC_H_
#define MILLRACE_MASTER_SERVICE_CHECK_SPEC_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/messages/job.pb.h"

namespace millrace::master {

// kInvalidArgument, with one line that names the field, what it holds and what
// is expected. What needs the input or the store is found by the planning task.
absl::Status CheckSpec(const proto::JobSpec& spec);

// Fills in what the submitter left to the cluster (zeros, empty texts).
void FillDefaults(proto::JobSpec& spec);

// Raw hashes of the blobs that the job needs before it can run.
std::vector<std::string> BlobsOf(const proto::JobSpec& spec);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_CHECK_SPEC_H_
