// Any entry, from pools so small that entries meet each other: three jobs, five
// workers, few tasks, eight uids for each.
#ifndef MILLRACE_MASTER_STATE_TESTING_RANDOM_ENTRIES_H_
#define MILLRACE_MASTER_STATE_TESTING_RANDOM_ENTRIES_H_

#include <cstdint>

#include "common/random.h"
#include "master/state/state.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::master::testing {

// `state` is what the entry is going to be applied to; that makes it likelier
// to be possible.
proto::LogEntry AnyEntry(Random& random, const State& state,
                         uint32_t tasks = 5);

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_STATE_TESTING_RANDOM_ENTRIES_H_
