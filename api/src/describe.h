// What --describe prints: the job's description for the CLI and for people.
#ifndef MILLRACE_API_SRC_DESCRIBE_H_
#define MILLRACE_API_SRC_DESCRIBE_H_

#include <string>

#include "millrace/internal/job_definition.h"

namespace millrace {

// One JSON object with a final newline; its members are a contract.
std::string DescribeJob(const internal::JobDefinition& job);

}  // namespace millrace

#endif  // MILLRACE_API_SRC_DESCRIBE_H_
