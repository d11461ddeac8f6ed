// How many files a process may have open at once.
#ifndef MILLRACE_COMMON_DESCRIPTOR_LIMIT_H_
#define MILLRACE_COMMON_DESCRIPTOR_LIMIT_H_

#include <cstdint>

namespace millrace {

// The limit that holds now.
uint64_t DescriptorLimit();

// Raises the limit to `enough`, or as far as this process may; never lowers it.
// Returns the limit that then holds.
uint64_t RaiseDescriptorLimit(uint64_t enough);

// Files that a merge may read at once where there are so many descriptors: with
// fewer it takes more passes, instead of failing. 2 to 512, beyond which
// merging is no faster.
uint32_t MergeFanIn(uint64_t descriptor_limit);

}  // namespace millrace

#endif  // MILLRACE_COMMON_DESCRIPTOR_LIMIT_H_
