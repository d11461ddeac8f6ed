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

}  // namespace millrace

#endif  // MILLRACE_COMMON_ERRNO_STATUS_H_
