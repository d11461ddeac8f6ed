// A cluster in this process: the masters' loops over their logs, on the disk
// and with each other, and workers with real job programs as children. What is
// missing is gRPC: streams, the shuffle and the masters' messages go through
// memory, and blobs are in one place that all masters share.
#ifndef MILLRACE_TESTS_IN_PROCESS_IN_PROCESS_CLUSTER_H_
#define MILLRACE_TESTS_IN_PROCESS_IN_PROCESS_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/random.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/state.h"
#include "proto/messages/client.pb.h"
#include "proto/messages/job.pb.h"
#include "raft/transport/testing/memory_network.h"
#include "tests/in_process/memory_fetch.h"
#include "tests/in_process/memory_streams.h"
#include "tests/testing/temp_dir.h"

namespace millrace {

// Calls are made by one thread.
class InProcessCluster {
 public:
  struct Options {
    int masters = 1;
    uint64_t cut_each = 0;  // See MemoryFetch.
    // Of a master's log: entries after which a snapshot is taken.
    uint64_t snapshot_entries = 10;
  };
  // Returns when the masters are one group and one of them leads.
  explicit InProcessCluster(const Options& options);
  ~InProcessCluster();
  InProcessCluster(const InProcessCluster&) = delete;
  InProcessCluster& operator=(const InProcessCluster&) = delete;

  const TempDir& directory() const { return directory_; }
  uint64_t fetches() const { return fetch_.opened(); }

  // Of two slots. One that was there before comes back to its directory.
  void StartWorker(const std::string& name, const std::string& host_id);
  void StopWorker(const std::string& name);

  // The one that leads hands over, if there are others.
  void ChangeLeader();
  // One that does not lead goes and comes back to its directory. REQUIRES: more
  // than one master.
  void RestartFollower();
  // Of all workers to all masters.
  void BreakStreams();

  // The program becomes a blob; the job has its name, and `output` below the
  // directory. Returns when it is accepted, by whichever master leads.
  JobId Submit(const std::string& program, const std::string& output,
               const std::function<void(proto::JobSpec&)>& change);
  void Kill(const JobId& job);
  // As whichever master leads says.
  proto::JobStatus StatusOf(const JobId& job);
  // Watches the job to its end.
  proto::JobStatus AwaitEnd(const JobId& job);
  // Waits until all masters that run have the same state.
  void AwaitSameState();

 private:
  class Blobs;
  class BlobsOfWorker;
  class Master;
  class Worker;
  using Reader =
      std::function<void(const master::State&, const master::SchedulerCore&)>;

  void Grow(int masters);
  // The one that leads, by a linearizable read; waits for one.
  Master& Leader();
  // Asks the leader until one answers OK or with an error that is final.
  absl::Status Ask(const std::function<absl::Status(Master&)>& ask);

  const Options options_;
  const std::unique_ptr<Random> random_ = Random::Entropy();
  TempDir directory_;
  raft::MemoryNetwork network_;
  MemoryFetch fetch_;
  MemoryMasters reached_;
  const std::unique_ptr<Blobs> blobs_;
  ClusterId cluster_;
  std::vector<std::unique_ptr<Master>> masters_;
  std::map<std::string, std::unique_ptr<Worker>> workers_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_IN_PROCESS_IN_PROCESS_CLUSTER_H_
