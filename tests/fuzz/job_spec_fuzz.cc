// From what a user writes behind `millrace submit` to what masters and workers
// take: any words are refused in a line that can be shown, or become a job that
// travels as it is. What masters accept, of whomever, workers accept.
#include <fuzzer/FuzzedDataProvider.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/describe_program.h"
#include "client/job_request.h"
#include "common/job_flags.h"
#include "common/logging.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "master/service/check_spec.h"
#include "proto/messages/task.pb.h"
#include "tests/fuzz/dice.h"
#include "tests/testing/memory_file_system.h"
#include "worker/agent/job_setup.h"

namespace millrace {
namespace {

constexpr std::array<std::string_view, 23> kFlags = {"--input",
                                                     "--output",
                                                     "--reducers",
                                                     "--split-bytes",
                                                     "--memory",
                                                     "--memory-limit",
                                                     "--task-timeout",
                                                     "--task-time-limit",
                                                     "--max-attempts",
                                                     "--skip-bad-records",
                                                     "--log-limit",
                                                     "--output-limit",
                                                     "--codec",
                                                     "--rows",
                                                     "--splits",
                                                     "--seed",
                                                     "--fresh-process",
                                                     "--paranoid",
                                                     "--speculation",
                                                     "--side-file",
                                                     "--",
                                                     "--no-such-flag",
                                                     "-x"};

constexpr std::array<std::string_view, 22> kValues = {"in",
                                                      "in/*",
                                                      "/desk/in",
                                                      "out",
                                                      "",
                                                      "0",
                                                      "1",
                                                      "-1",
                                                      "64K",
                                                      "1.5GiB",
                                                      "99999999999",
                                                      "18446744073709551616",
                                                      "10s",
                                                      "1e300h",
                                                      "inf",
                                                      "lz4",
                                                      "none",
                                                      "stop=words",
                                                      "=words",
                                                      "stop=",
                                                      "off",
                                                      "../../out/./x//"};

// One line for people, whatever was in the words.
void CheckShown(const absl::Status& status) {
  const std::string message(ToStd(status.message()));
  CHECK(!message.empty());
  for (const char c : message) {
    CHECK(static_cast<unsigned char>(c) >= 0x20) << status;
  }
}

std::optional<JobSettings> Parse(Dice& dice, const JobShape& shape) {
  std::vector<std::string> words;
  if (!dice.OneIn(4)) words = {"--output", "out", "--input", "in"};
  while (!dice.Done() && words.size() < 24) {
    std::string flag(kFlags[dice.Below(kFlags.size())]);
    std::string value(kValues[dice.Below(kValues.size())]);
    if (dice.OneIn(3)) value = dice.Garbled(std::move(value));
    if (dice.OneIn(8)) value = dice.Bytes(300);
    if (dice.OneIn(16)) flag = dice.Garbled(std::move(flag));
    if (dice.OneIn(2)) {
      words.push_back(Cat(flag, "=", value));
    } else {
      words.insert(words.end(), {std::move(flag), std::move(value)});
    }
  }
  JobFlagSet flags("lz4");
  CLI::App app;
  flags.AddDataFlags(app, std::nullopt);
  flags.AddTaskFlags(app);
  std::reverse(words.begin(), words.end());  // CLI11's own order.
  try {
    app.parse(words);
  } catch (const CLI::ParseError&) {
    return std::nullopt;
  }
  absl::StatusOr<JobSettings> settings = flags.Take(shape);
  if (settings.ok()) return *std::move(settings);
  CHECK(absl::IsInvalidArgument(settings.status())) << settings.status();
  CheckShown(settings.status());
  return std::nullopt;
}

// What a master does with a spec, and then a worker.
void CheckTaken(proto::JobSpec spec, bool of_our_client) {
  const absl::Status checked = master::CheckSpec(spec);
  if (!checked.ok()) {
    CHECK(absl::IsInvalidArgument(checked)) << checked;
    CheckShown(checked);
    return;
  }
  master::FillDefaults(spec);
  CHECK(master::CheckSpec(spec).ok()) << "the defaults are no good";
  const absl::Status worker = worker::CheckSpec(spec);
  CHECK(worker.ok()) << worker;
  if (of_our_client) CHECK(spec.inputs_size() > 0 || spec.sequence_rows() > 0);
}

void FuzzSubmit(FuzzedDataProvider& data) {
  Dice dice(data);
  JobShape shape;
  shape.sequence_input = dice.OneIn(4);
  shape.reduces = !dice.OneIn(4);
  client::JobRequest request;
  request.program = "./job";
  request.name = dice.OneIn(4) ? dice.Bytes(300) : "";
  request.user = "me";
  for (uint32_t i = dice.Below(3); i > 0; --i) {
    request.arguments.push_back(dice.Bytes(20));
  }
  const std::optional<JobSettings> settings = Parse(dice, shape);
  if (!settings.has_value()) return;
  request.settings = *settings;

  MemoryFileSystem fs;
  fs.SetContents("/desk/job", "program");
  fs.SetContents("/desk/words", "stop");
  fs.SetContents("/desk/in/a", "x");
  client::ProgramDescription description;
  description.shape = shape;
  description.job.set_name("fuzzed");
  description.job.set_reduces(shape.reduces);
  description.job.set_task_protocol(proto::TASK_PROTOCOL_VERSION);
  const auto job = client::PrepareJob(fs, "/desk", description, request);
  if (!job.ok()) {
    CHECK(absl::IsInvalidArgument(job.status()) ||
          absl::IsAlreadyExists(job.status()) || absl::IsNotFound(job.status()))
        << job.status();
    CheckShown(job.status());
    return;
  }
  const std::string bytes = job->spec.SerializeAsString();
  proto::JobSpec arrived;
  CHECK(arrived.ParseFromString(bytes)) << "what is sent is not understood";
  CHECK(arrived.SerializeAsString() == bytes);
  CheckTaken(std::move(arrived), true);
}

void FuzzSpec(FuzzedDataProvider& data) {
  Dice dice(data);
  proto::JobSpec spec;
  spec.set_name("fuzzed");
  spec.set_program_name("job");
  spec.set_program_sha256(Sha256Of("program"));
  spec.mutable_description()->set_task_protocol(proto::TASK_PROTOCOL_VERSION);
  spec.add_inputs("/in");
  spec.set_output("/out/" + dice.Text());
  proto::SideBlob* side = spec.add_side_files();
  side->set_name(dice.OneIn(2) ? "stop" : dice.Text());
  side->set_sha256(Sha256Of("stop"));
  while (!dice.Done()) {
    CheckTaken(spec, false);
    spec = dice.Changed(std::move(spec), 1);
  }
}

void FuzzDescription(FuzzedDataProvider& data) {
  const auto description =
      client::ParseDescription(data.ConsumeRemainingBytesAsString());
  if (description.ok()) return;
  CHECK(absl::IsInvalidArgument(description.status())) << description.status();
  CheckShown(description.status());
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 3)) {
    case 0:
      millrace::FuzzDescription(data);
      break;
    case 1:
      millrace::FuzzSpec(data);
      break;
    default:
      millrace::FuzzSubmit(data);
  }
  return 0;
}
