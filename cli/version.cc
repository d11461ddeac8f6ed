// millrace version: what this program is, for people and for scripts.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "common/strings.h"
#include "common/version.h"
#include "proto/messages/task.pb.h"

namespace millrace::cli {
namespace {

constexpr char kCompiler[] =
#if defined(__clang__)
    "clang " __clang_version__;
#else
    "gcc " __VERSION__;
#endif

ExitCode RunVersion(const std::string& format) {
  std::string text;
  if (format == "json") {
    nlohmann::ordered_json json;
    json["name"] = "millrace";
    json["version"] = std::string(Version());
    json["task_protocol"] = static_cast<int>(proto::TASK_PROTOCOL_VERSION);
    json["compiler"] = kCompiler;
    text = json.dump(2) + "\n";
  } else {
    text = Cat("millrace ", Version(), " (task protocol ",
               static_cast<int>(proto::TASK_PROTOCOL_VERSION), ", ", kCompiler,
               ")\n");
  }
  absl::Status written = WriteOut(text);
  if (written.ok()) written = FlushOut();
  return written.ok() ? kOk : Fail(written, "version");
}

}  // namespace

void AddVersion(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("version", "Print the version of this program");
  auto format = std::make_shared<std::string>("table");  // As in AddVerify.
  command->add_option("-o,--output-format", *format, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
  command->callback(
      [format, &action] { action = [format] { return RunVersion(*format); }; });
}

}  // namespace millrace::cli
