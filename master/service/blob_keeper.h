// Removes the blobs that no retained job needs.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_KEEPER_H_
#define MILLRACE_MASTER_SERVICE_BLOB_KEEPER_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "master/blobs/blob_store.h"
#include "master/service/master_loop.h"

namespace millrace::master {

// Looks every few minutes. A blob goes when all looks of an hour have found it
// neither named by a job nor used: what a client has just put, and will name in
// a submit, or a worker in an outcome, is not needed yet. Thread-safe.
class BlobKeeper {
 public:
  struct Options {
    absl::Duration interval = absl::Minutes(5);
    absl::Duration unneeded_for = absl::Hours(1);
  };

  // Both outlive the keeper.
  BlobKeeper(MasterLoop& loop, Clock& clock);
  BlobKeeper(MasterLoop& loop, Clock& clock, const Options& options);
  ~BlobKeeper();

  // `blobs` outlives Stop.
  void Start(BlobStore& blobs);
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // One look; what Start's thread does. `needed` are raw hashes.
  void Look(BlobStore& blobs, const std::set<std::string>& needed);

 private:
  // None: the loop does not answer, or does not lead.
  std::optional<std::set<std::string>> AskLoop();

  MasterLoop& loop_;
  Clock& clock_;
  const Options options_;

  // Confined to whoever looks: since when a blob has been unneeded.
  std::map<std::string, absl::Duration> unneeded_since_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// Every blob that a retained job names.
std::set<std::string> NeededBlobs(const State& state);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_KEEPER_H_
