#include "common/errno_status.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
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

// Of the payload that names the shortage, where it is not one of space.
// Annotate() keeps it.
constexpr char kShortageUrl[] = "millrace/shortage";
constexpr char kDescriptors[] = "descriptors";
constexpr char kMemory[] = "memory";

absl::Status WithShortage(absl::Status status, const char* shortage) {
  status.SetPayload(kShortageUrl, absl::Cord(shortage));
  return status;
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view operation,
                         std::string_view object) {
  char buffer[128];
  const char* text = strerror_r(error, buffer, sizeof buffer);
  absl::Status status(
      CodeOf(error),
      Av(Cat(operation, " ", Printable(object, 4096), ": ", text)));
  switch (error) {
    case EMFILE:
    case ENFILE:
      return WithShortage(std::move(status), kDescriptors);
    case ENOMEM:
      return WithShortage(std::move(status), kMemory);
    default:
      return status;
  }
}

Shortage ShortageOf(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return Shortage::kNone;
  const auto payload = status.GetPayload(kShortageUrl);
  if (payload == kDescriptors) return Shortage::kDescriptors;
  if (payload == kMemory) return Shortage::kMemory;
  return Shortage::kSpace;
}

absl::Status NoMemoryError(std::string_view message) {
  return WithShortage(absl::ResourceExhaustedError(Av(message)), kMemory);
}

}  // namespace millrace
