#ifndef MILLRACE_BENCH_BIG_STATE_H_
#define MILLRACE_BENCH_BIG_STATE_H_

// The state of a large job behind a log on a real disk: entries like those of a
// job of a million maps, and a member of a group that applies them to a state,
// without a master around it. For state_bench and failover_bench.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/process_use.h"
#include "common/random.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/state.h"
#include "raft/node/node.h"
#include "raft/transport/testing/memory_network.h"

namespace millrace::master {

constexpr uint64_t kJob = 1;
constexpr uint64_t kWorkers = 500;

absl::Duration Now();
double MsSince(absl::Duration start);

// As the winners of a real job report, by and large.
class Entries {
 public:
  explicit Entries(uint32_t maps) : maps_(maps) {}

  // What comes before the tasks.
  std::vector<proto::LogEntry> First();
  proto::LogEntry MapWon(uint32_t map);
  proto::LogEntry MapLost(const State& state, uint32_t map);

 private:
  const uint32_t maps_;
  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  uint64_t next_ = 0;
};

// The state, on the log's threads in place of a master's loop. Its members are
// read and written while `mu` is held.
class Sink final : public raft::LogSink {
 public:
  void OnCommitted(std::vector<raft::CommittedEntry> entries) override;
  void OnSnapshot(uint64_t index, uint64_t at_term,
                  std::unique_ptr<ByteSource> source) override;
  void OnSnapshotWanted(SnapshotTaken done) override;
  void OnLeading(uint64_t leads) override;
  void OnFollowing(uint64_t, std::string) override {}

  void WaitFor(const std::function<bool()>& condition);

  absl::Mutex mu;
  State state;
  uint64_t term = 0;  // That it leads, 0 before the first.
  uint64_t applied = 0;
  uint64_t since_snapshot = 0;
  uint64_t snapshot_index = 0;
  double restore_ms = 0;
  double swap_ms = 0;
  double slowest_ms = 0;
  std::vector<double> pauses_ms;
  std::function<void(const EntryApplied&)> on_applied;
};

class Member {
 public:
  // Founds a group and leads it, or joins that of `cluster`.
  Member(const std::string& directory, raft::MemoryNetwork& network,
         const std::optional<ClusterId>& cluster = {});

  raft::Node& node() { return *node_; }
  // As a process that is killed: it says nothing any more.
  void Kill() { node_.reset(); }

  // Of the leader. Some batches are under way at a time.
  void Propose(const std::vector<proto::LogEntry>& entries);
  void WaitForAll();

  Sink sink;
  uint64_t bytes = 0;  // Proposed.

 private:
  uint64_t proposed_ = 0;
  std::unique_ptr<raft::Transport> transport_;
  std::unique_ptr<raft::Node> node_;
};

// The first `won` of the job's maps, in scattered order.
void Win(Member& member, Entries& entries, uint32_t maps, uint32_t won);

}  // namespace millrace::master

#endif  // MILLRACE_BENCH_BIG_STATE_H_
