// Where a worker's files are, by their ids alone.
#ifndef MILLRACE_WORKER_SHUFFLE_OUTPUT_STORE_H_
#define MILLRACE_WORKER_SHUFFLE_OUTPUT_STORE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "common/ids.h"
#include "worker/spool/layout.h"
#include "worker/spool/live_attempts.h"

namespace millrace::worker {

// Thread-safe.
class OutputStore {
 public:
  virtual ~OutputStore() = default;

  // Where the map output of an attempt is, if there is one.
  virtual std::string MapOutput(const JobId& job, uint32_t map_index,
                                const AttemptUid& uid) const = 0;
  virtual std::string Log(const JobId& job, const AttemptUid& uid) const = 0;
  // The directory of the logs of a job.
  virtual std::string JobLogs(const JobId& job) const = 0;
  // Whether the attempt runs, so that its log may grow.
  virtual bool IsLive(const AttemptUid& uid) const = 0;
};

// The worker's directory. `live` is borrowed.
class SpoolStore final : public OutputStore {
 public:
  SpoolStore(WorkerLayout layout, const LiveAttempts& live)
      : layout_(std::move(layout)), live_(live) {}

  std::string MapOutput(const JobId& job, uint32_t,
                        const AttemptUid& uid) const override {
    return MapOutputPath(layout_.Spool(), job, uid);
  }
  std::string Log(const JobId& job, const AttemptUid& uid) const override {
    return layout_.AttemptLog(job, uid);
  }
  std::string JobLogs(const JobId& job) const override {
    return layout_.JobLogs(job);
  }
  bool IsLive(const AttemptUid& uid) const override {
    return live_.Contains(uid);
  }

 private:
  const WorkerLayout layout_;
  const LiveAttempts& live_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_OUTPUT_STORE_H_
