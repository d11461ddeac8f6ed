// Sees to it that blobs are held by enough masters before anything is said or
// proposed that rests on them: HoldersCore with its calls, threads and clock.
#ifndef MILLRACE_MASTER_GROUP_BLOB_HOLDERS_H_
#define MILLRACE_MASTER_GROUP_BLOB_HOLDERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"
#include "master/group/blob_fetcher.h"
#include "master/group/blob_quorum.h"
#include "master/group/holders_core.h"
#include "master/group/peers.h"

namespace millrace::master {

// Thread-safe.
class BlobHolders final : public BlobQuorum {
 public:
  // All outlive this.
  BlobHolders(BlobStore& store, BlobFetcher& fetcher, Peers& peers,
              Clock& clock);
  ~BlobHolders() override;

  void Want(const std::set<std::string>& blobs, Done done) override;
  std::vector<std::string> Release(
      raft::NodeId holder, const std::vector<std::string>& blobs) override;
  void Reset() override;

  // A change of the group is about to be made: from now on majorities of the
  // voters before and after it are needed. nullopt: none is.
  struct Change {
    raft::NodeId node = raft::kNobody;
    bool votes = false;  // After it.
  };
  void SetChange(std::optional<Change> change);

  // Ends the calls under way; what is wanted is answered as by Reset. No-op the
  // second time.
  void Stop();

 private:
  struct HoldCall;
  using Effects = std::vector<HoldersCore::Effect>;

  void RefreshGroupLocked(Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Carry(const Effects& effects) ABSL_LOCKS_EXCLUDED(mu_);
  void Fetch(const std::string& sha256);
  void Ask(const HoldersCore::Ask& ask);
  void OnAnswer(uint64_t ask_id, const absl::Status& status,
                const std::set<std::string>& missing);
  void Abort(std::map<HoldersCore::WantId, Done> dones);
  void RunTimer();

  BlobStore& store_;
  BlobFetcher& fetcher_;
  Peers& peers_;
  Clock& clock_;

  absl::Mutex mu_;
  HoldersCore core_ ABSL_GUARDED_BY(mu_);
  std::optional<Change> change_ ABSL_GUARDED_BY(mu_);
  HoldersCore::WantId next_want_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<HoldersCore::WantId, Done> dones_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // Under way; each is owned by its callback.
  std::map<uint64_t, HoldCall*> calls_ ABSL_GUARDED_BY(mu_);
  // Changes whenever the next deadline may have.
  uint64_t steps_ ABSL_GUARDED_BY(mu_) = 0;

  std::optional<ThreadPool> fetch_pool_;  // Until Stop.
  std::thread timer_;
};

// Asks the leader whether this master may delete these; what it lets go.
std::vector<std::string> AskToRelease(Peers& peers, raft::NodeId leader,
                                      const std::vector<std::string>& blobs);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_BLOB_HOLDERS_H_
