// A worker in this process, with real job programs as children; the test plays
// the masters, the network and the other workers.
#ifndef MILLRACE_WORKER_TESTING_WORKER_HARNESS_H_
#define MILLRACE_WORKER_TESTING_WORKER_HARNESS_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/temp_dir.h"
#include "worker/testing/fake_blob_client.h"
#include "worker/worker.h"

namespace millrace::worker {

// A leader that keeps what it hears. Thread-safe.
class FakeLeader final : public MasterLink {
 public:
  void Start(Observer& observer) override ABSL_LOCKS_EXCLUDED(mu_);
  void Send(StreamId stream, proto::WorkerMessage message) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Close(StreamId stream) override ABSL_LOCKS_EXCLUDED(mu_);

  // The stream breaks, and another one is opened.
  void Reconnect() ABSL_LOCKS_EXCLUDED(mu_);
  void Say(proto::MasterMessage message) ABSL_LOCKS_EXCLUDED(mu_);

  // Each waits for what is to be heard; the test fails after a minute.
  proto::Hello AwaitHello() ABSL_LOCKS_EXCLUDED(mu_);
  // The outcome of the attempt, which is taken.
  proto::AttemptOutcome AwaitOutcome(const AttemptUid& uid)
      ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitDropped(const JobId& job) ABSL_LOCKS_EXCLUDED(mu_);
  // Progress that satisfies `enough`.
  void AwaitProgress(
      const AttemptUid& uid,
      const std::function<bool(const proto::AttemptProgress&)>& enough)
      ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitDiskLow() ABSL_LOCKS_EXCLUDED(mu_);

  void set_cluster(const ClusterId& cluster) { cluster_ = cluster; }

 private:
  void Await(const std::function<bool()>& condition, const char* what)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OpenStream() ABSL_LOCKS_EXCLUDED(mu_);
  void SayOn(StreamId stream, proto::MasterMessage message)
      ABSL_LOCKS_EXCLUDED(mu_);

  ClusterId cluster_ = *ClusterId::FromHex(std::string(32, 'c'));
  absl::Mutex mu_;
  Observer* observer_ ABSL_GUARDED_BY(mu_) = nullptr;
  StreamId stream_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<proto::Hello> hello_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, proto::AttemptOutcome> outcomes_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, proto::AttemptProgress> progress_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> dropped_ ABSL_GUARDED_BY(mu_);
  bool disk_low_ ABSL_GUARDED_BY(mu_) = false;
};

// Hands out map outputs of this worker's own spool, once Locations names all of
// them. Thread-safe.
class FakeFetcher final : public Fetcher {
 public:
  explicit FakeFetcher(const WorkerLayout& layout) : layout_(layout) {}
  void Start(Observer& observer) override ABSL_LOCKS_EXCLUDED(mu_);
  void SetIncarnation(const WorkerIncarnation&) override {}
  void StartReduce(const ReduceInput& input) override ABSL_LOCKS_EXCLUDED(mu_);
  void UpdateLocations(const proto::Locations& locations) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel(const AttemptUid& attempt) override ABSL_LOCKS_EXCLUDED(mu_);
  void ForgetJob(const JobId& job) override ABSL_LOCKS_EXCLUDED(mu_);
  void ForgetLocations() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Serve() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const WorkerLayout layout_;
  absl::Mutex mu_;
  Observer* observer_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::map<AttemptUid, ReduceInput> reduces_ ABSL_GUARDED_BY(mu_);
  std::map<JobId, std::map<uint32_t, proto::MapLocation>> locations_
      ABSL_GUARDED_BY(mu_);
};

class WorkerTest : public testing::Test {
 protected:
  WorkerTest();
  ~WorkerTest() override;

  // Starts the worker and plays the leader up to Welcome.
  proto::Hello StartWorker();
  void StopWorker();

  // Introduces a job that runs `program` with these inputs.
  JobId Introduce(const std::string& program,
                  const std::vector<std::string>& inputs,
                  const std::function<void(proto::JobSpec&)>& change = {});

  // `winners`: of a check or publication.
  AttemptUid Give(const JobId& job, proto::Grant grant,
                  proto::Winners winners = {});
  AttemptUid GivePlan(const JobId& job, uint32_t reducers = 0);
  AttemptUid GiveMap(const JobId& job, const proto::AttemptOutcome& plan,
                     uint32_t index);
  AttemptUid GiveReduce(const JobId& job, const proto::AttemptOutcome& plan,
                        uint32_t index);
  // Tells where the outputs of these maps are: here.
  void Locate(const JobId& job, const std::vector<proto::AttemptOutcome>& maps);
  void DropJob(const JobId& job, bool remove_staging);
  void Kill(const AttemptUid& uid);

  proto::AttemptOutcome Await(const AttemptUid& uid) {
    return leader_.AwaitOutcome(uid);
  }
  // Of an attempt that must have succeeded.
  proto::AttemptOutcome AwaitDone(const AttemptUid& uid);
  // Plan and maps of the job.
  proto::AttemptOutcome Plan(const JobId& job, uint32_t reducers = 0) {
    return AwaitDone(GivePlan(job, reducers));
  }

  // Live job processes of this worker: children of this process that execute a
  // file below its blobs.
  std::vector<pid_t> JobProcesses() const;

  TempDir directory_;
  FaultyFileSystem fs_{FileSystem::Posix()};
  std::unique_ptr<Random> random_ = Random::Entropy();         // The test's.
  std::unique_ptr<Random> worker_random_ = Random::Entropy();  // Its loop's.
  WorkerOptions options_;
  std::string boot_id_ = "boot";
  FakeBlobClient masters_;
  FakeLeader leader_;
  LiveAttempts live_;
  std::unique_ptr<WorkerDirectory> worker_directory_;
  std::unique_ptr<FakeFetcher> fetcher_;
  std::unique_ptr<Worker> worker_;

  absl::Mutex mu_;
  std::string gave_up_ ABSL_GUARDED_BY(mu_);
  std::map<JobId, proto::JobSpec> specs_;
  uint32_t next_number_ = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_TESTING_WORKER_HARNESS_H_
