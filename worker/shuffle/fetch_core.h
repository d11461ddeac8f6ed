// All decisions of the fetcher: what to fetch next, from whom, where to put it,
// when to try again and when to tell the leader. No clock, threads, locks,
// files or sockets; confined to whoever calls Step().
//
// For every reduce attempt there is one segment per map:
//
//   no location ──► checking ──► done (in place)
//        ▲  │          │ not readable here
//        │  └──────► pending ◄──────► transferring ──► done (a section)
//        │             ▲ │ location changed  │ the holder does not have it
//        │             │ ▼                   ▼
//        └──────────── gone (reported; waits for the leader)
//
// A transfer is one call: it brings sections of several maps to one reduce
// attempt, one behind the other, so that small ones share what a call costs
// (docs/design/012-shuffle-calls.md). When it ends early, what is complete
// stays and the section under way is to blame; those behind it were never
// tried.
//
// An index is fetched once: while one transfer brings the index of a map
// output, other segments of that output wait; afterwards it is cached.
#ifndef MILLRACE_WORKER_SHUFFLE_FETCH_CORE_H_
#define MILLRACE_WORKER_SHUFFLE_FETCH_CORE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/hash.h"
#include "common/ids.h"
#include "common/random.h"
#include "engine/format/map_output.h"
#include "proto/messages/worker.pb.h"
#include "rpc/backoff.h"
#include "worker/shuffle/block_verifier.h"
#include "worker/shuffle/fetcher.h"
#include "worker/shuffle/index_cache.h"

namespace millrace::worker {

struct FetchOptions {
  std::string host_id;
  std::string spool_dir;  // Of this worker.

  // Of all sections in memory. What does not fit goes to disk; so does a
  // section of more than a quarter of it.
  uint64_t memory_bytes = 256 << 20;
  // At the same time, over all sources and from one. Every transfer has a
  // thread, which waits for the network most of the time.
  int transfers_max = 8;
  int transfers_per_source_max = 2;
  // Of one transfer: at most so many, kFetchSectionsMax; and no further one
  // when so much is expected. Larger ones come one by one.
  int sections_max = 64;
  uint64_t shared_bytes = 4 << 20;
  // What a section is taken for as long as nothing is known of its attempt's:
  // the first ones come alone.
  uint64_t unknown_bytes = 4 << 20;
  // While maps still run, small sections wait so long for others that a
  // transfer can bring as well.
  absl::Duration gather = absl::Milliseconds(100);
  // Local files that are opened and checked at the same time.
  int checks_max = 16;
  // Of the indexes that are kept, see IndexCache.
  uint64_t index_rows_max = 400'000;

  // A transfer that brings nothing for so long is ended.
  absl::Duration idle_limit = absl::Seconds(15);
  // Failures in a row, of a segment or its source, that are reported.
  int tries = 3;
  rpc::BackoffOptions retry = {absl::Milliseconds(100), absl::Seconds(1), 2.0};
  // Between reports of the same map output.
  rpc::BackoffOptions report = {absl::Seconds(2), absl::Seconds(30), 2.0};
  absl::Duration progress_interval = absl::Milliseconds(500);
};

using TransferId = uint64_t;

// Where the bytes of a section go: one memory file and one disk file for each
// reduce attempt.
enum class ContainerKind { kMemory, kDisk };
struct Placement {
  ContainerKind container = ContainerKind::kMemory;
  uint64_t offset = 0;
  uint64_t capacity = 0;
};

// Both owned by the core too, which resumes with them.
struct SectionTarget {
  Placement placement;
  // Second owner: the transfer. The core touches it in the transfer's own
  // events, and when it has ended.
  std::shared_ptr<BlockVerifier> verifier;
};

namespace fetch {

// ------------------------------------------------------------------- events

struct SetIncarnation {
  WorkerIncarnation own;
};
struct StartReduce {
  ReduceInput input;
};
struct UpdateLocations {
  const proto::Locations* locations;  // Borrowed for the step.
};
struct Cancel {
  AttemptUid attempt;
};
struct ForgetJob {
  JobId job;
};
struct ForgetLocations {};
// Answers CheckLocal.
struct LocalChecked {
  uint64_t check = 0;
  absl::Status status;
};
// A section of a transfer begins. The step's effects hold WriteTo for it, if
// the transfer is to go on. A section without bytes is then complete.
struct HeaderArrived {
  TransferId transfer = 0;
  size_t section = 0;  // Of those asked for, in order.
  // Verified; null if none was asked for.
  std::shared_ptr<const engine::MapOutputSummary> index;
  uint64_t partition_bytes = 0;
};
// Bytes were verified and stored. If they were the section's last ones, the
// next section follows.
struct Stored {
  TransferId transfer = 0;
  size_t section = 0;
  uint64_t bytes = 0;
};
// The holder says that it cannot send a section, or not to its end. The next
// section follows.
struct SectionRefused {
  TransferId transfer = 0;
  size_t section = 0;
  absl::Status status;  // Not OK.
};
// Answers StartTransfer, exactly once.
struct TransferEnded {
  enum class Blame {
    kSource,  // `status` is what the holder or the network says; OK: it ended.
    kData,    // What came is not what was announced.
    kLocal,   // It could not be stored here.
  };
  TransferId transfer = 0;
  // That was under way or due; behind the last one: all were complete.
  size_t section = 0;
  Blame blame = Blame::kSource;
  absl::Status status;
};
// Time has passed.
struct Tick {};

using Event =
    std::variant<SetIncarnation, StartReduce, UpdateLocations, Cancel,
                 ForgetJob, ForgetLocations, LocalChecked, HeaderArrived,
                 Stored, SectionRefused, TransferEnded, Tick>;

// ------------------------------------------------------------------ effects

struct CheckLocal {
  uint64_t check = 0;
  std::string path;
  engine::MapOutputIdentity identity;
  uint32_t num_partitions = 0;
  Hash128Value root;
};
struct StartTransfer {
  struct Section {
    engine::MapOutputIdentity identity;
    Hash128Value root;
    uint64_t offset = 0;
    bool want_index = false;
  };
  TransferId transfer = 0;
  AttemptUid attempt;
  std::string address;
  JobId job;
  uint32_t num_partitions = 0;
  uint32_t partition = 0;
  std::vector<Section> sections;
};
struct WriteTo {
  TransferId transfer = 0;
  AttemptUid attempt;
  std::string directory;  // Of the attempt.
  SectionTarget target;
};
// Make it end soon.
struct CancelTransfer {
  TransferId transfer = 0;
};
// Nothing of the attempt's containers is needed any more.
struct DropContainers {
  AttemptUid attempt;
};

struct ReadyMap {
  uint32_t map_index = 0;
  AttemptUid uid;
  Hash128Value root;
  std::string path;  // In place; empty: a section.
  ContainerKind container = ContainerKind::kMemory;
  proto::FetchedSection section;
};
struct Ready {
  AttemptUid attempt;
  std::vector<ReadyMap> maps;
};
struct Aborted {
  AttemptUid attempt;
  absl::Status status;
};

using Effect =
    std::variant<CheckLocal, StartTransfer, WriteTo, CancelTransfer,
                 DropContainers, FetchProgress, Ready, FetchFailed, Aborted>;

}  // namespace fetch

class FetchCore {
 public:
  // `random` gives the jitter; it must outlive the core.
  FetchCore(const FetchOptions& options, Random& random);
  ~FetchCore();

  // `now` never goes back.
  std::vector<fetch::Effect> Step(const fetch::Event& event,
                                  absl::Duration now);

  // When Step(Tick) is due if nothing else happens; infinite: never.
  absl::Duration next_wake() const { return next_wake_; }

  // For tests: what all sections in memory take.
  uint64_t memory_used() const { return memory_used_; }
  int transfers() const { return static_cast<int>(transfers_.size()); }

 private:
  enum class State {
    kNoLocation,
    kChecking,
    kPending,
    kTransferring,
    kDone,
    kGone,
  };
  struct Segment;
  struct Reduce;
  struct Source;
  struct Job;
  struct Transfer;
  struct Check;
  // Attempts in the order of their start: what is begun is finished first.
  using Key = std::pair<uint64_t, uint32_t>;  // Reduce, map.
  using Summary = std::shared_ptr<const engine::MapOutputSummary>;

  void On(const fetch::SetIncarnation& event);
  void On(const fetch::StartReduce& event);
  void On(const fetch::UpdateLocations& event);
  void On(const fetch::Cancel& event);
  void On(const fetch::ForgetJob& event);
  void On(const fetch::ForgetLocations& event);
  void On(const fetch::LocalChecked& event);
  void On(const fetch::HeaderArrived& event);
  void On(const fetch::Stored& event);
  void On(const fetch::SectionRefused& event);
  void On(const fetch::TransferEnded& event);
  void On(const fetch::Tick&) {}

  // fetch_core.cc: segments and their locations.
  void Relocate(Reduce& reduce, uint32_t map);
  void Assign(Reduce& reduce, uint32_t map);
  void Detach(Reduce& reduce, uint32_t map);
  void Finish(Reduce& reduce, uint32_t map);
  void Fail(Reduce& reduce, uint32_t map, bool gone, const absl::Status& why);
  void Abort(Reduce& reduce, const absl::Status& why);
  void EraseIfOver(const JobId& job);
  engine::MapOutputIdentity IdentityOf(const Reduce& reduce,
                                       uint32_t map) const;

  // fetch_schedule.cc: transfers and checks, and when.
  void Schedule();
  void ScheduleChecks();
  void ScheduleTransfers();
  bool StartFrom(const WorkerIncarnation& incarnation, Source& source);
  bool Gathers(const Source& source, const std::set<Key>& pending);
  uint64_t BytesExpected(const Reduce& reduce, const Segment& segment) const;
  void Begin(Reduce& reduce, const std::vector<uint32_t>& maps, Source& source,
             const WorkerIncarnation& incarnation);
  void Place(Reduce& reduce, uint32_t map, const engine::MapOutputSummary&);
  void EndIdleTransfers();
  void ReportProgress();

  // fetch_transfers.cc: what comes of a transfer, and what its end means.
  Transfer* Heard(TransferId id, size_t section);
  Segment* SegmentOf(const Transfer& transfer, size_t section);
  void Leave(TransferId id, Transfer& transfer);
  void Complete(Transfer& transfer, size_t at);
  void EndedByData(Reduce& reduce, uint32_t map, const absl::Status& status);
  void EndedBySource(Reduce& reduce, uint32_t map, Source* source,
                     const WorkerIncarnation& incarnation, absl::Status status);

  void WakeBy(absl::Duration time);

  const FetchOptions options_;
  Random& random_;

  WorkerIncarnation own_;
  std::map<WorkerIncarnation, Source> sources_;
  std::map<JobId, Job> jobs_;
  uint64_t next_reduce_ = 1;
  std::map<uint64_t, Reduce> reduces_;
  std::map<AttemptUid, uint64_t> reduce_of_;

  uint64_t next_id_ = 1;  // Of transfers and checks.
  std::map<TransferId, Transfer> transfers_;
  std::map<uint64_t, Check> checks_;
  std::set<Key> to_check_;
  std::map<WorkerIncarnation, std::set<Key>> pending_;
  WorkerIncarnation last_source_;  // That got a transfer: the next one is next.

  std::set<AttemptUid> index_under_way_;
  IndexCache<engine::MapOutputSummary> indexes_;  // Of jobs that are in jobs_.

  uint64_t memory_used_ = 0;

  // Of the present step.
  absl::Duration now_;
  absl::Duration next_wake_ = absl::InfiniteDuration();
  std::vector<fetch::Effect> effects_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_FETCH_CORE_H_
