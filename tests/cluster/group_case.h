// A group of masters under a job whose tasks take a fixed time: what the tests
// of failing masters have in common.
#ifndef MILLRACE_TESTS_CLUSTER_GROUP_CASE_H_
#define MILLRACE_TESTS_CLUSTER_GROUP_CASE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/cluster/behaviour.h"

namespace millrace {

class GroupTest : public BehaviourTest {
 protected:
  // Three masters unless `options` says otherwise; they count their grants.
  void StartGroup(MiniCluster::Options options = {});

  // A job of `maps` maps, each with `ms_each` milliseconds in a slot; without
  // second attempts, so that whatever runs twice was started again.
  std::string SubmitSlow(int maps, int ms_each);
  void WaitForMaps(const std::string& job, int done);
  // It succeeds with the local run's bytes, and no user code started twice.
  void ExpectUndisturbed(const std::string& job);
  // It succeeds with the local run's bytes.
  void ExpectSuccess(const std::string& job);

  // Kills the leader and returns how long it is until another one grants
  // something; `killed` is its number.
  absl::Duration KillLeader(int* killed);
  // All members answer and lack nothing.
  void WaitUntilAllAreBack();
  // Grants of a master's process since it was started for the first time.
  size_t GrantsOf(int master) const;
};

// "0.9 s, 1.4 s, 2.0 s": least, median, most.
std::string Summary(std::vector<absl::Duration> times);
absl::Duration Median(std::vector<absl::Duration> times);

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_GROUP_CASE_H_
