// Randomness as an argument. The entropy source is read in random.cc alone;
// everything else gets a Random and repeats itself when the seed repeats.
#ifndef MILLRACE_COMMON_RANDOM_H_
#define MILLRACE_COMMON_RANDOM_H_

#include <cstdint>
#include <memory>

namespace millrace {

// Thread-compatible.
class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next64() = 0;

  // Uniform in [0, bound). REQUIRES: bound >= 1.
  uint64_t Uniform(uint64_t bound);

  // Unpredictable: every value comes from the kernel. For ids.
  static std::unique_ptr<Random> Entropy();
  // splitmix64; the same seed gives the same sequence on every machine.
  static std::unique_ptr<Random> Seeded(uint64_t seed);
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_RANDOM_H_
