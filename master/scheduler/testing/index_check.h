// A leader's indexes beside a look at everything: what they must say at the end
// of every step.
#ifndef MILLRACE_MASTER_SCHEDULER_TESTING_INDEX_CHECK_H_
#define MILLRACE_MASTER_SCHEDULER_TESTING_INDEX_CHECK_H_

#include <string>

#include "master/scheduler/soft_state.h"

namespace millrace::master::testing {

// The first thing that is not as it should be, or "".
std::string IndexFault(const SoftState& soft);

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_SCHEDULER_TESTING_INDEX_CHECK_H_
