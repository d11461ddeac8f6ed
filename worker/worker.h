// A worker, whole: runs attempts for the masters of one cluster. What speaks to
// the network comes in from outside, so that tests play the masters.
#ifndef MILLRACE_WORKER_WORKER_H_
#define MILLRACE_WORKER_WORKER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/random.h"
#include "worker/blob_client.h"
#include "worker/loop/worker_loop.h"
#include "worker/master_link.h"
#include "worker/shuffle/fetcher.h"
#include "worker/spool/blob_cache.h"
#include "worker/spool/live_attempts.h"
#include "worker/spool/worker_directory.h"

namespace millrace::worker {

struct WorkerOptions {
  uint32_t slots = 1;
  std::string host_id;
  std::string address;  // Of the shuffle server that serves the spool.
  SpoolLimits spool;
  // Of job processes; outlives the worker. Null: their memory is watched.
  supervisor::MemoryCgroups* cgroups = nullptr;
  absl::Duration idle_process_max = absl::Seconds(60);
  // Of blobs that no job needs.
  uint64_t spare_blob_bytes_max = uint64_t{2} << 30;
  WorkerLoopOptions loop;
};

// What a worker is given; all outlive it. Link and fetcher are started by it,
// and have to be gone, or silent, before the worker is.
struct WorkerEdges {
  FileSystem& fs;
  Clock& clock;
  Random& random;
  MasterLink& link;
  BlobClient& blob_client;
  Fetcher& fetcher;
  LiveAttempts& live;
  WorkerDirectory& directory;
};

// Start and Stop are called by one thread.
class Worker {
 public:
  // `on_give_up`: see WorkerLoop.
  Worker(const WorkerOptions& options, const WorkerEdges& edges,
         std::function<void(const std::string&)> on_give_up);
  // Stops, if Stop was not called.
  ~Worker();

  // Looks through the spool and begins. An error says what is wrong with the
  // directory or the machine; nothing was started.
  absl::Status Start();

  // Kills every job process, and returns when file work has ended: with a store
  // that hangs, not before that does. Map outputs stay, to be offered again.
  void Stop();

 private:
  const WorkerOptions options_;
  const WorkerEdges edges_;
  const std::function<void(const std::string&)> on_give_up_;
  BlobCache blobs_;
  std::unique_ptr<WorkerLoop> loop_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_WORKER_H_
