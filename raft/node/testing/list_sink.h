// A state that is the list of all payloads it was given, for tests of whoever
// feeds it. Checks the order in which it is told things.
#ifndef MILLRACE_RAFT_NODE_TESTING_LIST_SINK_H_
#define MILLRACE_RAFT_NODE_TESTING_LIST_SINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "raft/replicated_log.h"

namespace millrace::raft {

// How long a test waits for what should happen soon.
inline constexpr absl::Duration kTestPatience = absl::Seconds(60);

// Thread-safe. Failed expectations are reported as those of the test.
class ListSink final : public LogSink {
 public:
  void OnCommitted(std::vector<CommittedEntry> entries) override;
  void OnSnapshot(uint64_t index, uint64_t term,
                  std::unique_ptr<ByteSource> state) override;
  void OnSnapshotWanted(SnapshotTaken done) override;
  void OnLeading(uint64_t term) override;
  void OnFollowing(uint64_t term, std::string leader_address) override;

  // Each waits for kTestPatience and then fails the test.

  // Returns the term.
  uint64_t WaitUntilLeading();
  // A term after `term`; 0: any.
  uint64_t WaitUntilLeadingAfter(uint64_t term);
  void WaitUntilFollowing();
  // All payloads so far, at least `count`.
  std::vector<std::string> WaitFor(size_t count);
  void WaitForSnapshots(size_t restored);

  // From the next OnCommitted on calls do not return, until Release.
  void Hold();
  void Release();
  // States that were frozen do not write themselves, until ReleaseSnapshots.
  void HoldSnapshots();
  void ReleaseSnapshots();
  // From now on a state may turn out to be unreadable, as when its disk is gone
  // in the middle of it: the process would end. What comes after that is
  // ignored.
  void ExpectPowerCut();
  // Called with each batch, before it is counted. On the log's thread.
  void SetOnCommitted(std::function<void()> on_committed);

  std::vector<std::string> payloads() const;
  size_t count() const;
  size_t batches() const;
  // Payloads that came before it first heard who leads.
  size_t replayed() const;
  uint64_t leading() const;  // The term; 0: it does not.
  std::string leader_address() const;
  uint64_t term() const;    // As last heard.
  size_t restored() const;  // Calls of OnSnapshot.
  size_t asked() const;     // Calls of OnSnapshotWanted.

 private:
  mutable absl::Mutex mu_;
  std::vector<std::string> payloads_ ABSL_GUARDED_BY(mu_);
  uint64_t index_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t entry_term_ ABSL_GUARDED_BY(mu_) = 0;
  bool told_ ABSL_GUARDED_BY(mu_) = false;
  bool leads_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  std::string leader_address_ ABSL_GUARDED_BY(mu_);
  size_t replayed_ ABSL_GUARDED_BY(mu_) = 0;
  size_t batches_ ABSL_GUARDED_BY(mu_) = 0;
  size_t restored_ ABSL_GUARDED_BY(mu_) = 0;
  size_t asked_ ABSL_GUARDED_BY(mu_) = 0;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  bool snapshots_held_ ABSL_GUARDED_BY(mu_) = false;
  bool power_cut_expected_ ABSL_GUARDED_BY(mu_) = false;
  bool dead_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> on_committed_ ABSL_GUARDED_BY(mu_);
};

// Waits until `condition()`, asking again and again; fails the test if it takes
// too long. For what nobody tells of.
bool WaitUntil(const std::function<bool()>& condition);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_TESTING_LIST_SINK_H_
