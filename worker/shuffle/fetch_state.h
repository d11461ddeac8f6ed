// What FetchCore remembers. For its sources alone.
#ifndef MILLRACE_WORKER_SHUFFLE_FETCH_STATE_H_
#define MILLRACE_WORKER_SHUFFLE_FETCH_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "worker/shuffle/fetch_core.h"

namespace millrace::worker {

// One map output's partition, on its way to one reduce attempt.
struct FetchCore::Segment {
  State state = State::kNoLocation;
  // What is, or was, fetched: an announced location.
  AttemptUid uid;
  Hash128Value root;
  WorkerIncarnation source;

  uint64_t activity = 0;   // Transfer or check, in those states.
  bool not_local = false;  // Its file could not be used in place.
  int failures = 0;        // In a row, without a byte in between.
  int damaged = 0;         // Times that what came was wrong.
  int reports = 0;         // To the leader, of this uid.
  absl::Duration not_before;

  // Known with the index. The placement outlives a change of the uid: another
  // attempt's partition usually has the same length.
  std::optional<Placement> placement;
  std::shared_ptr<BlockVerifier> verifier;
  proto::FetchedSection section;
  std::string path;  // In place.
};

struct FetchCore::Reduce {
  uint64_t id = 0;
  ReduceInput input;
  std::vector<Segment> segments;
  uint32_t done = 0;
  bool ended = false;  // Ready or aborted.
  uint64_t fetched_bytes = 0;

  uint64_t memory_end = 0;  // Of the containers.
  uint64_t disk_end = 0;
  // Sections whose length has become known, and all of it.
  uint64_t placed = 0;
  uint64_t placed_bytes = 0;
  bool progress_due = false;
  absl::Duration progress_told = -absl::InfiniteDuration();
};

struct FetchCore::Source {
  std::string address;
  std::string host_id;
  std::string spool_dir;
  int active = 0;
  int failures = 0;  // In a row.
  absl::Duration not_before;
  absl::Duration gather_until;  // What is pending.
};

struct FetchCore::Job {
  struct Location {
    AttemptUid uid;
    Hash128Value root;
    WorkerIncarnation worker;
    bool lost = false;
  };
  std::map<uint32_t, Location> maps;
  // Verified files of this host, by attempt.
  std::map<AttemptUid, std::string> in_place;
  std::set<uint64_t> reduces;
};

struct FetchCore::Transfer {
  struct Section {
    uint32_t map = 0;
    AttemptUid uid;
    // False: it is complete or refused, or its segment has gone on without it.
    bool attached = true;
    bool brings_index = false;
    // Where the transfer may write, also when the segment has gone on.
    std::optional<Placement> placement;
  };
  uint64_t reduce = 0;
  JobId job;
  WorkerIncarnation source;
  std::vector<Section> sections;  // In the order asked for.
  bool idle = false;              // Cancelled for that.
  bool left = false;              // Cancelled without anybody's fault.
  absl::Duration last_activity;
};

struct FetchCore::Check {
  Key segment;
  AttemptUid uid;
  std::string path;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_FETCH_STATE_H_
