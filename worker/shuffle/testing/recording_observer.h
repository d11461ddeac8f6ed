// What a fetcher has said, for tests that wait for it.
#ifndef MILLRACE_WORKER_SHUFFLE_TESTING_RECORDING_OBSERVER_H_
#define MILLRACE_WORKER_SHUFFLE_TESTING_RECORDING_OBSERVER_H_

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/shuffle/fetcher.h"
#include "worker/shuffle/remote_index.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {

class RecordingObserver final : public Fetcher::Observer {
 public:
  void OnFetchProgress(const FetchProgress& progress) override {
    const absl::MutexLock lock(&mu_);
    progress_.push_back(progress);
  }
  void OnInputReady(InputReady input) override {
    const absl::MutexLock lock(&mu_);
    ready_.push_back(std::move(input));
  }
  void OnFetchFailed(const FetchFailed& failed) override {
    const absl::MutexLock lock(&mu_);
    failed_.push_back(failed);
  }
  void OnFetchAborted(const AttemptUid& attempt, const absl::Status&) override {
    const absl::MutexLock lock(&mu_);
    aborted_.push_back(attempt);
  }

  // Each waits until there are `n`, at most a minute.
  std::vector<InputReady> AwaitReady(size_t n) { return Await(ready_, n); }
  std::vector<FetchFailed> AwaitFailed(size_t n) { return Await(failed_, n); }
  std::vector<AttemptUid> AwaitAborted(size_t n) { return Await(aborted_, n); }
  std::vector<FetchProgress> progress() { return Await(progress_, 0); }
  std::vector<FetchFailed> failed() { return Await(failed_, 0); }

 private:
  template <typename T>
  std::vector<T> Await(const std::vector<T>& list, size_t n) {
    const absl::MutexLock lock(&mu_);
    const auto enough = [&list, n] { return list.size() >= n; };
    mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(60));
    return list;
  }

  absl::Mutex mu_;
  std::vector<FetchProgress> progress_;
  std::vector<InputReady> ready_;
  std::vector<FetchFailed> failed_;
  std::vector<AttemptUid> aborted_;
};

// The bytes that a map output of a reduce's input consists of.
inline std::string BytesOf(const proto::MapOutputRef& ref) {
  if (ref.section().bytes() == 0) return "";
  std::ifstream file(ref.path(), std::ios::binary);
  std::string bytes(ref.section().bytes(), '\0');
  file.seekg(static_cast<std::streamoff>(ref.section().offset()));
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return file.good() ? bytes : "unreadable: " + ref.path();
}

inline proto::Locations LocationsOf(const std::vector<TestOutput>& outputs,
                                    const WorkerIncarnation& worker,
                                    const std::string& address,
                                    const std::string& host = "there",
                                    const std::string& spool = "") {
  proto::Locations locations;
  proto::WorkerAddress* to = locations.add_workers();
  to->set_incarnation(std::string(worker.bytes()));
  to->set_address(address);
  to->set_host_id(host);
  to->set_spool_dir(spool);
  for (const TestOutput& output : outputs) {
    locations.set_job_id(std::string(output.identity.job.bytes()));
    proto::MapLocation* map = locations.add_maps();
    map->set_map_index(output.identity.map_index);
    map->set_attempt_uid(std::string(output.identity.attempt.bytes()));
    map->set_root(RootBytes(output.summary.root));
    map->set_worker(std::string(worker.bytes()));
  }
  return locations;
}

inline ReduceInput ReduceOf(uint64_t seed, uint32_t partition,
                            uint32_t num_maps, const std::string& directory,
                            uint32_t num_partitions = 3) {
  ReduceInput input;
  input.attempt = TestId<AttemptUid>(9'000'000 + seed);
  input.job = TestId<JobId>(1);
  input.partition = partition;
  input.num_maps = num_maps;
  input.num_partitions = num_partitions;
  input.directory = directory;
  return input;
}

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_TESTING_RECORDING_OBSERVER_H_
