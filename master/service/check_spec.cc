#include "master/service/check_spec.h"

#include <string_view>

#include "common/job_settings.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "master/state/limits.h"

namespace millrace::master {
namespace {

constexpr size_t kNameBytesMax = 256;
constexpr size_t kPathBytesMax = 4096;
constexpr uint64_t kMemoryBudgetDefault = uint64_t{512} << 20;
constexpr uint64_t kMemoryBudgetMin = 1 << 20;
// Over the budget: what user code and libraries hold beside the buffers.
constexpr uint64_t kMemoryLimitOver = uint64_t{2} << 30;
constexpr uint64_t kLogBytesDefault = 64 << 20;
constexpr uint32_t kMaxAttemptsMax = 1000;

absl::Status Invalid(std::string message) {
  return absl::InvalidArgumentError(message);
}

absl::Status CheckHash(std::string_view what, const std::string& sha256) {
  if (sha256.size() == kSha256Bytes) return absl::OkStatus();
  return Invalid(Cat(what, ": a SHA-256 has ", kSha256Bytes,
                     " bytes, this one has ", sha256.size()));
}

bool HasPart(std::string_view path, std::string_view part) {
  const std::string padded = Cat(path, "/");
  return padded.find(Cat("/", part, "/")) != std::string::npos;
}

absl::Status CheckPath(std::string_view what, const std::string& path) {
  const std::string shown = Printable(path, 200);
  if (path.empty() || path[0] != '/') {
    return Invalid(Cat(what, " \"", shown,
                       "\" is no absolute path; workers have another "
                       "directory than you"));
  }
  if (path.size() > kPathBytesMax) {
    return Invalid(Cat(what, " has ", path.size(), " bytes; the limit is ",
                       kPathBytesMax));
  }
  if (path.find('\0') != std::string::npos) {
    return Invalid(Cat(what, " \"", shown, "\" has a NUL byte in it"));
  }
  return absl::OkStatus();
}

absl::Status CheckOutput(const std::string& output) {
  if (absl::Status status = CheckPath("the output", output); !status.ok()) {
    return status;
  }
  const std::string shown = Printable(output, 200);
  // Two spellings of one path would reserve it twice.
  if (output == "/" || output.back() == '/' || HasPart(output, "") ||
      HasPart(output, ".") || HasPart(output, "..")) {
    return Invalid(Cat("the output \"", shown,
                       "\" has to be written without \".\", \"..\" and "
                       "needless separators"));
  }
  return absl::OkStatus();
}

absl::Status CheckSideFile(const proto::SideBlob& file) {
  const std::string& name = file.name();
  if (name.empty() || name == "." || name == ".." ||
      name.size() > kNameBytesMax ||
      name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
    return Invalid(Cat("side file \"", Printable(name, 100),
                       "\": its name has to be one path component of at most ",
                       kNameBytesMax, " bytes"));
  }
  return CheckHash(Cat("side file \"", Printable(name, 100), "\""),
                   file.sha256());
}

}  // namespace

absl::Status CheckSpec(const proto::JobSpec& spec) {
  if (spec.name().empty() || spec.name().size() > kNameBytesMax) {
    return Invalid(Cat("the job's name has ", spec.name().size(),
                       " bytes; it needs 1 to ", kNameBytesMax));
  }
  if (spec.user().size() > kNameBytesMax) {
    return Invalid(Cat("the name of its user has ", spec.user().size(),
                       " bytes; at most ", kNameBytesMax, " are possible"));
  }
  if (absl::Status status = CheckHash("the program", spec.program_sha256());
      !status.ok()) {
    return status;
  }
  if (spec.description().task_protocol() != proto::TASK_PROTOCOL_VERSION) {
    return Invalid(
        Cat(Printable(spec.program_name(), 200), " was built with Millrace ",
            Printable(spec.description().millrace_version(), 50),
            ", which speaks task protocol ", spec.description().task_protocol(),
            "; this cluster speaks ",
            static_cast<int>(proto::TASK_PROTOCOL_VERSION),
            "; build it with the cluster's version"));
  }
  if (spec.inputs().empty() && spec.sequence_rows() == 0) {
    return Invalid("the job has no input");
  }
  for (const std::string& input : spec.inputs()) {
    if (absl::Status status = CheckPath("the input", input); !status.ok()) {
      return status;
    }
  }
  if (absl::Status status = CheckOutput(spec.output()); !status.ok()) {
    return status;
  }
  if (spec.skip_bad_records() > kSkipBadRecordsMax) {
    return Invalid(Cat("at most ", kSkipBadRecordsMax,
                       " bad records may be passed over, not ",
                       spec.skip_bad_records()));
  }
  if (spec.num_reducers() > kPartitionsMax) {
    return Invalid(Cat(spec.num_reducers(), " reducers are more than the ",
                       kPartitionsMax, " that a job may have"));
  }
  if (spec.memory_budget_bytes() != 0 &&
      spec.memory_budget_bytes() < kMemoryBudgetMin) {
    return Invalid(Cat("a memory budget of ", spec.memory_budget_bytes(),
                       " bytes is less than ", kMemoryBudgetMin));
  }
  const std::string& codec = spec.map_output_codec();
  if (!codec.empty() && codec != "none" && codec != "lz4" && codec != "zstd") {
    return Invalid(
        Cat("codec \"", Printable(codec, 50), "\" is none of none, lz4, zstd"));
  }
  for (const int64_t ms : {spec.task_timeout_ms(), spec.task_time_limit_ms()}) {
    if (ms < 0) {
      return Invalid(
          Cat("a limit on a task's time of ", ms, " ms is less than none"));
    }
  }
  if (spec.max_attempts() > kMaxAttemptsMax) {
    return Invalid(Cat(spec.max_attempts(), " attempts are more than the ",
                       kMaxAttemptsMax, " that a task may have"));
  }
  for (const proto::SideBlob& file : spec.side_files()) {
    if (absl::Status status = CheckSideFile(file); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void FillDefaults(proto::JobSpec& spec) {
  if (spec.memory_budget_bytes() == 0) {
    spec.set_memory_budget_bytes(kMemoryBudgetDefault);
  }
  if (spec.memory_limit_bytes() == 0) {
    spec.set_memory_limit_bytes(spec.memory_budget_bytes() + kMemoryLimitOver);
  }
  if (spec.log_bytes_max() == 0) spec.set_log_bytes_max(kLogBytesDefault);
  if (spec.max_attempts() == 0) spec.set_max_attempts(kMaxAttemptsDefault);
  if (spec.map_output_codec().empty()) spec.set_map_output_codec("lz4");
}

std::vector<std::string> BlobsOf(const proto::JobSpec& spec) {
  std::vector<std::string> blobs = {spec.program_sha256()};
  for (const proto::SideBlob& file : spec.side_files()) {
    blobs.push_back(file.sha256());
  }
  return blobs;
}

}  // namespace millrace::master
