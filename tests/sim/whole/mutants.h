// Rules that can be left out, one at a time: the simulation must notice.
#ifndef MILLRACE_TESTS_SIM_WHOLE_MUTANTS_H_
#define MILLRACE_TESTS_SIM_WHOLE_MUTANTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/whole/options.h"

namespace millrace::wholesim {

struct NamedMutant {
  std::string name;
  std::string number;  // "M4" of docs/testing.md; "": not of that list.
  std::string what;
  uint64_t seeds_max = 2000;  // Within so many it must be noticed.
  std::function<void(Mutant*)> apply;
};

const std::vector<NamedMutant>& AllMutants();
// Null: no such name.
const NamedMutant* FindMutant(std::string_view name);

struct Caught {
  uint64_t seed = 0;
  std::string violation;
};
// Tries seeds from 1 on.
std::optional<Caught> Catch(const NamedMutant& mutant, uint64_t seeds_max);

// Prints the table of docs/testing.md. Returns the exit code: 0 all were
// noticed, 1 some were not.
int RunMutants(std::string_view only, uint64_t seeds_max);

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_MUTANTS_H_
