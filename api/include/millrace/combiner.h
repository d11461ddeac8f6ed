// Adding up values of one key before they are sorted and sent.
#ifndef MILLRACE_COMBINER_H_
#define MILLRACE_COMBINER_H_

#include <cstdint>
#include <type_traits>

namespace millrace {

// Folds values of one key into one. Map output is combined while it is emitted,
// and again when runs are merged; how often depends on the memory there is. It
// may also run never. Combine must therefore be associative and commutative,
// and the reducer must not tell a combined value from an emitted one.
//
//   class Longest : public millrace::Combiner<std::string> {
//    public:
//     void Combine(std::string& kept, const std::string& word) override {
//       if (word.size() > kept.size() ||
//           (word.size() == kept.size() && word < kept)) {
//         kept = word;
//       }
//     }
//   };
//
// A combiner can be the reducer, too: Job(...).Reduce<Longest>() folds all
// values of a key and emits the key with the result.
//
// One object serves one attempt, on one thread. It must be default
// constructible, and keep nothing from one call to the next.
template <typename V>
class Combiner {
 public:
  using Value = V;

  // Whether the result is the same bit for bit in whatever order and grouping
  // values are folded. True for integer sums, not for sums of doubles. A
  // combiner that says so (static constexpr bool kExact = true) may be run
  // across the map tasks of a worker; the result is then the same still.
  static constexpr bool kExact = false;

  virtual ~Combiner() = default;

  // Folds `value` into `accumulated`. The two are distinct objects.
  virtual void Combine(V& accumulated, const V& value) = 0;
};

// Adds. Integers wrap around on overflow.
template <typename T>
class Sum final : public Combiner<T> {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>,
                "millrace: Sum<T> adds numbers");

 public:
  static constexpr bool kExact = std::is_integral_v<T>;

  void Combine(T& accumulated, const T& value) override {
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>;
      accumulated = static_cast<T>(static_cast<Unsigned>(accumulated) +
                                   static_cast<Unsigned>(value));
    } else {
      accumulated += value;
    }
  }
};

// Keeps the smaller value, by operator<.
template <typename T>
class Min final : public Combiner<T> {
 public:
  static constexpr bool kExact = std::is_integral_v<T>;

  void Combine(T& accumulated, const T& value) override {
    if (value < accumulated) accumulated = value;
  }
};

// Keeps the larger value, by operator<.
template <typename T>
class Max final : public Combiner<T> {
 public:
  static constexpr bool kExact = std::is_integral_v<T>;

  void Combine(T& accumulated, const T& value) override {
    if (accumulated < value) accumulated = value;
  }
};

// Counts occurrences: emit 1 for each. (The number of calls of a combiner means
// nothing, so what is counted has to travel in the value.)
class Count final : public Combiner<int64_t> {
 public:
  static constexpr bool kExact = true;

  void Combine(int64_t& accumulated, const int64_t& value) override {
    accumulated = static_cast<int64_t>(static_cast<uint64_t>(accumulated) +
                                       static_cast<uint64_t>(value));
  }
};

}  // namespace millrace

#endif  // MILLRACE_COMBINER_H_
