// What a member's disk would hold if the power went now and took all that it
// can take: read from the bytes of the simulated disk, not from what the member
// says. A reader of its own, so that it does not share the recovery's mistakes;
// it shares the format alone.
#ifndef MILLRACE_TESTS_SIM_RAFT_DURABLE_LOG_H_
#define MILLRACE_TESTS_SIM_RAFT_DURABLE_LOG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "raft/core/types.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/sim/raft/entry_book.h"

namespace millrace::raftsim {

// Thread-compatible.
class DurableLog {
 public:
  // Reads the member in `directory` of `disk`, which lives until Freeze. `book`
  // outlives this.
  DurableLog(const raft::SimDisk& disk, std::string directory, EntryBook& book);

  // Takes in what has become durable since the last call. "" or what is wrong
  // with it: what the log never may do to its disk.
  std::string Refresh();
  // The disk goes; what was durable stays known.
  void Freeze() { disk_ = nullptr; }

  const raft::HardState& hard_state() const { return hard_; }
  uint64_t last_index() const { return base_ + entries_.size(); }
  // What it would ask for votes with.
  raft::EntryId last() const;
  // Index of the last entry of the newest durable snapshot.
  uint64_t snapshot_index() const { return snapshot_.index; }

  uint64_t segments() const { return segments_read_; }

  // Whether the member, started from this disk, has entry `index` of `term` and
  // everything before it, in its log or in its snapshot.
  bool Holds(uint64_t index, uint64_t term) const;
  // nullopt: not in the log (it may be in the snapshot), or before what this
  // has seen.
  std::optional<uint64_t> ChainOf(uint64_t index) const;

 private:
  struct Entry {
    uint64_t term;
    uint64_t chain;
  };
  struct Segment {
    std::string path;
    uint64_t first_index = 0;
    bool opened = false;  // Its header is taken in.
    bool ended = false;
    uint64_t seed = 0;
    uint64_t end = 0;  // Of the records taken in.
  };

  std::string ReadSegment(Segment& segment);
  std::string ReadHeader(Segment& segment);
  std::string TakeRecord(uint8_t type, std::string_view payload);
  std::string SetHardState(const raft::HardState& next);
  void ReadSnapshotNames();

  const raft::SimDisk* disk_;
  const std::string directory_;
  EntryBook& book_;
  uint64_t version_ = UINT64_MAX;  // Of the disk, when it was last read.

  raft::HardState hard_;
  raft::EntryId snapshot_;
  std::map<uint64_t, Segment> segments_;  // By sequence number.
  uint64_t segments_read_ = 0;
  bool begun_ = false;  // A header was read.
  // Entries stand behind entry base_.
  uint64_t base_ = 0;
  uint64_t base_term_ = 0;
  uint64_t base_chain_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_DURABLE_LOG_H_
