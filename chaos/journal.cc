#include "chaos/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

using nlohmann::ordered_json;

double Seconds(absl::Duration time) {
  return static_cast<double>(absl::ToInt64Milliseconds(time)) / 1000;
}

std::string Line(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

absl::Status Journal::Open(const std::string& directory) {
  const std::string path = JoinPath(directory, "chaos.jsonl");
  file_ = supervisor::UniqueFd(
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  return file_.valid() ? absl::OkStatus() : ErrnoStatus(errno, "open", path);
}

void Journal::Begin(std::string_view spec, uint64_t seed) {
  LOG(INFO) << "chaos begins: seed " << seed << ", " << spec;
  Write(Line({{"seed", seed}, {"spec", std::string(spec)}}));
}

void Journal::Add(absl::Duration at, std::string_view kind,
                  std::string_view victim, absl::Duration length,
                  const Effect& effect) {
  LOG(INFO) << kind << " of " << victim << " at " << Seconds(at) << " s"
            << (length > absl::ZeroDuration()
                    ? Cat(" for ", Seconds(length), " s")
                    : "")
            << (effect.seen ? ": " : ": without effect: ") << effect.what;
  Write(Line({{"at", Seconds(at)},
              {"kind", std::string(kind)},
              {"victim", std::string(victim)},
              {"for", Seconds(length)},
              {"effect", effect.seen},
              {"what", effect.what}}));
}

void Journal::Write(const std::string& line) {
  // One write, so that a reader sees whole lines.
  if (write(file_.get(), line.data(), line.size()) < 0) {
    LOG(WARNING) << ErrnoStatus(errno, "write", "chaos.jsonl");
  }
}

}  // namespace millrace::chaos
