#include "common/errno_status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "common/strings.h"

namespace millrace {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EIO:
      return absl::StatusCode::kDataLoss;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case EISDIR:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnknown;
  }
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view operation,
                         std::string_view object) {
  char buffer[128];
  const char* text = strerror_r(error, buffer, sizeof buffer);
  return absl::Status(
      CodeOf(error),
      Av(Cat(operation, " ", Printable(object, 4096), ": ", text)));
}

}  // namespace millrace
