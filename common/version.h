// The version of Millrace that this program was built with.
#ifndef MILLRACE_COMMON_VERSION_H_
#define MILLRACE_COMMON_VERSION_H_

#include <string_view>

namespace millrace {

// "0.1.0", from the top-level CMakeLists.txt.
std::string_view Version();

}  // namespace millrace

#endif  // MILLRACE_COMMON_VERSION_H_
