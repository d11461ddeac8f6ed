// Keeps the blobs of a master in order: fetches what jobs need and is not here,
// removes what no job needs any more.
#ifndef MILLRACE_MASTER_GROUP_BLOB_KEEPER_H_
#define MILLRACE_MASTER_GROUP_BLOB_KEEPER_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "master/blobs/blob_store.h"

namespace millrace::master {

// Each master does both for itself, by the entries that it has applied. A blob
// goes when all looks of a quarter of an hour have found it neither named nor
// used (what a client has just put, and will name in a submit, is not needed
// yet) and the leader agrees. Time decides only how soon that is asked: a submit
// that names one that is gone is asked for it again. Thread-safe.
class BlobKeeper {
 public:
  struct Options {
    // Between two looks at everything.
    absl::Duration repair_interval = absl::Seconds(30);
    absl::Duration removal_interval = absl::Minutes(5);
    absl::Duration unneeded_for = absl::Minutes(15);
    // Before a blob that could not be had is tried again.
    absl::Duration retry_interval = absl::Seconds(2);
  };

  // What the keeper asks others. They may block, until Stop's caller has seen
  // to it that they return soon.
  struct Edges {
    // All that is named by what this master has applied. False: no answer.
    std::function<bool(std::set<std::string>* named)> named;
    // Fetches one from the other masters.
    std::function<absl::Status(const std::string& sha256)> fetch;
    // Of these, what the leader agrees to let go.
    std::function<std::vector<std::string>(const std::vector<std::string>&)>
        release;
  };

  // Clock and store outlive the keeper.
  BlobKeeper(BlobStore& store, Clock& clock, Edges edges)
      : BlobKeeper(store, clock, std::move(edges), Options()) {}
  BlobKeeper(BlobStore& store, Clock& clock, Edges edges,
             const Options& options);
  ~BlobKeeper();

  void Start();
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // These are named now; fetched at once if they are not here.
  void Need(const std::vector<std::string>& blobs) ABSL_LOCKS_EXCLUDED(mu_);
  // As if all intervals had passed.
  void LookNow() ABSL_LOCKS_EXCLUDED(mu_);

  // What Start's thread does; for tests without one.
  void Repair() ABSL_LOCKS_EXCLUDED(mu_);
  void Remove();

 private:
  void Loop();
  void FindMissing() ABSL_LOCKS_EXCLUDED(mu_);
  void FetchMissing() ABSL_LOCKS_EXCLUDED(mu_);

  BlobStore& store_;
  Clock& clock_;
  const Edges edges_;
  const Options options_;

  // Confined to whoever looks: since when a blob has been unneeded.
  std::map<std::string, absl::Duration> unneeded_since_;
  absl::Duration repair_at_;
  absl::Duration remove_at_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool look_now_ ABSL_GUARDED_BY(mu_) = false;
  // To be fetched, and from when on.
  std::map<std::string, absl::Duration> missing_ ABSL_GUARDED_BY(mu_);
  bool news_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_BLOB_KEEPER_H_
