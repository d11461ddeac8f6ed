// Partitions of very different sizes: a job takes as long as its largest
// reduce.
#ifndef MILLRACE_COMMON_SKEW_H_
#define MILLRACE_COMMON_SKEW_H_

#include <cstdint>
#include <string>

namespace millrace {

// The reduce that was given most records.
struct LargestReduce {
  uint32_t reduce = 0;
  uint64_t records = 0;
  uint64_t records_of_all = 0;  // Reduces together.
  uint32_t reduces = 0;
};

// What to tell people of it: "r3 was given 43 % of the 21000000 records, 86
// times as many as the others on average: ...". Empty when it had less than
// four times as many, or too few to matter.
std::string SkewText(const LargestReduce& largest);

}  // namespace millrace

#endif  // MILLRACE_COMMON_SKEW_H_
