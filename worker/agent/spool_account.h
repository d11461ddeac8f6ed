// What attempts may use of the disk below a worker's directory. No files:
// sizes come from measurements, from reports and from the leader's estimates.
//
// Two limits bound what is there: a floor of free space on the file system, and
// a size of the spool, if one is set. Beside them each attempt reserves, before
// it writes anything, what the leader expects it to have there at most at once,
// so that attempts that begin together do not find out together that there is
// no room for all of them:
//
//   |<------------------ spool limit ------------------>|
//   | outputs kept | written by attempts | reserved     | room |
//   |<------------------ disk in use -->| reserved      | room | floor |
//
// A reservation is an estimate. It never keeps the only attempt of its kind
// from running, and reduces, which wait for maps, take none from maps, nor do
// they keep maps away by waiting for room: so nothing waits for itself.
#ifndef MILLRACE_WORKER_AGENT_SPOOL_ACCOUNT_H_
#define MILLRACE_WORKER_AGENT_SPOOL_ACCOUNT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/ids.h"

namespace millrace::worker {

struct SpoolLimits {
  // Below so much free space nothing is taken, until there is a quarter more.
  uint64_t free_bytes_min = uint64_t{1} << 30;
  // Of map outputs and of what attempts have written; 0: none. A spool that has
  // reached it takes nothing until an eighth of it is free again.
  uint64_t spool_bytes_max = 0;
};

// Confined to the worker's loop.
class SpoolAccount {
 public:
  explicit SpoolAccount(const SpoolLimits& limits) : limits_(limits) {}

  // What was found on the disk. Of attempts that are not named, or no longer
  // known, nothing changes.
  void Measured(uint64_t free_bytes,
                const std::map<AttemptUid, uint64_t>& written);

  // Whether the attempt may begin; if so it has so much until Release. `bytes`
  // 0: what it needs is not known, and nothing is reserved. An attempt that is
  // refused may ask again.
  bool Reserve(const AttemptUid& attempt, bool reduce, uint64_t bytes);
  // The attempt has ended; what it wrote goes.
  void Release(const AttemptUid& attempt) { live_.erase(attempt); }
  // A map output that stays; and is deleted.
  void Keep(const AttemptUid& attempt, uint64_t bytes);
  void Forget(const AttemptUid& attempt);

  // Brings low() up to date. Call after changes.
  void Review();
  // No attempts should be given to this worker.
  bool low() const { return low_; }
  // ... and such that are given all the same cannot be taken: there really is
  // no space, as opposed to space that others have reserved.
  bool full() const { return floor_reached_ || limit_reached_; }
  // Why it is low, with the numbers and the flag; "" if it is not.
  std::string Why() const;

  // While the spool is larger than its limit: the attempt that has written
  // most.
  std::optional<AttemptUid> Excess() const;
  uint64_t WrittenBy(const AttemptUid& attempt) const;

  uint64_t free_bytes() const { return free_bytes_; }
  uint64_t spool_bytes() const { return kept_bytes_ + written_bytes(); }
  uint64_t spool_bytes_max() const { return limits_.spool_bytes_max; }
  // Worth a look at the disk more often than now and then.
  bool tight() const { return limits_.spool_bytes_max > 0 || wanted_ > 0; }

 private:
  struct Live {
    bool reduce = false;
    uint64_t reserved = 0;
    uint64_t written = 0;
  };
  uint64_t written_bytes() const;
  // What an attempt of this kind could reserve.
  uint64_t Room(bool reduce) const;
  bool HasRoom(bool reduce, uint64_t bytes) const;

  const SpoolLimits limits_;
  bool measured_ = false;
  uint64_t free_bytes_ = 0;
  std::map<AttemptUid, Live> live_;
  std::map<AttemptUid, uint64_t> kept_;
  uint64_t kept_bytes_ = 0;

  bool floor_reached_ = false;
  bool limit_reached_ = false;
  bool low_ = false;
  // What the last map that was refused had asked for; 0: there is room.
  uint64_t wanted_ = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_AGENT_SPOOL_ACCOUNT_H_
