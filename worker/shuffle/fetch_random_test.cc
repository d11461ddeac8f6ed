#include "worker/shuffle/fetch_core.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "worker/shuffle/testing/fetch_world.h"

namespace millrace::worker {
namespace {

// Everything that can go wrong, in any order; at the end the network heals, and
// what is ready must be right.
TEST(FetchCore, WhateverHappensWhatIsReadyIsRight) {
  size_t shared = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    engine::TestRandom random(seed);
    FetchOptions options = FetchWorld::Options();
    options.memory_bytes = 40'000;
    options.transfers_max = static_cast<int>(1 + random.Below(6));
    options.transfers_per_source_max = static_cast<int>(1 + random.Below(2));
    options.sections_max = static_cast<int>(1 + random.Below(8));
    options.shared_bytes = random.Below(2) == 0 ? 4 << 20 : 6000;
    if (random.Below(2) == 0) options.unknown_bytes = 0;
    options.gather = absl::Milliseconds(random.Below(300));
    options.index_rows_max = random.Below(90);
    FetchWorld world(options);
    constexpr uint32_t kMaps = 10;
    std::vector<TestOutput> outputs;  // Attempts 1 and 2 of each map.
    outputs.reserve(2 * kMaps);
    for (uint32_t map = 0; map < kMaps; ++map) {
      outputs.push_back(Output(map, 1));
      outputs.push_back(Output(map, 2));
    }
    std::vector<WorkerIncarnation> workers;
    for (int w = 0; w < 3; ++w) {
      workers.push_back(world.AddWorker(w, w == 2 ? "here" : ""));
    }
    std::map<AttemptUid, uint32_t> reduces;
    for (uint32_t p = 0; p < 3; ++p) reduces[world.StartReduce(p, kMaps)] = p;

    size_t checked = 0;
    const auto announce = [&](uint32_t map) {
      const TestOutput& output = outputs[2 * map + random.Below(2)];
      world.Locate({&output}, workers[random.Below(workers.size())]);
    };
    const auto act = [&](bool healthy) {
      while (checked < world.checks_.size()) {
        const bool ok = healthy || random.Below(2) == 0;
        world.Step(fetch::LocalChecked{
            world.checks_[checked].check,
            ok ? absl::OkStatus() : absl::NotFoundError("no")});
        ++checked;
      }
      if (world.wires_.empty()) {
        world.Pass(absl::Milliseconds(100 + random.Below(5000)));
        return;
      }
      auto it = world.wires_.begin();
      std::advance(it, random.Below(world.wires_.size()));
      const TransferId id = it->first;
      FetchWorld::Wire& wire = it->second;
      if (wire.cancelled && random.Below(2) == 0) {
        world.End(id, absl::CancelledError("cancelled"));
        return;
      }
      if (wire.over()) {
        world.End(id, random.Below(4) == 0 ? kCut : absl::OkStatus());
        return;
      }
      const TestOutput& output = world.OutputOf(wire);
      const uint64_t dice = healthy ? 99 : random.Below(100);
      if (dice < 8) {
        world.End(id, kCut);
      } else if (dice < 10) {
        world.Refuse(wire, random.Below(2) == 0
                               ? absl::NotFoundError("no")
                               : absl::InternalError("read error"));
      } else if (dice < 12) {
        world.End(id, absl::ResourceExhaustedError("busy"));
      } else if (dice < 14) {
        world.SendBytes(wire, output, 5000, random.Below(2000));
      } else if (dice < 16) {
        world.Pass(absl::Seconds(16));
      } else if (dice < 18 && !wire.header_sent) {
        world.SendHeader(wire, outputs[random.Below(outputs.size())]);
      } else if (dice < 22) {
        announce(static_cast<uint32_t>(random.Below(kMaps)));
      } else if (dice < 23) {
        world.Lose(outputs[random.Below(outputs.size())]);
      } else if (random.Below(8) == 0) {
        world.Complete(id);
      } else if (random.Below(3) == 0) {
        world.SendSection(wire);
      } else {
        world.SendBytes(wire, output, random.Below(1500));
      }
    };
    for (uint32_t map = 0; map < kMaps; ++map) announce(map);
    for (int i = 0; i < 500 && world.ready_.size() < 3; ++i) act(false);
    for (uint32_t map = 0; map < kMaps; ++map) announce(map);
    for (int i = 0; i < 5000 && world.ready_.size() < 3; ++i) {
      // What was reported is announced again, as a leader would.
      if (i % 100 == 99) {
        for (uint32_t map = 0; map < kMaps; ++map) announce(map);
      }
      act(true);
    }
    ASSERT_EQ(world.ready_.size(), 3);
    EXPECT_TRUE(world.aborted_.empty());
    for (const fetch::Ready& ready : world.ready_) {
      const uint32_t partition = reduces.at(ready.attempt);
      ASSERT_EQ(ready.maps.size(), kMaps);
      for (const fetch::ReadyMap& map : ready.maps) {
        const TestOutput& output = *world.outputs_.at(map.uid);
        EXPECT_EQ(output.identity.map_index, map.map_index);
        if (map.path.empty()) {
          ASSERT_TRUE(world.Section(ready.attempt, map) ==
                      output.partition(partition));
        }
      }
    }
    EXPECT_LE(world.core_.memory_used(), options.memory_bytes);
    for (const auto& start : world.started_)
      shared += start.sections.size() > 1;
    for (const auto& [attempt, partition] : reduces) {
      world.Step(fetch::Cancel{attempt});
    }
    world.CompleteAll();
    EXPECT_EQ(world.core_.memory_used(), 0);
    EXPECT_EQ(world.core_.transfers(), 0);
    EXPECT_EQ(world.core_.next_wake(), absl::InfiniteDuration());
  }
  EXPECT_GT(shared, 400);
}

}  // namespace
}  // namespace millrace::worker
