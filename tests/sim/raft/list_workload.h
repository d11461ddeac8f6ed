// A few lists of numbers: the smallest state in which order, loss, repetition
// and invention of writes all show. Sessions are in the state, so that a
// request that is repeated happens once.
#ifndef MILLRACE_TESTS_SIM_RAFT_LIST_WORKLOAD_H_
#define MILLRACE_TESTS_SIM_RAFT_LIST_WORKLOAD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/raft/subject.h"

namespace millrace::raftsim {

struct ListWorkloadOptions {
  uint32_t lists = 4;
  // Added to each payload, so that segments fill and messages are split.
  uint32_t padding_bytes_max = 0;
  uint32_t reads_percent = 40;
};

class ListWorkload final : public Workload {
 public:
  // Each answers with the list afterwards.
  enum Kind : uint32_t { kRead, kReplace, kAppend };

  explicit ListWorkload(const ListWorkloadOptions& options)
      : options_(options) {}

  std::unique_ptr<Subject> NewSubject() const override;
  Request Next(Random& random) override;
  std::vector<Request> LastReads() const override;
  Specification specification() const override;

 private:
  const ListWorkloadOptions options_;
  uint64_t next_argument_ = 1;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_LIST_WORKLOAD_H_
