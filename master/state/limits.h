// How much a cluster takes on. All masters must agree on what Apply() checks,
// so those numbers are constants and no options: a change is a change of the
// log's version.
#ifndef MILLRACE_MASTER_STATE_LIMITS_H_
#define MILLRACE_MASTER_STATE_LIMITS_H_

#include <cstdint>

namespace millrace::master {

// Of one job. The product bounds the transfers of a shuffle.
inline constexpr uint32_t kMapsMax = 1'000'000;
inline constexpr uint32_t kPartitionsMax = 10'000;
inline constexpr uint64_t kMapsTimesPartitionsMax = 100'000'000;

// Failures that were nobody's fault, per task: lost workers, lost outputs, full
// disks. At the limit the job fails with INFRASTRUCTURE.
inline constexpr uint32_t kInfrastructureFailuresMax = 32;
// Failures of user code per task when the job does not say.
inline constexpr uint32_t kMaxAttemptsDefault = 4;
// Re-runs of maps that gave other records; the next one fails the job.
inline constexpr uint32_t kEpochRaisesMax = 2;

// Of each record that a job passes over; there may be kSkipBadRecordsMax.
inline constexpr size_t kBadRecordMessageBytesMax = 1024;
inline constexpr size_t kBadRecordStackBytesMax = 2048;

// What is kept of failed attempts for people: the last ones of each job, and so
// much of their texts.
inline constexpr size_t kRecentFailuresMax = 16;
inline constexpr size_t kFailureTextBytesMax = 4096;

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_LIMITS_H_
