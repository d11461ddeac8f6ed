// millrace verify OUTPUT: re-checks every file against the manifest.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "common/counted.h"
#include "common/strings.h"
#include "storage/commit/manifest.h"

namespace millrace::cli {
namespace {

struct VerifyFlags {
  std::string output;
  std::string format = "table";
};

std::string AsJson(const VerifyFlags& flags,
                   const storage::VerifyReport& report) {
  nlohmann::ordered_json json;
  json["output"] = flags.output;
  json["ok"] = report.problems.empty();
  json["files"] = report.files;
  json["bytes"] = report.bytes;
  json["problems"] = report.problems;
  // File names may be no UTF-8; JSON has to be.
  return json.dump(2, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string AsText(const VerifyFlags& flags,
                   const storage::VerifyReport& report) {
  std::string text;
  for (const std::string& problem : report.problems) {
    text += problem;
    text += '\n';
  }
  text += Cat(flags.output, ": ", Counted(report.files, "file"), ", ",
              HumanBytes(report.bytes), ": ");
  if (report.problems.empty()) {
    text += "every byte is what was committed\n";
  } else {
    text += Cat("DAMAGED, ", Counted(report.problems.size(), "problem"), "\n");
  }
  return text;
}

ExitCode RunVerify(FileSystem& fs, const VerifyFlags& flags) {
  const absl::StatusOr<storage::VerifyReport> report =
      storage::VerifyOutput(fs, flags.output);
  if (!report.ok()) {
    return Fail(report.status(), "verify",
                absl::IsNotFound(report.status())
                    ? "give the directory that a finished job wrote"
                    : "");
  }
  absl::Status written = WriteOut(
      flags.format == "json" ? AsJson(flags, *report) : AsText(flags, *report));
  if (written.ok()) written = FlushOut();
  if (!written.ok()) return Fail(written, "verify");
  return report->problems.empty() ? kOk : kFailed;
}

}  // namespace

void AddVerify(CLI::App& app, FileSystem& fs, Action& action) {
  CLI::App* command = app.add_subcommand(
      "verify",
      "Read every file of a committed output again and compare it "
      "with its checksum");
  auto flags = std::make_shared<VerifyFlags>();  // Shared with both callbacks.
  command->add_option("OUTPUT", flags->output, "Directory a job wrote")
      ->required();
  command->add_option("-o,--output-format", flags->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}));
  command->footer("Exit code 1 when anything is damaged.");
  command->callback([flags, &fs, &action] {
    action = [flags, &fs] { return RunVerify(fs, *flags); };
  });
}

}  // namespace millrace::cli
