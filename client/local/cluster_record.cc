#include "client/local/cluster_record.h"

#include <nlohmann/json.hpp>

#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

constexpr char kName[] = "cluster.json";
constexpr uint64_t kBytesMax = 1 << 20;
constexpr int kFormatVersion = 1;

LocalRole RoleNamed(std::string_view name) {
  for (const LocalRole role :
       {LocalRole::kMaster, LocalRole::kWorker, LocalRole::kChaos}) {
    if (name == RoleName(role)) return role;
  }
  return LocalRole::kWorker;
}

std::string PathIn(const std::string& directory) {
  return JoinPath(directory, kName);
}

}  // namespace

std::string SerializeCluster(const LocalCluster& cluster,
                             const std::string& boot_id) {
  nlohmann::ordered_json json;
  json["format_version"] = kFormatVersion;
  json["boot_id"] = boot_id;
  json["masters"] = cluster.masters;
  json["processes"] = nlohmann::ordered_json::array();
  for (const LocalProcess& process : cluster.processes) {
    json["processes"].push_back({{"name", process.name},
                                 {"role", RoleName(process.role)},
                                 {"pid", process.identity.pid},
                                 {"start_ticks", process.identity.start_ticks},
                                 {"address", process.address},
                                 {"log", process.log}});
  }
  return json.dump(2, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<LocalCluster> ParseCluster(std::string_view text,
                                          const std::string& directory,
                                          const std::string& boot_id) {
  LocalCluster cluster;
  cluster.directory = directory;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (json.at("format_version").get<int>() != kFormatVersion) {
      return absl::DataLossError(Av(Cat(
          PathIn(directory), " was written by another version of Millrace")));
    }
    const bool same_boot = json.at("boot_id").get<std::string>() == boot_id;
    cluster.masters = json.at("masters").get<std::string>();
    for (const nlohmann::json& entry : json.at("processes")) {
      LocalProcess process;
      process.name = entry.at("name").get<std::string>();
      // Clusters of before there was chaos say whether it is a master.
      process.role = entry.contains("role")
                         ? RoleNamed(entry.at("role").get<std::string>())
                     : entry.at("master").get<bool>() ? LocalRole::kMaster
                                                      : LocalRole::kWorker;
      process.identity.pid = entry.at("pid").get<pid_t>();
      process.identity.start_ticks = entry.at("start_ticks").get<uint64_t>();
      process.address = entry.at("address").get<std::string>();
      process.log = entry.at("log").get<std::string>();
      process.running = same_boot && IsRunning(process.identity);
      cluster.processes.push_back(std::move(process));
    }
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(Av(Cat(PathIn(directory),
                                      " is damaged: if no cluster runs there, "
                                      "remove it")));
  }
  return cluster;
}

absl::Status WriteClusterRecord(const LocalCluster& cluster) {
  FileSystem& fs = FileSystem::Posix();
  const std::string path = PathIn(cluster.directory);
  const std::string next = path + ".next";
  fs.RemoveFile(next).IgnoreError();
  MR_RETURN_IF_ERROR(
      WriteWholeFile(fs, next, SerializeCluster(cluster, BootId())));
  return fs.Rename(next, path);
}

absl::StatusOr<LocalCluster> ReadClusterRecord(const std::string& directory) {
  absl::StatusOr<std::string> text =
      ReadWholeFile(FileSystem::Posix(), PathIn(directory), kBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        Av(Cat("no local cluster was started in ", directory)));
  }
  MR_RETURN_IF_ERROR(text.status());
  return ParseCluster(*text, directory, BootId());
}

absl::Status RemoveClusterRecord(const std::string& directory) {
  return FileSystem::Posix().RemoveFile(PathIn(directory));
}

}  // namespace millrace::client
