// The mutants of a core by name, so that scripts and tables can speak of them.
#ifndef MILLRACE_RAFT_CORE_TESTING_MUTANTS_H_
#define MILLRACE_RAFT_CORE_TESTING_MUTANTS_H_

#include <string_view>
#include <vector>

#include "raft/core/core.h"

namespace millrace::raft {

// In the order of CoreMutant.
std::vector<std::string_view> MutantNames();
// False: there is none of that name.
bool SetMutant(std::string_view name, CoreMutant* mutant);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_MUTANTS_H_
