#include "tests/sim/raft/options.h"

#include <memory>

#include "common/random.h"
#include "common/strings.h"

namespace millrace::raftsim {
namespace {

int64_t Between(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(
                   random.Uniform(static_cast<uint64_t>(high - low + 1)));
}

template <typename T, size_t n>
T OneOf(Random& random, const T (&values)[n]) {
  return values[random.Uniform(n)];
}

void DrawFaults(const SimOptions& options, Random& random, Scenario* s) {
  // Swarm: a fault hides others, so each seed has its own selection (Groce et
  // al., "Swarm testing", 2012). Some have few, some nearly all.
  const uint64_t percent = OneOf<uint64_t>(random, {25, 50, 50, 75});
  for (size_t i = 0; i < kFaults; ++i) {
    s->faults[i] = random.Uniform(100) < percent;
  }
  const auto set = [s](Fault fault, bool on) {
    s->faults[static_cast<size_t>(fault)] = on;
  };
  // What every history needs some of.
  if (!s->has(Fault::kKill)) set(Fault::kPowerCut, true);
  if (!s->has(Fault::kPartition)) set(Fault::kLeaderCut, true);
  if (s->machines == 1) {
    // A disk that nobody has a copy of must not be lost.
    set(Fault::kDiskLost, false);
    set(Fault::kBitRot, false);
    for (Fault fault : {Fault::kKill, Fault::kPowerCut, Fault::kPowerCutAtCall,
                        Fault::kKillAtCall, Fault::kPause}) {
      set(fault, true);
    }
  }
  for (size_t i = 0; i < kFaults; ++i) {
    if ((options.without_faults >> i & 1) != 0) s->faults[i] = false;
  }
}

}  // namespace

Scenario DrawScenario(const SimOptions& options) {
  const auto seeded = Random::Seeded(options.seed * 2 + 1);
  Random& random = *seeded;
  Scenario s;
  s.founding_size = OneOf(random, {1, 3, 3, 3, 3, 3, 5, 5});
  s.machines = s.founding_size;
  // A group that grows to 5 and shrinks again, or a single one that gets
  // others.
  if (s.founding_size == 3 && random.Uniform(3) == 0) s.machines = 5;
  if (s.founding_size == 1 && random.Uniform(2) == 0) s.machines = 3;
  DrawFaults(options, random, &s);
  s.fault_interval = absl::Milliseconds(Between(random, 400, 3000));
  s.faults_end = absl::Milliseconds(Between(random, 85'000, 110'000));
  s.ending = OneOf(
      random, {Ending::kAllHealed, Ending::kAllHealed, Ending::kMinorityDown,
               Ending::kHalfConnected, Ending::kBridged});
  if (s.machines == 1) s.ending = Ending::kAllHealed;

  s.clients.clients = static_cast<int>(Between(random, 1, 5));
  s.clients.think = absl::Milliseconds(Between(random, 50, 1500));
  s.clients.answer_timeout = absl::Milliseconds(Between(random, 500, 3000));
  s.clients.patience = absl::Seconds(Between(random, 3, 15));
  s.lists.lists = static_cast<uint32_t>(Between(random, 1, 6));
  s.lists.padding_bytes_max = OneOf<uint32_t>(random, {0, 0, 100, 400, 1200});
  s.lists.reads_percent = static_cast<uint32_t>(Between(random, 10, 70));

  s.core.election_ticks = OneOf(random, {5, 10, 10, 10, 20});
  s.core.heartbeat_ticks = OneOf(random, {1, 1, 2});
  s.core.append_bytes_max = OneOf<uint64_t>(random, {1, 64, 512, 4096, 65536});
  s.core.inflight_messages_max = OneOf(random, {1, 2, 4, 16, 256});
  s.core.inflight_bytes_max = OneOf<uint64_t>(random, {256, 4096, 1 << 20});
  s.core.uncommitted_bytes_max = UINT64_MAX;  // The gate has the limit.
  s.uncommitted_bytes_max = OneOf<uint64_t>(random, {2048, 16384, 1 << 20});
  s.group_bytes_max = OneOf<uint64_t>(random, {1, 1024, 1 << 20});
  s.cache_bytes_max = OneOf<uint64_t>(random, {0, 2048, 1 << 20});
  s.busy_max = absl::Microseconds(OneOf(random, {0, 0, 500, 20'000}));
  s.core.committed_bytes_max = OneOf<uint64_t>(random, {64, 1024, 1 << 20});
  s.core.stuck_write_ticks = OneOf(random, {0, 10, 20});

  s.segment_bytes = OneOf<uint64_t>(random, {8192, 8192, 12288, 16384, 65536});
  s.snapshot_entries = OneOf<uint64_t>(random, {5, 20, 60, 200, 100'000});
  s.keep_entries = OneOf<uint64_t>(random, {0, 5, 20, 100});
  s.snapshot_chunk_bytes = OneOf<uint64_t>(random, {64, 512, 4096});
  s.mailbox_max = OneOf<size_t>(random, {4, 16, 64, 1024});
  s.sync_max = absl::Microseconds(OneOf(random, {500, 2000, 20'000, 80'000}));
  s.apply_max = absl::Microseconds(OneOf(random, {100, 2000, 50'000}));
  s.has_jobs = random.Uniform(3) == 0;
  s.jobs.jobs = static_cast<uint32_t>(Between(random, 5, 40));
  s.jobs.padding_bytes_max = s.lists.padding_bytes_max;
  s.jobs.reads_percent = s.lists.reads_percent;
  s.jobs.mutant = options.mutant.state;
  return s;
}

std::string Describe(const Scenario& scenario) {
  std::string faults;
  for (size_t i = 0; i < kFaults; ++i) {
    if (!scenario.faults[i]) continue;
    faults.append(
        Cat(faults.empty() ? "" : ", ", FaultName(static_cast<Fault>(i))));
  }
  return Cat(scenario.founding_size, " of ", scenario.machines, " machines, ",
             scenario.clients.clients, " clients of ",
             scenario.has_jobs ? "jobs" : "lists", ", ending ",
             static_cast<int>(scenario.ending), ", election after ",
             scenario.core.election_ticks, " ticks, appends of ",
             scenario.core.append_bytes_max, " bytes, segments of ",
             scenario.segment_bytes, ", a snapshot every ",
             scenario.snapshot_entries, " entries; a fault every ",
             absl::FormatDuration(scenario.fault_interval), ": ", faults);
}

}  // namespace millrace::raftsim
