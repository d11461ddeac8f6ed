// Which masters hold which blobs, as the leader knows it, and what it takes
// until enough of them do. No clock, threads or sockets.
//
//   Want(blobs) ──► FetchHere, Ask(peer) ──► answers ──► Settled
//
// An entry of the log that names a blob must not be proposed before the blob is
// settled: durable on a majority of the voters, so that whoever leads after any
// minority was lost can still have it. While the group is about to change, on a
// majority of the group before and after.
//
// What a peer has said counts until ReleaseBlobs takes it back (see
// proto/messages/master.proto) or the term ends: Reset().
#ifndef MILLRACE_MASTER_GROUP_HOLDERS_CORE_H_
#define MILLRACE_MASTER_GROUP_HOLDERS_CORE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "raft/core/types.h"

namespace millrace::master {

// Thread-compatible.
class HoldersCore {
 public:
  using WantId = uint64_t;
  using Blobs = std::vector<std::string>;  // Raw hashes.

  struct Options {
    // In one Ask.
    size_t ask_max = 256;
    // Before a peer that did not answer is asked again, or a blob is looked for
    // again: doubled each time, up to the second.
    absl::Duration retry_min = absl::Milliseconds(50);
    absl::Duration retry_max = absl::Seconds(2);
  };

  // Have the blob here, from whichever peer has it. Answered by OnFetched.
  struct FetchHere {
    std::string sha256;
  };
  // Have the peer hold these. Answered by OnAnswer; one at a time to a peer.
  struct Ask {
    uint64_t id = 0;  // Never comes again.
    raft::NodeId peer = raft::kNobody;
    Blobs blobs;
  };
  // OK; or kNotFound: a majority does not have it, so it has never been
  // settled; the message names it.
  struct Settled {
    WantId want = 0;
    absl::Status status;
  };
  using Effect = std::variant<FetchHere, Ask, Settled>;

  HoldersCore() : HoldersCore(Options()) {}
  explicit HoldersCore(const Options& options) : options_(options) {}

  // Who votes, and who will when the change under way is made. `self` is among
  // `voters`.
  std::vector<Effect> SetGroup(raft::NodeId self, std::set<raft::NodeId> voters,
                               std::set<raft::NodeId> voters_after,
                               absl::Duration now);
  // `blobs`, with whether they are held here. `want` is the caller's and new.
  std::vector<Effect> Want(WantId want,
                           const std::map<std::string, bool>& blobs,
                           absl::Duration now);
  // kNotFound: a majority of the voters, this one among them, does not have it.
  // Other errors: later perhaps.
  std::vector<Effect> OnFetched(const std::string& sha256,
                                const absl::Status& status, absl::Duration now);
  // `missing`: of those asked for, what the peer could not get.
  std::vector<Effect> OnAnswer(uint64_t ask_id, const absl::Status& status,
                               const std::set<std::string>& missing,
                               absl::Duration now);
  std::vector<Effect> Tick(absl::Duration now);
  absl::Duration NextDeadline() const;

  // Stops counting `holder` as one that has it. False: it is still wanted, or
  // an answer that may say so is on its way.
  bool Release(raft::NodeId holder, const std::string& sha256);
  // Nothing is known any more, nothing wanted: no Settled comes for what was.
  void Reset();

 private:
  struct Blob {
    std::set<raft::NodeId> holders;  // Self among them.
    std::set<WantId> wants;
    bool fetching = false;
    absl::Duration fetch_at = absl::InfiniteDuration();
    int fetches = 0;
  };
  struct Peer {
    std::set<std::string> wanted;
    Blobs asked;  // Under way; empty: nothing is.
    uint64_t ask_id = 0;
    absl::Duration ask_at;
    int failures = 0;
  };

  bool IsMajority(const std::set<raft::NodeId>& some,
                  const std::set<raft::NodeId>& all) const;
  bool Enough(const Blob& blob) const;
  void Spread(const std::string& sha256, const Blob& blob);
  // Answers who wants it: it is settled, or lost.
  void Answer(const std::string& sha256, const absl::Status& status,
              std::vector<Effect>& effects);
  void AnswerIfEnough(const std::string& sha256, std::vector<Effect>& effects);
  void Pump(absl::Duration now, std::vector<Effect>& effects);
  absl::Duration Wait(int failures) const;

  const Options options_;
  raft::NodeId self_ = raft::kNobody;
  std::set<raft::NodeId> voters_;
  std::set<raft::NodeId> voters_after_;
  std::map<std::string, Blob> blobs_;
  std::set<std::string> open_;  // Those that are wanted.
  uint64_t next_ask_ = 1;
  std::map<raft::NodeId, Peer> peers_;
  // What each want still waits for.
  std::map<WantId, std::set<std::string>> wants_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_HOLDERS_CORE_H_
