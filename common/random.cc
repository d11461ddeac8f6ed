#include "common/random.h"

#include <sys/random.h>

#include <cstdlib>

namespace millrace {
namespace {

class EntropyRandom final : public Random {
 public:
  uint64_t Next64() override {
    uint64_t value;
    // getrandom of 8 bytes is never short once the pool is initialised, and an
    // id that is not random would break the promise that it never comes again.
    if (getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
    return value;
  }
};

// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
class SplitMix final : public Random {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  uint64_t Next64() override {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

}  // namespace

uint64_t Random::Uniform(uint64_t bound) {
  return static_cast<uint64_t>(
      (static_cast<unsigned __int128>(Next64()) * bound) >> 64);
}

std::unique_ptr<Random> Random::Entropy() {
  return std::make_unique<EntropyRandom>();
}

std::unique_ptr<Random> Random::Seeded(uint64_t seed) {
  return std::make_unique<SplitMix>(seed);
}

}  // namespace millrace
