// What the commands show of jobs, as JSON and as text. The members of the JSON
// objects are a contract (design section 10): they may be added to, never
// renamed, removed or given another meaning. Times are RFC 3339 in UTC with
// milliseconds, null while they are not known; sizes are bytes.
#ifndef MILLRACE_CLI_JOB_FORMAT_H_
#define MILLRACE_CLI_JOB_FORMAT_H_

#include <google/protobuf/repeated_field.h>

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "proto/messages/client.pb.h"

namespace millrace::cli {

using Counters = google::protobuf::RepeatedPtrField<proto::Counter>;
using Json = nlohmann::ordered_json;

Json JobJson(const proto::JobStatus& status);
// The status, specification, sizes, failure with its stack, tasks, counters.
Json JobDetailJson(const proto::GetJobReply& job);
Json CountersJson(const Counters& counters);
Json WorkerJson(const proto::WorkerStatus& worker);
Json MasterJson(const proto::MasterStatus& master);

// `now` is for the elapsed time of what has not ended.
std::string JobsTable(const std::vector<proto::JobStatus>& jobs, bool wide,
                      absl::Time now);
std::string JobText(const proto::JobStatus& status, absl::Time now);
std::string JobDetailText(const proto::GetJobReply& job, absl::Time now);
// What was chosen for a job, why, and how to choose otherwise, one line each.
// None without its spec, or before it has a plan.
std::vector<std::string> SizesOf(const proto::GetJobReply& job);
// The same below one another, behind a label.
std::string SizesText(const proto::GetJobReply& job);
std::string CountersTable(const Counters& counters);
std::string WorkersTable(const std::vector<proto::WorkerStatus>& workers,
                         bool wide);
std::string MastersTable(const proto::ClusterReply& cluster, bool wide);

// "3f9a2c1b".
std::string ShortId(std::string_view job_id);
// "m17", "r3", "plan", "check", "publish"; and back.
std::string TaskText(const proto::TaskName& task);
std::optional<proto::TaskName> ParseTask(std::string_view text);
// "m17/2": the third attempt of map task 17.
std::string AttemptText(const proto::AttemptRef& attempt);
// From the start, or the submit if it never started, to the end or now.
absl::Duration Elapsed(const proto::JobStatus& status, absl::Time now);
// "4.2 s", "3 min 5 s", "2 h 7 min", "3 d 4 h".
std::string HumanDuration(absl::Duration duration);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_JOB_FORMAT_H_
