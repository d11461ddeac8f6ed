// Small types that say something about a key or a value beyond what the
// standard types can.
#ifndef MILLRACE_TYPES_H_
#define MILLRACE_TYPES_H_

#include <compare>
#include <type_traits>
#include <utility>

namespace millrace {

// No value at all: for jobs whose keys are the result. A record with it is
// printed as its key alone, without a TAB. It also serves as the key of a job
// that wants all its values in one group; then the value is printed alone.
struct NoValue {
  friend bool operator==(const NoValue&, const NoValue&) = default;
  friend auto operator<=>(const NoValue&, const NoValue&) = default;
};

template <typename T>
struct Descending;

namespace internal {
template <typename T>
inline constexpr bool kIsDescending = false;
template <typename T>
inline constexpr bool kIsDescending<Descending<T>> = true;
}  // namespace internal

// A key, or a part of one, that sorts from large to small.
template <typename T>
struct Descending {
  T value{};

  Descending() = default;
  // Implicit, so that out.Emit({country, count}, name) reads as it is meant.
  template <typename U = T>
  requires(!internal::kIsDescending<std::remove_cvref_t<U>> &&
           std::is_convertible_v<U, T>)
      Descending(U&& v)  // NOLINT(runtime/explicit)
      : value(std::forward<U>(v)) {}
  template <typename U>
  requires(!std::is_same_v<T, U> && std::is_convertible_v<const U&, T>)
      Descending(const Descending<U>& other)  // NOLINT(runtime/explicit)
      : value(other.value) {}

  friend bool operator==(const Descending&, const Descending&) = default;
  friend auto operator<=>(const Descending& a, const Descending& b) {
    return b.value <=> a.value;
  }
};

// A key for secondary sort. Records are partitioned and grouped by `group`
// alone; within a group they arrive at the reducer sorted by `order`. One call
// of Reduce sees the whole group; its key is that of the first record, and
// Values::key() that of the current one.
template <typename Group, typename Order>
struct Grouped {
  Group group{};
  Order order{};

  Grouped() = default;
  Grouped(Group g, Order o) : group(std::move(g)), order(std::move(o)) {}
  template <typename G, typename O>
  requires(
      !(std::is_same_v<Group, G> &&
        std::is_same_v<Order, O>)&&std::is_convertible_v<const G&, Group> &&
      std::is_convertible_v<const O&, Order>)
      Grouped(const Grouped<G, O>& other)  // NOLINT(runtime/explicit)
      : group(other.group), order(other.order) {}

  friend bool operator==(const Grouped&, const Grouped&) = default;
  friend auto operator<=>(const Grouped&, const Grouped&) = default;
};

}  // namespace millrace

#endif  // MILLRACE_TYPES_H_
