#include "client/describe_program.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/run_child.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/messages/task.pb.h"

namespace millrace::client {
namespace {

// Of what a program writes to stderr, as much as an error message shows.
constexpr size_t kErrorBytesMax = 4 << 10;
constexpr int kUsageExit = 2;  // Of a job program whose arguments are wrong.

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(Av(what));
}

// The first line of what a program complained, without its own name in front
// and the way to its help behind: who submits has another.
std::string FirstLine(std::string_view text, std::string_view program) {
  text = text.substr(0, text.find('\n'));
  const std::string prefix = Cat(program, ": ");
  if (text.substr(0, prefix.size()) == prefix) {
    text.remove_prefix(prefix.size());
  }
  const std::string suffix = Cat(" (see ", program, " --help)");
  if (text.size() > suffix.size() &&
      text.substr(text.size() - suffix.size()) == suffix) {
    text.remove_suffix(suffix.size());
  }
  return OneLine(text, 400);
}

std::string HowItEnded(const ChildResult& result) {
  if (result.timed_out) return "did not end in time and was killed";
  if (result.too_long) return "printed too much and was killed";
  if (result.signal != 0) return Cat("was ended by signal ", result.signal);
  return Cat("ended with exit code ", result.exit_code);
}

absl::StatusOr<ChildResult> Run(const std::string& path,
                                std::vector<std::string> arguments,
                                const DescribeOptions& options) {
  ChildCommand command;
  command.executable = path;
  command.arguments = std::move(arguments);
  command.timeout = options.timeout;
  command.stdout_bytes_max = options.output_bytes_max;
  command.stderr_bytes_kept = kErrorBytesMax;
  return RunChild(command, *options.clock);
}

absl::Status CheckExecutable(const std::string& path) {
  MR_ASSIGN_OR_RETURN(const FileInfo info, FileSystem::Posix().Stat(path));
  if (info.kind != FileKind::kRegular) {
    return Wrong(Cat(path, " is no program: it is not a regular file"));
  }
  if (access(path.c_str(), X_OK) != 0) {
    return absl::PermissionDeniedError(
        Av(Cat(path, " may not be executed; try: chmod +x ", path)));
  }
  return absl::OkStatus();
}

// A member of a JSON object; the default when it is absent. A member of another
// type throws, as everything in nlohmann's access does.
template <typename T>
T Get(const nlohmann::json& json, const char* name, T otherwise) {
  return json.is_object() ? json.value(name, std::move(otherwise)) : otherwise;
}

}  // namespace

absl::StatusOr<ProgramDescription> ParseDescription(std::string_view text) {
  ProgramDescription description;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    const std::string version = Get(json, "millrace", std::string());
    if (version.empty()) return Wrong("the description names no version");
    const auto protocol = Get(json, "task_protocol", uint32_t{0});
    constexpr auto kOurs = static_cast<uint32_t>(proto::TASK_PROTOCOL_VERSION);
    if (protocol != kOurs) {
      return Wrong(Cat("built with Millrace ", Printable(version),
                       ", which speaks task protocol ", protocol, ", not ",
                       kOurs, "; build it again with this version"));
    }
    proto::JobDescription& job = description.job;
    job.set_millrace_version(version);
    job.set_task_protocol(protocol);
    job.set_name(json.at("name").get<std::string>());
    job.set_combines(json.at("combine").get<bool>());
    job.set_combine_exact(Get(json, "combine_exact", false));
    job.set_reduces(json.at("reduce").get<bool>());
    job.set_total_order(Get(json, "total_order", false));
    const nlohmann::json& output = json.at("output");
    job.set_output_format(output.at("format").get<std::string>());
    job.set_output_record_bytes(Get(output, "record_bytes", uint32_t{0}));
    description.input_type = json.at("input").at("type").get<std::string>();
    description.shape = {.sequence_input = description.input_type == "Sequence",
                         .reduces = job.reduces()};
    description.arguments_usage = Get(json, "arguments", std::string());
  } catch (const nlohmann::json::exception&) {
    return Wrong("what it prints is no description of a job");
  }
  if (description.job.output_format() != "text" &&
      description.job.output_format() != "fixed") {
    return Wrong(Cat("its output format \"",
                     Printable(description.job.output_format()),
                     "\" is not known here"));
  }
  return description;
}

absl::StatusOr<ProgramDescription> DescribeProgram(
    const std::string& path, const std::vector<std::string>& arguments,
    const DescribeOptions& options) {
  MR_RETURN_IF_ERROR(CheckExecutable(path));
  std::vector<std::string> words = {"--describe", "--"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  absl::StatusOr<ChildResult> result = Run(path, std::move(words), options);
  // What the kernel cannot execute (ENOEXEC) is no program either.
  if (!result.ok()) return Wrong(Cat(ToStd(result.status().message())));
  if (result->Succeeded()) {
    absl::StatusOr<ProgramDescription> parsed = ParseDescription(result->out);
    if (parsed.ok()) return parsed;
    return Wrong(Cat(path, " is no Millrace program that can be submitted: ",
                     ToStd(parsed.status().message())));
  }
  if (result->exit_code == kUsageExit) {
    // Either a job program that does not like its arguments, or another program
    // that knows no --describe.
    const absl::StatusOr<ChildResult> bare = Run(path, {"--describe"}, options);
    if (bare.ok() && bare->Succeeded() && ParseDescription(bare->out).ok()) {
      return Wrong(FirstLine(result->err, BaseName(path)));
    }
  }
  const std::string complaint = FirstLine(result->err, BaseName(path));
  return Wrong(Cat(path, " is no Millrace program: asked with --describe, it ",
                   HowItEnded(*result),
                   complaint.empty() ? "" : Cat(" (", complaint, ")")));
}

}  // namespace millrace::client
