#include "cli/context.h"

#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/table.h"
#include "common/file_system.h"
#include "common/flag_kinds.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

constexpr char kFileName[] = "context.json";
constexpr uint64_t kBytesMax = 64 << 10;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// $VARIABLE/millrace or $HOME/below/millrace. The XDG specification: what is
// not absolute is to be ignored.
absl::StatusOr<std::string> UserDirectory(const char* variable,
                                          std::string_view below) {
  std::string base = Environment(variable);
  if (base.empty() || base[0] != '/') {
    const std::string home = Environment("HOME");
    if (home.empty() || home[0] != '/') {
      return absl::FailedPreconditionError(
          Av(Cat("neither ", variable, " nor HOME names a directory")));
    }
    base = JoinPath(home, below);
  }
  return JoinPath(base, "millrace");
}

absl::StatusOr<std::string> ContextDirectory() {
  return UserDirectory("XDG_CONFIG_HOME", ".config");
}

}  // namespace

absl::StatusOr<std::string> FindCluster(const Globals& globals) {
  if (!globals.cluster.empty()) return globals.cluster;
  const std::string variable = Environment("MILLRACE_CLUSTER");
  if (!variable.empty()) return variable;
  const absl::StatusOr<ClusterContext> context = ReadContext();
  if (context.ok()) return context->masters;
  if (absl::IsDataLoss(context.status())) return context.status();
  return absl::InvalidArgumentError(
      "no cluster is named; give --cluster HOST:PORT, set MILLRACE_CLUSTER, or "
      "start one here with: millrace cluster up");
}

bool UsesContext(const Globals& globals) {
  return globals.cluster.empty() && Environment("MILLRACE_CLUSTER").empty();
}

absl::StatusOr<std::unique_ptr<client::ClusterClient>> ConnectToCluster(
    const Globals& globals, client::StopSignal* stop) {
  MR_ASSIGN_OR_RETURN(const std::string masters, FindCluster(globals));
  client::ClientOptions options;
  options.stop = stop;
  options.patience = *ParseSeconds(globals.patience);
  return client::ClusterClient::Connect(masters, options);
}

absl::StatusOr<ClusterContext> ReadContext() {
  absl::StatusOr<std::string> directory = ContextDirectory();
  if (!directory.ok()) {
    return absl::NotFoundError(Av(ToStd(directory.status().message())));
  }
  const std::string path = JoinPath(*directory, kFileName);
  MR_ASSIGN_OR_RETURN(const std::string text,
                      ReadWholeFile(FileSystem::Posix(), path, kBytesMax));
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    return ClusterContext{json.at("cluster").get<std::string>(),
                          json.at("directory").get<std::string>()};
  } catch (const nlohmann::json::exception&) {
    return absl::DataLossError(
        Av(Cat(path, " is damaged; remove it, or give --cluster")));
  }
}

absl::Status WriteContext(const ClusterContext& context) {
  MR_ASSIGN_OR_RETURN(const std::string directory, ContextDirectory());
  MR_RETURN_IF_ERROR(MakeDirectories(FileSystem::Posix(), directory));
  nlohmann::ordered_json json;
  json["cluster"] = context.masters;
  json["directory"] = context.directory;
  FileSystem& fs = FileSystem::Posix();
  const std::string path = JoinPath(directory, kFileName);
  // Of its own, so that two at once do not write into one file.
  const std::string next = Cat(path, ".", getpid());
  fs.RemoveFile(next).IgnoreError();
  MR_RETURN_IF_ERROR(WriteWholeFile(fs, next, FormatJson(json)));
  return fs.Rename(next, path);
}

absl::Status RemoveContext(const std::string& directory) {
  const absl::StatusOr<ClusterContext> context = ReadContext();
  if (!context.ok() || context->directory != directory) return absl::OkStatus();
  MR_ASSIGN_OR_RETURN(const std::string user, ContextDirectory());
  return FileSystem::Posix().RemoveFile(JoinPath(user, kFileName));
}

absl::StatusOr<std::string> DefaultClusterDirectory() {
  MR_ASSIGN_OR_RETURN(const std::string state,
                      UserDirectory("XDG_STATE_HOME", ".local/state"));
  return JoinPath(state, "cluster");
}

ExitCode FailCluster(const absl::Status& status, std::string_view command) {
  const ExitCode code = ClusterExitCodeOf(status);
  std::string_view try_this;
  if (code == kUnreachable) {
    try_this = "is it up? millrace cluster status";
  } else if (code == kNotFound) {
    try_this = "millrace list shows the jobs that are known";
  }
  if (command.substr(0, 6) == "worker" && code == kNotFound) {
    try_this = "millrace worker list shows the workers";
  } else if (command.substr(0, 6) == "master" && code == kNotFound) {
    try_this = "millrace master list shows the masters";
  }
  return Fail(code, command, ToStd(status.message()), try_this);
}

}  // namespace millrace::cli
