// Looks at output paths, all the time: at each look there is nothing, or the
// whole output. It goes by the manifest and the directory's listing, reads both
// by itself and knows nothing of what happens around it.
#ifndef MILLRACE_TESTS_CHAOS_OUTPUT_WATCHER_H_
#define MILLRACE_TESTS_CHAOS_OUTPUT_WATCHER_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace::chaostest {

// "" when `output` is absent or complete, else what is wrong. Complete: a
// _MANIFEST, the files that it names in their sizes, and no others. `present`
// says which of the two.
std::string LookAtOutput(const std::string& output, bool* present);

// A thread of its own from the first Watch() on. Thread-safe.
class OutputWatcher {
 public:
  OutputWatcher();
  ~OutputWatcher();

  void Watch(const std::string& output);
  // What was seen that must not be; at most one finding per output.
  std::vector<std::string> findings() const;
  uint64_t looks() const { return looks_; }

 private:
  struct Watched {
    std::string output;
    bool seen = false;   // Complete: it must stay.
    bool wrong = false;  // A finding is there already.
  };

  void Loop();
  void LookAtAll();

  mutable absl::Mutex mu_;
  std::vector<Watched> watched_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> findings_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> looks_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_OUTPUT_WATCHER_H_
