#include "client/local/chaos_process.h"

#include <nlohmann/json.hpp>

#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

constexpr uint64_t kBytesMax = 4 << 20;

std::string InRun(std::string_view directory, std::string_view name) {
  return JoinPath(JoinPath(directory, "run"), name);
}

}  // namespace

std::string ChaosReadyPath(std::string_view directory) {
  return InRun(directory, "chaos.ready");
}

std::string ChaosBeginPath(std::string_view directory) {
  return InRun(directory, "chaos.begin");
}

std::string ListenPath(std::string_view directory, std::string_view name) {
  return InRun(directory, Cat(name, ".listen"));
}

absl::Status WriteChaosReady(const std::string& directory,
                             const std::map<std::string, ChaosStart>& starts) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, start] : starts) {
    json[name] = {{"advertise", start.advertise},
                  {"flags", start.flags},
                  {"environment", start.environment}};
  }
  FileSystem& fs = FileSystem::Posix();
  const std::string path = ChaosReadyPath(directory);
  fs.RemoveFile(path + ".next").IgnoreError();
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, path + ".next", json.dump(2) + "\n"));
  return fs.Rename(path + ".next", path);
}

absl::StatusOr<std::map<std::string, ChaosStart>> ReadChaosReady(
    const std::string& directory) {
  const std::string path = ChaosReadyPath(directory);
  MR_ASSIGN_OR_RETURN(const std::string text,
                      ReadWholeFile(FileSystem::Posix(), path, kBytesMax));
  std::map<std::string, ChaosStart> starts;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    for (const auto& [name, entry] : json.items()) {
      ChaosStart& start = starts[name];
      start.advertise = entry.at("advertise").get<std::string>();
      start.flags = entry.at("flags").get<std::vector<std::string>>();
      start.environment =
          entry.at("environment").get<std::vector<std::string>>();
    }
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(Av(Cat(path, " is damaged")));
  }
  return starts;
}

}  // namespace millrace::client
