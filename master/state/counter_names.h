// The names of a job's counters.
#ifndef MILLRACE_MASTER_STATE_COUNTER_NAMES_H_
#define MILLRACE_MASTER_STATE_COUNTER_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "master/state/cow.h"

namespace millrace::master {

// Gives each counter a small number, in the order of appearance, so that a
// task's counters pack into some bytes each. Copies share the names until one
// of them learns another.
class CounterNames {
 public:
  // More than so many distinct names are a mistake of the job (a value in the
  // name, say); what is beyond has no number and is not kept.
  static constexpr size_t kNamesMax = 4096;
  // Of all names together: they go into one message.
  static constexpr size_t kNamesBytesMax = 512 << 10;

  // A new name gets the next number.
  std::optional<uint32_t> NumberOf(std::string_view group,
                                   std::string_view name);
  size_t size() const { return names_->in_order.size(); }
  // {group, name}. REQUIRES: number < size().
  const std::pair<std::string, std::string>& Name(uint32_t number) const {
    return names_->in_order[number];
  }

 private:
  struct Names {
    std::vector<std::pair<std::string, std::string>> in_order;
    std::vector<uint32_t> sorted;  // Numbers, by name.
    size_t bytes = 0;
  };

  Cow<Names> names_;
  uint32_t next_ = 0;  // A guess: tasks report their counters in one order.
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_COUNTER_NAMES_H_
