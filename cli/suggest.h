// "Did you mean": the known name that is nearest to a mistyped one.
#ifndef MILLRACE_CLI_SUGGEST_H_
#define MILLRACE_CLI_SUGGEST_H_

#include <string>
#include <string_view>
#include <vector>

namespace millrace::cli {

// "" when nothing is near enough: at most a third of the letters, at least one,
// may be wrong, missing, too many or swapped with the next.
std::string NearestName(std::string_view typed,
                        const std::vector<std::string>& names);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_SUGGEST_H_
