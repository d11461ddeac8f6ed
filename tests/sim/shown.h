// What people are shown of a leader's judgement of its workers.
#ifndef MILLRACE_TESTS_SIM_SHOWN_H_
#define MILLRACE_TESTS_SIM_SHOWN_H_

#include <map>
#include <set>
#include <string>

#include "common/ids.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/state.h"

namespace millrace::sim {

struct Shown {
  std::map<std::string, std::string> workers;  // Name -> state.
  std::map<JobId, std::set<std::string>> avoided;
};

// Empty unless `core` leads. `state` is what it works on.
Shown ShownBy(const master::SchedulerCore& core, const master::State& state);

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_SHOWN_H_
