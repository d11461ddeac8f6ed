// What user code can do to the process that runs it. For tests of the
// supervisor.
#ifndef MILLRACE_SUPERVISOR_TESTING_MISBEHAVIOUR_H_
#define MILLRACE_SUPERVISOR_TESTING_MISBEHAVIOUR_H_

#include <string>
#include <vector>

#include "supervisor/status_page.h"

namespace millrace::supervisor {

// Does what `words[0]` says, with the rest as arguments (misbehaviour.cc has
// the list). Returns if the behaviour is one that comes to an end.
void Misbehave(const std::vector<std::string>& words, StatusPage& page);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_TESTING_MISBEHAVIOUR_H_
