// What the state of a large cluster costs a master: memory, how long the loop
// stands still for a snapshot, how long a restart takes. A group of one with
// its log, snapshots and threads on a real disk, the state in place of a loop.
//
//   state_bench --directory=D            fills D: one job, every task won, and
//                                        then a tail that no snapshot covers
//   state_bench --directory=D --restart  in a process of its own: until it
//                                        leads
//   state_bench --apply                  without a log: what single entries
//                                        cost
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "bench/big_state.h"
#include "common/logging.h"
#include "common/random.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/testing/byte_strings.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

void Fill(const std::string& directory, uint32_t maps, uint64_t tail) {
  const double before = ResidentMiB();
  raft::MemoryNetwork network;
  Member member(directory, network);
  Entries entries(maps);
  const absl::Duration start = Now();
  Win(member, entries, maps, maps);
  const double seconds = MsSince(start) / 1000;
  std::vector<proto::LogEntry> batch;
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
  raft::MemoryNetwork network;
  Member member(directory, network);
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
