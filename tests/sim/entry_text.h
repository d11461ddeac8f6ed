// Entries of the log and attempts in one line, for the story of a seed.
#ifndef MILLRACE_TESTS_SIM_ENTRY_TEXT_H_
#define MILLRACE_TESTS_SIM_ENTRY_TEXT_H_

#include <string>

#include "proto/messages/job.pb.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::sim {

std::string Text(const proto::AttemptRef& ref);
std::string Text(const proto::LogEntry& entry);

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_ENTRY_TEXT_H_
