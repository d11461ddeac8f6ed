#include "common/skew.h"

#include <string_view>

#include "absl/strings/str_format.h"
#include "common/strings.h"

namespace millrace {
namespace {

// A reduce of fewer records is over before anybody waits for it.
constexpr uint64_t kRecordsMin = 100'000;
constexpr double kTimesMin = 4;
constexpr std::string_view kWhy =
    ": some keys have very many values, or the partitioner puts many keys "
    "together";

}  // namespace

std::string SkewText(const LargestReduce& largest) {
  if (largest.reduces < 2 || largest.records < kRecordsMin ||
      largest.records > largest.records_of_all) {
    return "";
  }
  const uint64_t others = largest.records_of_all - largest.records;
  if (others == 0) {
    return Cat("r", largest.reduce, " was given all of the ", largest.records,
               " records", kWhy);
  }
  const double times = static_cast<double>(largest.records) *
                       static_cast<double>(largest.reduces - 1) /
                       static_cast<double>(others);
  if (times < kTimesMin) return "";
  const double percent = 100.0 * static_cast<double>(largest.records) /
                         static_cast<double>(largest.records_of_all);
  return absl::StrFormat(
      "r%d was given %.*f %% of the %d records, %.0f times as many as the "
      "others on average%s",
      largest.reduce, percent < 10 ? 1 : 0, percent, largest.records_of_all,
      times, Av(kWhy));
}

}  // namespace millrace
