#include "common/job_settings.h"

#include <set>

#include "common/strings.h"

namespace millrace {

int64_t LimitMillis(absl::Duration limit) {
  return limit == absl::InfiniteDuration() ? 0
                                           : absl::ToInt64Milliseconds(limit);
}

absl::Status CheckSideFileNames(const JobSettings& settings) {
  std::set<std::string> names;
  for (const auto& [name, path] : settings.side_files) {
    if (name.empty() || name == "." || name == ".." ||
        name.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(
          Av(Cat("--side-file: \"", Printable(name), "\" is no file name")));
    }
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          Av(Cat("--side-file: two files are called ", Printable(name))));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
