// errno to absl::Status, one mapping for the whole tree (the table stands in
// common/file_system.h).
#ifndef MILLRACE_COMMON_ERRNO_STATUS_H_
#define MILLRACE_COMMON_ERRNO_STATUS_H_

#include <string_view>

#include "absl/status/status.h"

namespace millrace {

// "<operation> <object>: <strerror>". REQUIRES: error != 0.
absl::Status ErrnoStatus(int error, std::string_view operation,
                         std::string_view object);

// What there was not enough of, of a status of kResourceExhausted: the code
// alone does not say, and a person has to do something else for each.
enum class Shortage {
  kNone,         // The status is another one.
  kSpace,        // ENOSPC, EDQUOT, EFBIG, and all that says nothing else.
  kDescriptors,  // EMFILE, ENFILE.
  kMemory,       // ENOMEM.
};
Shortage ShortageOf(const absl::Status& status);

// kResourceExhausted for want of memory.
absl::Status NoMemoryError(std::string_view message);

}  // namespace millrace

#endif  // MILLRACE_COMMON_ERRNO_STATUS_H_
