#include "client/job_request.h"

#include <filesystem>
#include <limits>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/hash.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

// Linux takes no longer path, whatever the file system.
constexpr size_t kPathBytesMax = 4095;

// The bytes that mean something in a glob, taken literally.
std::string EscapeGlob(std::string_view path) {
  std::string escaped;
  for (const char c : path) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) {
      escaped += '\\';
    }
    escaped += c;
  }
  return escaped;
}

// An input names a file or is a pattern. A relative pattern is seen from here,
// and the names of the directories above are no pattern.
std::string AbsoluteInput(FileSystem& fs, const std::string& working_directory,
                          const std::string& input) {
  if (input[0] == '/' || fs.Stat(JoinPath(working_directory, input)).ok()) {
    return AbsolutePath(working_directory, input);
  }
  return AbsolutePath(EscapeGlob(working_directory), input);
}

// A cluster takes outputs in one spelling alone, since it reserves them by it.
// What ".." means only the file system knows.
std::string WithoutDotDot(const std::string& path) {
  if (!absl::StrContains(Cat(path, "/"), "/../")) return path;
  std::error_code error;
  const std::string resolved =
      std::filesystem::weakly_canonical(path, error).string();
  return error ? path : AbsolutePath("/", resolved);
}

// JobSpec.output_place: empty where it is the output itself.
std::string OutputPlace(const std::string& output) {
  std::error_code error;
  const std::string parent =
      std::filesystem::weakly_canonical(ParentPath(output), error).string();
  if (error) return "";
  std::string place = JoinPath(parent, BaseName(output));
  return place == output ? "" : place;
}

absl::Status CheckPath(std::string_view flag, std::string_view path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(Av(Cat(flag, ": an empty path")));
  }
  if (path.size() > kPathBytesMax ||
      path.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        Av(Cat(flag, ": ", Printable(path), " is no path")));
  }
  return absl::OkStatus();
}

absl::Status CheckOutput(FileSystem& fs, const std::string& output,
                         bool refuse_existing) {
  if (output == "/" || absl::StrContains(Cat(output, "/"), "/../")) {
    return absl::InvalidArgumentError(
        Av(Cat("--output: ", Printable(output), " is no directory to make")));
  }
  if (refuse_existing && fs.StatLink(output).ok()) {
    return absl::AlreadyExistsError(
        Av(Cat("output ", Printable(output),
               " exists; name another directory, or remove it")));
  }
  // A store that is not mounted here is the workers' business.
  return absl::OkStatus();
}

// Hashes a file that is to become a blob.
absl::StatusOr<std::string> AddBlob(FileSystem& fs, const std::string& path,
                                    PreparedJob& job) {
  MR_ASSIGN_OR_RETURN(const FileInfo info, fs.Stat(path));
  if (info.kind != FileKind::kRegular) {
    return absl::InvalidArgumentError(
        Av(Cat(Printable(path), " is not a regular file")));
  }
  MR_ASSIGN_OR_RETURN(std::string sha256, Sha256OfFile(fs, path));
  job.blobs.emplace(sha256, path);
  return sha256;
}

absl::Status AddSideFiles(FileSystem& fs, const std::string& working_directory,
                          const JobRequest& request, PreparedJob& job) {
  MR_RETURN_IF_ERROR(CheckSideFileNames(request.settings));
  for (const auto& [name, path] : request.settings.side_files) {
    MR_RETURN_IF_ERROR(CheckPath("--side-file", path));
    absl::StatusOr<std::string> sha256 =
        AddBlob(fs, AbsolutePath(working_directory, path), job);
    if (!sha256.ok()) return Annotate(sha256.status(), "--side-file");
    proto::SideBlob* side = job.spec.add_side_files();
    side->set_name(name);
    side->set_sha256(*std::move(sha256));
  }
  return absl::OkStatus();
}

void CopySettings(const JobSettings& settings, const std::string& program_name,
                  proto::JobSpec& spec) {
  spec.set_num_reducers(settings.reducers);
  spec.set_split_bytes(settings.split_bytes);
  spec.set_sequence_rows(settings.rows);
  spec.set_sequence_splits(settings.sequence_splits);
  spec.set_memory_budget_bytes(settings.memory_bytes);
  spec.set_memory_limit_bytes(settings.memory_limit_bytes);
  // In a specification 0 is the cluster's default.
  spec.set_log_bytes_max(settings.log_limit_bytes == 0
                             ? std::numeric_limits<uint64_t>::max()
                             : settings.log_limit_bytes);
  spec.set_task_timeout_ms(LimitMillis(settings.task_timeout));
  spec.set_task_time_limit_ms(LimitMillis(settings.task_time_limit));
  spec.set_max_attempts(static_cast<uint32_t>(settings.max_attempts));
  spec.set_output_bytes_max(settings.output_limit_bytes);
  spec.set_map_output_codec(settings.codec);
  // As a local run does, so that both give the same bytes.
  spec.set_job_seed(Hash64Seeded(program_name, settings.seed));
  spec.set_skip_bad_records(settings.skip_bad_records);
  spec.set_paranoid(settings.paranoid);
  spec.set_fresh_process(settings.fresh_process);
  spec.set_speculation_off(!settings.speculation);
}

}  // namespace

std::string AbsolutePath(const std::string& working_directory,
                         std::string_view path) {
  const std::string whole = !path.empty() && path[0] == '/'
                                ? std::string(path)
                                : Cat(working_directory, "/", path);
  std::string clean;
  for (const absl::string_view part : absl::StrSplit(whole, '/')) {
    if (part.empty() || part == ".") continue;
    clean += '/';
    clean += ToStd(part);
  }
  return clean.empty() ? "/" : clean;
}

absl::StatusOr<PreparedJob> PrepareJob(FileSystem& fs,
                                       const std::string& working_directory,
                                       const ProgramDescription& description,
                                       const JobRequest& request) {
  const JobSettings& settings = request.settings;
  PreparedJob job;
  proto::JobSpec& spec = job.spec;

  MR_RETURN_IF_ERROR(CheckPath("--output", settings.output));
  const std::string output =
      WithoutDotDot(AbsolutePath(working_directory, settings.output));
  MR_RETURN_IF_ERROR(CheckOutput(fs, output, request.refuse_existing_output));
  spec.set_output(output);
  spec.set_output_place(OutputPlace(output));
  for (const std::string& input : settings.inputs) {
    MR_RETURN_IF_ERROR(CheckPath("--input", input));
    spec.add_inputs(AbsoluteInput(fs, working_directory, input));
  }

  spec.set_name(request.name.empty() ? description.job.name() : request.name);
  spec.set_user(request.user);
  *spec.mutable_description() = description.job;
  spec.set_program_name(BaseName(request.program));
  for (const std::string& argument : request.arguments) {
    spec.add_arguments(argument);
  }
  CopySettings(settings, description.job.name(), spec);

  const std::string program = AbsolutePath(working_directory, request.program);
  if (request.program_sha256.empty()) {
    MR_ASSIGN_OR_RETURN(std::string sha256, AddBlob(fs, program, job));
    spec.set_program_sha256(std::move(sha256));
  } else {
    job.blobs.emplace(request.program_sha256, program);
    spec.set_program_sha256(request.program_sha256);
  }
  MR_RETURN_IF_ERROR(AddSideFiles(fs, working_directory, request, job));
  return job;
}

}  // namespace millrace::client
