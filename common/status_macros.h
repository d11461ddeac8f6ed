// Passing a failed absl::Status on without five lines of ceremony.
//
//   MR_RETURN_IF_ERROR(file->Sync());
//   MR_ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file, fs.OpenRead(path));
//
// `Annotate` adds the one fact the present layer knows in front of the message:
//   return Annotate(status, Cat("fetch map ", map_index));
#ifndef MILLRACE_COMMON_STATUS_MACROS_H_
#define MILLRACE_COMMON_STATUS_MACROS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "common/strings.h"

#define MR_STATUS_CONCAT_INNER_(a, b) a##b
#define MR_STATUS_CONCAT_(a, b) MR_STATUS_CONCAT_INNER_(a, b)

#define MR_RETURN_IF_ERROR(expr)                              \
  do {                                                        \
    if (absl::Status mr_status_ = (expr); !mr_status_.ok()) { \
      return mr_status_;                                      \
    }                                                         \
  } while (false)

#define MR_ASSIGN_OR_RETURN(lhs, expr)                                      \
  MR_ASSIGN_OR_RETURN_IMPL_(MR_STATUS_CONCAT_(mr_statusor_, __LINE__), lhs, \
                            expr)

#define MR_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                              \
  if (!statusor.ok()) {                                \
    return std::move(statusor).status();               \
  }                                                    \
  lhs = *std::move(statusor)

namespace millrace {

// Returns `status` with "context: " before its message, and its payloads; OK
// stays OK.
inline absl::Status Annotate(const absl::Status& status,
                             std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(),
                         Av(Cat(context, ": ", ToStd(status.message()))));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

}  // namespace millrace

#endif  // MILLRACE_COMMON_STATUS_MACROS_H_
