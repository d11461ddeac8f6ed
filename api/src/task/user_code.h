// The one place where user code is entered, and where exceptions end.
#ifndef MILLRACE_API_SRC_TASK_USER_CODE_H_
#define MILLRACE_API_SRC_TASK_USER_CODE_H_

#include <functional>
#include <optional>
#include <string>

#include "supervisor/status_page.h"

namespace millrace::task {

// What ended a call of user code.
struct UserCodeFailure {
  // The framework could not go on and threw internal::Aborted through the
  // user's code; the port that threw knows why.
  bool aborted = false;
  std::string message;  // "std::runtime_error: no such word".
  std::string stack;    // Of the throw, demangled; may be empty.
};

// Calls `fn` in `phase`; nothing when it returned, else what it threw. While it
// runs, throws are recorded with their stack. What the user's code threw leaves
// the page in `phase`, for the report; otherwise the phase is as before.
std::optional<UserCodeFailure> CallUserCode(supervisor::StatusPage& page,
                                            supervisor::TaskPhase phase,
                                            const std::function<void()>& fn);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_USER_CODE_H_
