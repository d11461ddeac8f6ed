// Runs behaviour_job on a mini cluster and reads what its tasks left.
#ifndef MILLRACE_TESTS_CLUSTER_BEHAVIOUR_H_
#define MILLRACE_TESTS_CLUSTER_BEHAVIOUR_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/mini_cluster.h"

namespace millrace {

// A line of DIR/log: one attempt that began.
struct Trace {
  std::string kind;  // "map", "reduce".
  int task = 0;
  int attempt = 0;
  std::string uid;
};

// Each test has a cluster of its own, an input of so many lines in so many
// splits of equal size, and the counts that must come out.
class BehaviourTest : public testing::Test {
 protected:
  static constexpr int kSplits = 6;
  static constexpr int kReducers = 3;

  explicit BehaviourTest(int lines = 120, int splits = kSplits);

  // Another input than the constructor's.
  void MakeInput(int lines, int splits);
  void StartCluster(const MiniCluster::Options& options);
  // submit behaviour_job ... -- BEHAVIOUR DIR [MS]
  std::vector<std::string> SubmitWords(
      const std::string& behaviour, const std::vector<std::string>& flags = {},
      int ms = 0, const std::string& output = "out") const;
  // With --detach; returns the job's id.
  std::string SubmitDetached(const std::string& behaviour,
                             const std::vector<std::string>& flags = {},
                             int ms = 0,
                             const std::string& output = "out") const;
  // As `millrace status -o json` says: maps.done, attempts.lost, ...
  int StatusNumber(const std::string& job, const std::string& part,
                   const std::string& name) const;
  // "" if there is none.
  std::string StatusText(const std::string& job, const std::string& name) const;
  // The output has exactly the right counts, and verifies.
  void ExpectRightCounts(const std::string& output = "out") const;
  // Every part file is byte for byte what a local run writes.
  void ExpectLocalBytes(const std::string& output = "out");
  std::vector<Trace> Traces() const;
  // Attempts of each task, "map 3" -> 1.
  std::map<std::string, int> AttemptsByTask() const;

  TempDir data_;
  int lines_ = 0;
  int splits_ = 0;
  std::map<std::string, int64_t> expected_;
  std::unique_ptr<MiniCluster> cluster_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_BEHAVIOUR_H_
