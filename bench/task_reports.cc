#include "bench/task_reports.h"

#include "common/strings.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

constexpr int kCounters = 16;

}  // namespace

proto::TaskDone MapReport(uint64_t records, uint32_t map, Random& random) {
  proto::TaskDone done = testing::MapDone(records, map);
  done.set_map_output_bytes(random.Uniform(64 << 20));
  for (int i = 1; i < kCounters; ++i) {
    proto::Counter* counter = done.add_counters();
    counter->set_group("task");
    counter->set_name(Cat("COUNTER_OF_TASKS_", i));
    counter->set_value(static_cast<int64_t>(random.Uniform(1 << 20)));
  }
  return done;
}

}  // namespace millrace::master
