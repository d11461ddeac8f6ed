#include "master/state/counter_names.h"

#include <algorithm>

namespace millrace::master {

std::optional<uint32_t> CounterNames::NumberOf(std::string_view group,
                                               std::string_view name) {
  const Names& known = *names_;
  if (next_ >= known.in_order.size()) next_ = 0;
  if (next_ < known.in_order.size() && known.in_order[next_].first == group &&
      known.in_order[next_].second == name) {
    return next_++;
  }
  using Views = std::pair<std::string_view, std::string_view>;
  const Views wanted(group, name);
  auto at = std::lower_bound(known.sorted.begin(), known.sorted.end(), wanted,
                             [&known](uint32_t number, const Views& other) {
                               return Views(known.in_order[number]) < other;
                             });
  if (at == known.sorted.end() || Views(known.in_order[*at]) != wanted) {
    const size_t bytes = known.bytes + group.size() + name.size();
    if (known.in_order.size() >= kNamesMax || bytes > kNamesBytesMax) {
      return std::nullopt;
    }
    const auto place = at - known.sorted.begin();
    Names& names = names_.Mutable();
    at = names.sorted.insert(names.sorted.begin() + place,
                             static_cast<uint32_t>(names.in_order.size()));
    names.in_order.emplace_back(group, name);
    names.bytes = bytes;
  }
  next_ = *at + 1;
  return *at;
}

}  // namespace millrace::master
