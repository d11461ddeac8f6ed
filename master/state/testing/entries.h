// Log entries for tests, short to write.
#ifndef MILLRACE_MASTER_STATE_TESTING_ENTRIES_H_
#define MILLRACE_MASTER_STATE_TESTING_ENTRIES_H_

#include <cstdint>
#include <string>

#include "master/state/state.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::master::testing {

// Ids from small numbers; zero stays zero.
template <typename Id>
Id MakeId(uint64_t n) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) bytes[15 - i] = static_cast<char>(n >> (8 * i));
  return *Id::FromBytes(bytes);
}
std::string Bytes(uint64_t n);  // Of such an id.

// What jobs of Submitted() may pass over.
inline constexpr uint32_t kBadRecordsOfJobs = 3;

proto::TaskDone MapDone(uint64_t records, uint64_t root);
proto::TaskDone ReduceDone(uint64_t fetched, const std::string& path);

proto::LogEntry TermStarted(uint64_t cluster = 1);
proto::LogEntry Submitted(uint64_t job, const std::string& output,
                          uint64_t request = 0);
proto::LogEntry Planned(uint64_t job, uint64_t uid, uint64_t worker,
                        uint32_t maps, uint32_t partitions);
proto::LogEntry MapWon(uint64_t job, uint32_t map, uint64_t uid,
                       uint64_t worker, const proto::TaskDone& done);
proto::LogEntry MapReoffered(uint64_t job, uint32_t map, uint64_t uid,
                             uint64_t root, uint64_t worker);
proto::LogEntry ReduceWon(uint64_t job, uint32_t partition, uint64_t uid,
                          uint64_t worker, uint32_t epoch,
                          const proto::TaskDone& done);
proto::LogEntry AttemptFailed(uint64_t job, const TaskId& task, uint64_t uid,
                              uint64_t worker, proto::FailureCause cause,
                              bool retryable = true);
proto::LogEntry RecordPassedOver(uint64_t job, uint32_t map, uint64_t uid,
                                 uint64_t worker, uint64_t offset);
proto::LogEntry MapLost(uint64_t job, uint32_t map, uint64_t uid);
proto::LogEntry OutputLost(uint64_t job, const TaskId& task, uint64_t uid);
proto::LogEntry WorkerJoined(uint64_t worker, const std::string& name,
                             uint32_t slots = 2);
proto::LogEntry WorkerLost(uint64_t worker);
proto::LogEntry WorkerDrained(const std::string& name, bool draining);
proto::LogEntry Decided(uint64_t job, const std::string& winners_hash);
proto::LogEntry Committed(uint64_t job);
proto::LogEntry Cancelled(uint64_t job);
proto::LogEntry Failed(uint64_t job, proto::FailureCause cause);
proto::LogEntry Cleaned(uint64_t job);
proto::LogEntry Evicted(uint64_t job);

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_STATE_TESTING_ENTRIES_H_
