// The shuffle between workers of one process: what the fetcher asks for comes
// from what the shuffle server serves, without the network in between.
#ifndef MILLRACE_TESTS_IN_PROCESS_MEMORY_FETCH_H_
#define MILLRACE_TESTS_IN_PROCESS_MEMORY_FETCH_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/shuffle/fetch_transport.h"
#include "worker/spool/layout.h"

namespace millrace {

// Of all workers. Thread-safe; outlives their fetchers.
class MemoryFetch final : public worker::FetchTransport {
 public:
  // One stream in `cut_each` breaks off after its first message; 0: none.
  explicit MemoryFetch(uint64_t cut_each = 0) : cut_each_(cut_each) {}

  // Serves the map outputs of a worker's spool from here on, or no more.
  void Serve(const std::string& address, const worker::WorkerLayout& layout)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(const std::string& address) ABSL_LOCKS_EXCLUDED(mu_);
  void ForgetJob(const std::string& address, const JobId& job)
      ABSL_LOCKS_EXCLUDED(mu_);

  std::unique_ptr<worker::FetchStream> Open(
      const std::string& address, const proto::FetchRequest& request) override
      ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t opened() const { return opened_; }

 private:
  class Holder;
  class Stream;

  const uint64_t cut_each_;
  std::atomic<uint64_t> opened_{0};

  absl::Mutex mu_;
  // Second owners: streams from there.
  std::map<std::string, std::shared_ptr<Holder>> holders_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_IN_PROCESS_MEMORY_FETCH_H_
