#include "bench/big_state.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "bench/task_reports.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/service/state_snapshots.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

constexpr uint32_t kPartitions = 100;

}  // namespace

absl::Duration Now() { return Clock::Real().Monotonic(); }
double MsSince(absl::Duration start) {
  return absl::ToDoubleMilliseconds(Now() - start);
}

std::vector<proto::LogEntry> Entries::First() {
  std::vector<proto::LogEntry> entries = {testing::TermStarted()};
  for (uint64_t w = 1; w <= kWorkers; ++w) {
    entries.push_back(testing::WorkerJoined(w, Cat("worker-", w)));
  }
  entries.push_back(testing::Submitted(kJob, "/data/output/of/the/job"));
  entries.push_back(testing::Planned(kJob, 1, 1, maps_, kPartitions));
  return entries;
}

proto::LogEntry Entries::MapWon(uint32_t map) {
  const proto::TaskDone done =
      MapReport(100'000 + random_->Uniform(1000), map, *random_);
  return testing::MapWon(kJob, map, 1'000 + next_++, 1 + map % kWorkers, done);
}

proto::LogEntry Entries::MapLost(const State& state, uint32_t map) {
  proto::LogEntry entry;
  proto::MapLost* lost = entry.mutable_map_lost();
  const Job& job = *state.FindJob(testing::MakeId<JobId>(kJob));
  lost->set_job_id(std::string(job.id.bytes()));
  lost->set_map_index(map);
  lost->set_attempt_uid(std::string(job.maps.tasks[map].uid.bytes()));
  entry.set_version(kLogEntryVersion);
  return entry;
}

void Sink::OnCommitted(std::vector<raft::CommittedEntry> entries) {
  absl::MutexLock lock(&mu);
  for (const raft::CommittedEntry& committed : entries) {
    proto::LogEntry entry;
    CHECK(entry.ParseFromString(committed.payload));
    const absl::Duration start = Now();
    const ApplyResult result =
        state.Apply(committed.index, committed.term, entry);
    slowest_ms = std::max(slowest_ms, MsSince(start));
    CHECK(result.applied()) << result.message;
    if (on_applied) {
      on_applied({committed.index, committed.term, &entry, &result});
    }
    ++applied;
    ++since_snapshot;
  }
}

void Sink::OnSnapshot(uint64_t index, uint64_t at_term,
                      std::unique_ptr<ByteSource> source) {
  const absl::Duration start = Now();
  auto restored = ReadSnapshot(index, at_term, *source);
  CHECK(restored.ok()) << restored.status();
  absl::MutexLock lock(&mu);
  restore_ms = MsSince(start);
  const absl::Duration swap = Now();
  state.Swap(**restored);
  swap_ms = MsSince(swap);
  snapshot_index = index;
}

void Sink::OnSnapshotWanted(SnapshotTaken done) {
  absl::MutexLock lock(&mu);
  const absl::Duration start = Now();
  TakeSnapshot(state, done);
  pauses_ms.push_back(MsSince(start));
  since_snapshot = 0;
}

void Sink::OnLeading(uint64_t leads) {
  absl::MutexLock lock(&mu);
  term = leads;
}

void Sink::WaitFor(const std::function<bool()>& condition) {
  absl::MutexLock lock(&mu);
  mu.Await(absl::Condition(&condition));
}

Member::Member(const std::string& directory, raft::MemoryNetwork& network,
               const std::optional<ClusterId>& cluster)
    : transport_(network.NewTransport()) {
  raft::NodeOptions options;
  options.directory = directory;
  options.cluster = cluster;
  options.join = cluster.has_value();
  const std::unique_ptr<Random> random = Random::Entropy();
  auto node = raft::OpenNode(options, raft::Disk::Posix(), Clock::Real(),
                             *random, *transport_, sink);
  CHECK(node.ok()) << node.status();
  node_ = *std::move(node);
  if (!cluster.has_value()) sink.WaitFor([this] { return sink.term > 0; });
}

void Member::Propose(const std::vector<proto::LogEntry>& entries) {
  std::vector<std::string> payloads;
  for (const proto::LogEntry& entry : entries) {
    payloads.push_back(entry.SerializeAsString());
    bytes += payloads.back().size();
  }
  proposed_ += entries.size();
  const absl::Status proposed = node_->Propose(sink.term, std::move(payloads));
  CHECK(proposed.ok()) << proposed;
  // Some batches are under way at a time.
  sink.WaitFor([this] { return sink.applied + 5'000 >= proposed_; });
}

void Member::WaitForAll() {
  sink.WaitFor([this] { return sink.applied == proposed_; });
}

// The first `won` of the job's maps, in scattered order.
void Win(Member& member, Entries& entries, uint32_t maps, uint32_t won) {
  member.Propose(entries.First());
  // The step has no divisor with their number.
  uint64_t step = maps / 3 * 2 + 1;
  while (std::gcd(step, uint64_t{maps}) != 1) ++step;
  std::vector<proto::LogEntry> batch;
  for (uint64_t i = 0; i < won; ++i) {
    batch.push_back(entries.MapWon(static_cast<uint32_t>(i * step % maps)));
    if (batch.size() == 500 || i + 1 == won) {
      member.Propose(std::exchange(batch, {}));
    }
  }
  member.WaitForAll();
}

}  // namespace millrace::master
