// The jobs of a simulated cluster, and what their tasks write: numbers that
// stand for records. A map output is known by its root; from the root follows
// what each partition holds, so that a reduce can be held against the maps it
// read.
#ifndef MILLRACE_TESTS_SIM_SIM_JOB_H_
#define MILLRACE_TESTS_SIM_SIM_JOB_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/hash.h"
#include "common/ids.h"
#include "proto/messages/task.pb.h"

namespace millrace::sim {

struct SimJob {
  std::string name;
  std::string output;
  uint32_t maps = 1;
  uint32_t partitions = 1;
  uint32_t max_attempts = 4;
  absl::Duration task_time;  // Mean.
  double long_task = 0;      // Share of tasks that take 20 times as long.
  double user_failure = 0;   // Share of attempts that throw.
  double infra_failure = 0;  // ... that find the disk full.
  double other_records = 0;  // Share of map runs with other records.
  bool speculation_off = false;
  bool poisoned = false;        // Its last task fails every time.
  bool hopeless = false;        // Its plan fails and says so.
  bool wrong_ledger = false;    // Its reduces lose a record.
  bool foreign_output = false;  // Somebody makes the output path meanwhile.
};

// 16 bytes. `salt` 0: what every run of that map should give.
inline std::string RootOf(const JobId& job, uint32_t map, uint64_t salt) {
  std::string seed(job.bytes());
  seed.append(reinterpret_cast<const char*>(&map), sizeof(map));
  seed.append(reinterpret_cast<const char*>(&salt), sizeof(salt));
  const Hash128Value hash = Hash128(seed);
  std::string root(16, '\0');
  for (int i = 0; i < 8; ++i) {
    root[i] = static_cast<char>(hash.low >> (8 * i));
    root[8 + i] = static_cast<char>(hash.high >> (8 * i));
  }
  return root;
}

// What one partition of a map output holds.
inline proto::RecordSum PartitionOf(const std::string& root,
                                    uint32_t partition) {
  proto::RecordSum sum;
  const uint64_t hash = Hash64Seeded(root, partition);
  sum.set_records(hash % 100);
  sum.set_hash(hash);
  return sum;
}

inline void AddSum(const proto::RecordSum& from, proto::RecordSum* to) {
  to->set_records(to->records() + from.records());
  to->set_hash(to->hash() + from.hash());
}

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_SIM_JOB_H_
