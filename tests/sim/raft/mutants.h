// Rules left out one at a time, to show that the simulation notices: what
// libraries have got wrong in earnest, most of it.
#ifndef MILLRACE_TESTS_SIM_RAFT_MUTANTS_H_
#define MILLRACE_TESTS_SIM_RAFT_MUTANTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/raft/options.h"

namespace millrace::raftsim {

struct NamedMutant {
  std::string name;  // For --mutant.
  std::string what;  // For people.
  std::function<void(Mutant*)> change;
  // Within so many seeds it is caught, far more than it took.
  uint64_t seeds_max = 0;
};

const std::vector<NamedMutant>& AllMutants();
// Those that need no more are tried in every run of the tests.
inline constexpr uint64_t kQuickSeedsMax = 100;

// nullopt: there is none of that name.
std::optional<Mutant> MutantOf(std::string_view name);

struct Caught {
  uint64_t seed = 0;
  std::string violation;
};

// The first seed from 1 on that catches it. nullopt: none up to `seeds_max`.
std::optional<Caught> Catch(const NamedMutant& mutant, bool durability_rule,
                            uint64_t seeds_max);

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_MUTANTS_H_
