// Which blobs the jobs of a cluster need.
#ifndef MILLRACE_MASTER_SERVICE_NAMED_BLOBS_H_
#define MILLRACE_MASTER_SERVICE_NAMED_BLOBS_H_

#include <set>
#include <string>

#include "master/state/state.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::master {

// Raw hashes of all that retained jobs name.
std::set<std::string> NamedBlobs(const State& state);
// Of what an entry adds to that.
std::set<std::string> NamedBlobs(const proto::LogEntry& entry);
// Takes back one of those who count on it.
void EraseOneBlob(std::multiset<std::string>& blobs, const std::string& sha256);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_NAMED_BLOBS_H_
