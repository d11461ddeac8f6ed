// How many map and reduce tasks a job gets when it does not say, and why, for
// people.
#ifndef MILLRACE_STORAGE_PLAN_SIZING_H_
#define MILLRACE_STORAGE_PLAN_SIZING_H_

#include <cstdint>
#include <optional>
#include <string>

namespace millrace::storage {

// The weight of a split: an eighth of the input, so that even a small one
// occupies several cores and a task that fails repeats little; at least 4 MiB,
// below which a task's own costs (a millisecond, and the keys that each map
// output repeats) would show; at most 128 MiB, so that the tasks of a large
// input end often enough to balance. 1 GiB gives 8 splits, 10 GiB give 80.
uint64_t ChooseSplitBytes(uint64_t input_bytes);

// A partition of 128 MiB of input sorts and merges in seconds; two at the least
// as soon as there is something to share. The upper bound keeps maps times
// partitions, the number of segments to fetch, in hand.
uint32_t ChooseReducers(uint64_t input_bytes);

// The same when the maps are known to give about `map_output_bytes`, which is
// what reduces read: one for 128 MiB of those. Where the size of the input asks
// for eight or more, it is eight at the least, and never fewer than it asks for
// below that: so many share the work evenly on few cores, and how much work a
// record makes nobody knows.
uint32_t ChooseReducersFor(uint64_t input_bytes, uint64_t map_output_bytes);

// What a plan came to, and what was asked for: 0 where nothing was.
struct Sizing {
  uint64_t input_bytes = 0;  // 0: of a sequence of numbers, or of no input.
  uint32_t maps = 0;
  uint32_t reduces = 0;  // 0: a job without reduce step.
  uint64_t split_bytes_asked = 0;
  uint32_t splits_asked = 0;
  uint32_t reducers_asked = 0;   // By a flag.
  uint32_t reducers_of_job = 0;  // By the program.
  // Of all maps, by a sample, if it was what the reduces were chosen by.
  std::optional<uint64_t> map_output_estimate = {};
};

// One line each, without a newline, that names the flag to pin it with: "8 maps
// of 128 MiB: an eighth of the input (--split-bytes)". WhyReduces is "" for a
// job without reduce step.
std::string WhyMaps(const Sizing& sizing);
std::string WhyReduces(const Sizing& sizing);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_PLAN_SIZING_H_
