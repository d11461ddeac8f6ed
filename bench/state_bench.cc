// What the state of a large cluster costs a master: memory, how long the loop
// stands still for a snapshot, how long a restart takes. A group of one with
// its log, snapshots and threads on a real disk, the state in place of a loop.
//
//   state_bench --directory=D            fills D: one job, every task won, and
//                                        then a tail that no snapshot covers
//   state_bench --directory=D --restart  in a process of its own: until it
//   leads state_bench --apply                  without a log: what single
//   entries cost
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/service/state_snapshots.h"
#include "master/state/state.h"
#include "master/state/testing/byte_strings.h"
#include "master/state/testing/entries.h"
#include "raft/node/node.h"
#include "raft/transport/testing/memory_network.h"

namespace millrace::master {
namespace {

constexpr uint64_t kJob = 1;
constexpr uint32_t kPartitions = 100;
constexpr uint64_t kWorkers = 500;
constexpr int kCounters = 16;

absl::Duration Now() { return Clock::Real().Monotonic(); }
double MsSince(absl::Duration start) {
  return absl::ToDoubleMilliseconds(Now() - start);
}

double ResidentMiB() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) *
         static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// As the winners of a real job report, by and large.
class Entries {
 public:
  explicit Entries(uint32_t maps) : maps_(maps) {}

  // What comes before the tasks.
  std::vector<proto::LogEntry> First() {
    std::vector<proto::LogEntry> entries = {testing::TermStarted()};
    for (uint64_t w = 1; w <= kWorkers; ++w) {
      entries.push_back(testing::WorkerJoined(w, Cat("worker-", w)));
    }
    entries.push_back(testing::Submitted(kJob, "/data/output/of/the/job"));
    entries.push_back(testing::Planned(kJob, 1, 1, maps_, kPartitions));
    return entries;
  }
  proto::LogEntry MapWon(uint32_t map) {
    proto::TaskDone done =
        testing::MapDone(100'000 + random_->Uniform(1000), map);
    done.set_map_output_bytes(random_->Uniform(64 << 20));
    for (int i = 1; i < kCounters; ++i) {
      proto::Counter* counter = done.add_counters();
      counter->set_group("task");
      counter->set_name(Cat("COUNTER_OF_TASKS_", i));
      counter->set_value(static_cast<int64_t>(random_->Uniform(1 << 20)));
    }
    return testing::MapWon(kJob, map, 1'000 + next_++, 1 + map % kWorkers,
                           done);
  }
  proto::LogEntry MapLost(const State& state, uint32_t map) {
    proto::LogEntry entry;
    proto::MapLost* lost = entry.mutable_map_lost();
    const Job& job = *state.FindJob(testing::MakeId<JobId>(kJob));
    lost->set_job_id(std::string(job.id.bytes()));
    lost->set_map_index(map);
    lost->set_attempt_uid(std::string(job.maps.tasks[map].uid.bytes()));
    entry.set_version(kLogEntryVersion);
    return entry;
  }

 private:
  const uint32_t maps_;
  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  uint64_t next_ = 0;
};

// A loop's part, on the log's thread.
class Sink final : public raft::LogSink {
 public:
  void OnCommitted(std::vector<raft::CommittedEntry> entries) override {
    absl::MutexLock lock(&mu);
    for (const raft::CommittedEntry& committed : entries) {
      proto::LogEntry entry;
      CHECK(entry.ParseFromString(committed.payload));
      const absl::Duration start = Now();
      const ApplyResult result =
          state.Apply(committed.index, committed.term, entry);
      slowest_ms = std::max(slowest_ms, MsSince(start));
      CHECK(result.applied()) << result.message;
      ++applied;
      ++since_snapshot;
    }
  }
  void OnSnapshot(uint64_t index, uint64_t at_term,
                  std::unique_ptr<ByteSource> source) override {
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
  void OnSnapshotWanted(SnapshotTaken done) override {
    absl::MutexLock lock(&mu);
    const absl::Duration start = Now();
    TakeSnapshot(state, done);
    pauses_ms.push_back(MsSince(start));
    since_snapshot = 0;
  }
  void OnLeading(uint64_t leads) override {
    absl::MutexLock lock(&mu);
    term = leads;
  }
  void OnFollowing(uint64_t, std::string) override {}

  void WaitFor(const std::function<bool()>& condition) {
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(&condition));
  }

  absl::Mutex mu;  // Over all of it.
  State state;
  uint64_t term = 0;
  uint64_t applied = 0;
  uint64_t since_snapshot = 0;
  uint64_t snapshot_index = 0;
  double restore_ms = 0;
  double swap_ms = 0;
  double slowest_ms = 0;
  std::vector<double> pauses_ms;
};

class Member {
 public:
  explicit Member(const std::string& directory)
      : transport_(network_.NewTransport()) {
    raft::NodeOptions options;
    options.directory = directory;
    const std::unique_ptr<Random> random = Random::Entropy();
    auto node = raft::OpenNode(options, raft::Disk::Posix(), Clock::Real(),
                               *random, *transport_, sink);
    CHECK(node.ok()) << node.status();
    node_ = *std::move(node);
    sink.WaitFor([this] { return sink.term > 0; });
  }

  void Propose(const std::vector<proto::LogEntry>& entries) {
    std::vector<std::string> payloads;
    for (const proto::LogEntry& entry : entries) {
      payloads.push_back(entry.SerializeAsString());
      bytes += payloads.back().size();
    }
    proposed_ += entries.size();
    const absl::Status proposed =
        node_->Propose(sink.term, std::move(payloads));
    CHECK(proposed.ok()) << proposed;
    // Some batches are under way at a time.
    sink.WaitFor([this] { return sink.applied + 5'000 >= proposed_; });
  }
  void WaitForAll() {
    sink.WaitFor([this] { return sink.applied == proposed_; });
  }

  Sink sink;
  uint64_t bytes = 0;

 private:
  uint64_t proposed_ = 0;
  raft::MemoryNetwork network_;
  std::unique_ptr<raft::Transport> transport_;
  std::unique_ptr<raft::Node> node_;
};

void Fill(const std::string& directory, uint32_t maps, uint64_t tail) {
  const double before = ResidentMiB();
  Member member(directory);
  Entries entries(maps);
  const absl::Duration start = Now();
  member.Propose(entries.First());
  // In scattered order: the step has no divisor with the number of maps.
  uint64_t step = maps / 3 * 2 + 1;
  while (std::gcd(step, uint64_t{maps}) != 1) ++step;
  std::vector<proto::LogEntry> batch;
  for (uint64_t i = 0; i < maps; ++i) {
    batch.push_back(entries.MapWon(static_cast<uint32_t>(i * step % maps)));
    if (batch.size() == 500 || i + 1 == maps) {
      member.Propose(std::exchange(batch, {}));
    }
  }
  member.WaitForAll();
  const double seconds = MsSince(start) / 1000;
  {
    absl::MutexLock lock(&member.sink.mu);
    const std::vector<double>& pauses = member.sink.pauses_ms;
    std::printf("%u maps won in %.1f s, %.0f bytes of log each\n", maps,
                seconds, static_cast<double>(member.bytes) / maps);
    std::printf(
        "snapshots %zu, pause of the loop at most %.2f ms\n", pauses.size(),
        pauses.empty() ? 0 : *std::max_element(pauses.begin(), pauses.end()));
    std::printf("slowest single entry %.2f ms\n", member.sink.slowest_ms);
    std::printf("resident memory %.0f MiB, %.0f bytes a task\n", ResidentMiB(),
                (ResidentMiB() - before) * (1 << 20) / maps);
  }
  // Entries that the newest snapshot does not hold, as many as there can be.
  for (uint32_t map = 0;; ++map) {
    {
      absl::MutexLock lock(&member.sink.mu);
      if (member.sink.since_snapshot >= tail) break;
      batch.push_back(entries.MapLost(member.sink.state, map % maps));
    }
    batch.push_back(entries.MapWon(map % maps));
    if (batch.size() == 500) {
      member.Propose(std::exchange(batch, {}));
      member.WaitForAll();
    }
  }
  absl::MutexLock lock(&member.sink.mu);
  std::printf("tail of %llu entries; resident memory %.0f MiB\n",
              static_cast<unsigned long long>(member.sink.since_snapshot),
              ResidentMiB());
}

void Restart(const std::string& directory, uint32_t maps) {
  const double before = ResidentMiB();
  const absl::Duration start = Now();
  Member member(directory);
  const double led_ms = MsSince(start);
  absl::MutexLock lock(&member.sink.mu);
  Sink& sink = member.sink;
  std::printf(
      "leads after %.2f s: snapshot of entry %llu read in %.2f s, "
      "swapped in %.2f ms, %llu entries behind it\n",
      led_ms / 1000, static_cast<unsigned long long>(sink.snapshot_index),
      sink.restore_ms / 1000, sink.swap_ms,
      static_cast<unsigned long long>(sink.applied));
  const std::unique_ptr<Random> random = Random::Seeded(1);
  const absl::Duration core_start = Now();
  SchedulerCore core({}, sink.state, *random);
  core.Step(BecameLeader{sink.term, {}}, Now(), 0);
  proto::LogEntry entry = testing::TermStarted();
  const uint64_t index = sink.state.applied_index() + 1;
  const ApplyResult result = sink.state.Apply(index, sink.term, entry);
  core.Step(EntryApplied{index, sink.term, &entry, &result}, Now(), 0);
  CHECK(core.leading());
  std::printf("scheduler begins its term in %.1f ms\n", MsSince(core_start));
  std::printf("resident memory %.0f MiB, %.0f bytes a task\n", ResidentMiB(),
              (ResidentMiB() - before) * (1 << 20) / maps);
}

// Single entries on a state of `maps` maps, and how long it takes to hold it
// still, write and read it.
void ApplyAlone(uint32_t maps) {
  Entries entries(maps);
  const double before = ResidentMiB();
  State state;
  uint64_t index = 0;
  for (const proto::LogEntry& entry : entries.First()) {
    CHECK(state.Apply(++index, 1, entry).applied());
  }
  absl::Duration spent;
  const auto apply = [&](const proto::LogEntry& entry) {
    const absl::Duration start = Now();
    const ApplyResult result = state.Apply(++index, 1, entry);
    spent += Now() - start;
    CHECK(result.applied()) << result.message;
  };
  for (uint32_t map = 0; map < maps; ++map) apply(entries.MapWon(map));
  std::printf("MapWon %.0f ns, resident memory %.0f bytes a task\n",
              absl::ToDoubleNanoseconds(spent) / maps,
              (ResidentMiB() - before) * (1 << 20) / maps);

  std::vector<double> pauses;
  std::shared_ptr<const StateSnapshot> frozen;
  for (int i = 0; i < 50; ++i) {
    const absl::Duration start = Now();
    frozen = state.Freeze();
    pauses.push_back(MsSince(start));
  }
  std::sort(pauses.begin(), pauses.end());
  std::printf("Freeze %.3f ms, at most %.3f ms\n", pauses[25], pauses.back());
  {
    testing::StringSink sink;
    absl::Duration start = Now();
    CHECK(frozen->WriteTo(sink).ok());
    std::printf("written in %.0f ms, %.0f bytes a task\n", MsSince(start),
                static_cast<double>(sink.bytes.size()) / maps);
    testing::StringSource source(sink.bytes);
    start = Now();
    auto restored = State::Restore(source);
    CHECK(restored.ok()) << restored.status();
    std::printf("restored in %.0f ms\n", MsSince(start));
    start = Now();
    restored->reset();
    std::printf("destroyed in %.0f ms\n", MsSince(start));
  }
  // With every chunk shared, and without.
  for (const bool shared : {true, false}) {
    if (!shared) frozen.reset();
    for (uint64_t worker = shared ? 1 : 21; worker <= (shared ? 20u : 40u);
         ++worker) {
      spent = absl::ZeroDuration();
      apply(testing::WorkerLost(worker));
      pauses.push_back(absl::ToDoubleMilliseconds(spent));
    }
    std::sort(pauses.end() - 20, pauses.end());
    std::printf("WorkerLost, %u maps, %s: %.2f ms, at most %.2f ms\n",
                maps / static_cast<uint32_t>(kWorkers),
                shared ? "while frozen" : "not frozen",
                pauses[pauses.size() - 10], pauses.back());
  }
}

}  // namespace
}  // namespace millrace::master

int main(int argc, char** argv) {
  CLI::App app("What a state of many tasks costs a master");
  std::string directory;
  uint32_t maps = 1'000'000;
  uint64_t tail = 190'000;
  bool restart = false, apply = false;
  app.add_option("--directory", directory, "of the log; its parent is there");
  app.add_option("--maps", maps, "of the one job");
  app.add_option("--tail", tail, "entries behind the last snapshot");
  app.add_flag("--restart", restart, "begin with what is there");
  app.add_flag("--apply", apply, "without a log");
  CLI11_PARSE(app, argc, argv);
  if (apply) {
    millrace::master::ApplyAlone(maps);
  } else if (directory.empty()) {
    std::cerr << "--directory or --apply\n";
    return 2;
  } else if (restart) {
    millrace::master::Restart(directory, maps);
  } else {
    millrace::master::Fill(directory, maps, tail);
  }
  return 0;
}
