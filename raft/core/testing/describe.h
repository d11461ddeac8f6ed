// Messages, entries and states as text, in the words of etcd-raft's interaction
// tests, so that its transcripts can be compared with.
#ifndef MILLRACE_RAFT_CORE_TESTING_DESCRIBE_H_
#define MILLRACE_RAFT_CORE_TESTING_DESCRIBE_H_

#include <string>

#include "raft/core/core.h"
#include "raft/core/message.h"
#include "raft/core/types.h"

namespace millrace::raft {

std::string DescribeRole(Role role);
// "1/12 EntryNormal "x"".
std::string DescribeEntry(const LogEntry& entry);
// A line for each.
std::string DescribeEntries(const std::vector<LogEntry>& entries);
// "1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[...]". Perhaps several lines,
// without the last end of line.
std::string DescribeMessage(const Message& message);
std::string DescribeHardState(const HardState& state);
std::string DescribeSnapshot(const SnapshotMeta& snapshot);
// "StateReplicate match=14 next=17 paused inflight=2[full]".
std::string DescribeProgress(const ProgressStatus& progress);
// "voters=(1 2) learners=(3)".
std::string DescribeMembership(const Membership& membership);
// "v1", "l2", "r3", "u4".
std::string DescribeChange(const MembershipChange& change);
// The other way round. Fails the test if it is none; kNone for member 0.
MembershipChange ParseChange(const std::string& text);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_DESCRIBE_H_
