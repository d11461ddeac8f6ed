// Which master to try next. No I/O: LeaderChannel and the worker's link ask it.
#ifndef MILLRACE_RPC_LEADER_FINDER_H_
#define MILLRACE_RPC_LEADER_FINDER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/random.h"
#include "rpc/backoff.h"

namespace millrace::rpc {

// "host:port,host:port": the masters of a cluster, each once, at least one.
absl::StatusOr<std::vector<std::string>> ParseMasters(std::string_view list);

// Stays with the last master that led. When that one fails, follows its hint if
// it gave one, else goes through the list; waits after every full round, longer
// each time. Hints are followed at most as often as there are masters in one
// round, so that masters that point at each other cannot keep a client busy.
// The masters of a group may all be replaced, one after the other, while a
// client lives: what it hears of the group goes before what it was told at its
// start, which it never forgets.
// Thread-safe: the callers of one cluster share it and what they learn.
class LeaderFinder {
 public:
  // REQUIRES: masters is not empty.
  LeaderFinder(std::vector<std::string> masters, const BackoffOptions& backoff,
               std::unique_ptr<Random> random);

  // Whom to try now.
  std::string Current() const ABSL_LOCKS_EXCLUDED(mu_);

  // `address` answered as the leader does.
  void Leads(const std::string& address) ABSL_LOCKS_EXCLUDED(mu_);

  // `address` does not lead (`hint` may be empty), or was not reached (no
  // hint). Returns how long to wait before Current() is tried. Only news of the
  // current address changes anything: another caller may have been quicker.
  absl::Duration Failed(const std::string& address, const std::string& hint)
      ABSL_LOCKS_EXCLUDED(mu_);

  // A master says that these are all. No-op if there are none.
  void Learn(const std::vector<std::string>& masters) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether it is one of those given at the start.
  bool IsInitial(const std::string& address) const;
  // Those learned last, then the other ones of the start.
  std::vector<std::string> masters() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::vector<std::string> initial_;
  const std::unique_ptr<Random> random_ ABSL_PT_GUARDED_BY(mu_);

  mutable absl::Mutex mu_;
  std::vector<std::string> masters_ ABSL_GUARDED_BY(mu_);
  Backoff backoff_ ABSL_GUARDED_BY(mu_);
  std::string current_ ABSL_GUARDED_BY(mu_);
  size_t next_ ABSL_GUARDED_BY(mu_) = 0;   // Of the list, to try next.
  size_t tried_ ABSL_GUARDED_BY(mu_) = 0;  // Of the list, in this round.
  size_t hints_ ABSL_GUARDED_BY(mu_) = 0;  // Followed in this round.
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_LEADER_FINDER_H_
