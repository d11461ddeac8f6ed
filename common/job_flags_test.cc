#include "common/job_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/flag_kinds.h"
#include "common/strings.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr JobShape kFiles = {.sequence_input = false, .reduces = true};
constexpr JobShape kNumbers = {.sequence_input = true, .reduces = false};

// Parses the flags of every shape, then takes them for `shape`.
absl::StatusOr<JobSettings> Parse(std::vector<std::string> arguments,
                                  const JobShape& shape = kFiles) {
  JobFlagSet flags("lz4");
  CLI::App app;
  flags.AddDataFlags(app, std::nullopt);
  flags.AddTaskFlags(app);
  std::reverse(arguments.begin(), arguments.end());  // CLI11's own order.
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return flags.Take(shape);
}

std::string ErrorOf(std::vector<std::string> arguments,
                    const JobShape& shape = kFiles) {
  const absl::StatusOr<JobSettings> settings =
      Parse(std::move(arguments), shape);
  return settings.ok() ? "no error"
                       : std::string(ToStd(settings.status().message()));
}

TEST(JobFlagsTest, DefaultsAreThoseOfALocalRun) {
  const auto settings = Parse({"--input", "in", "--output", "out"});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_THAT(settings->inputs, ElementsAre("in"));
  EXPECT_EQ(settings->output, "out");
  EXPECT_EQ(settings->memory_bytes, uint64_t{512} << 20);
  EXPECT_EQ(settings->memory_limit_bytes,
            (uint64_t{512} << 20) + (uint64_t{2} << 30));
  EXPECT_EQ(settings->log_limit_bytes, uint64_t{64} << 20);
  EXPECT_EQ(settings->task_timeout, absl::Seconds(600));
  EXPECT_EQ(settings->task_time_limit, absl::ZeroDuration());
  EXPECT_EQ(settings->max_attempts, 4);
  EXPECT_EQ(settings->codec, "lz4");
}

TEST(JobFlagsTest, EveryFlagArrives) {
  const auto settings = Parse({"-i",
                               "a",
                               "-i",
                               "b",
                               "-o",
                               "out",
                               "-r",
                               "7",
                               "--memory",
                               "1g",
                               "--split-bytes",
                               "64K",
                               "--codec",
                               "zstd",
                               "--seed",
                               "9",
                               "--paranoid",
                               "--side-file",
                               "stop=/tmp/a=b",
                               "--fresh-process",
                               "--memory-limit",
                               "3G",
                               "--task-timeout",
                               "1m30s",
                               "--task-time-limit",
                               "2h",
                               "--log-limit",
                               "0",
                               "--max-attempts",
                               "1",
                               "--skip-bad-records",
                               "7"});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_THAT(settings->inputs, ElementsAre("a", "b"));
  EXPECT_EQ(settings->reducers, 7u);
  EXPECT_EQ(settings->memory_bytes, uint64_t{1} << 30);
  EXPECT_EQ(settings->memory_limit_bytes, uint64_t{3} << 30);
  EXPECT_EQ(settings->split_bytes, uint64_t{64} << 10);
  EXPECT_EQ(settings->codec, "zstd");
  EXPECT_EQ(settings->seed, 9u);
  EXPECT_TRUE(settings->paranoid);
  EXPECT_TRUE(settings->fresh_process);
  EXPECT_EQ(settings->log_limit_bytes, 0u);
  EXPECT_EQ(settings->max_attempts, 1);
  EXPECT_EQ(settings->skip_bad_records, 7u);
  EXPECT_EQ(settings->task_timeout, absl::Seconds(90));
  EXPECT_EQ(settings->task_time_limit, absl::Hours(2));
  EXPECT_THAT(settings->side_files, ElementsAre(Pair("stop", "/tmp/a=b")));
}

TEST(JobFlagsTest, ErrorsNameTheFlag) {
  const std::vector<std::string> good = {"-i", "a", "-o", "b"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), good.begin(), good.end());
    return ErrorOf(std::move(more));
  };
  EXPECT_EQ(with({}), "no error");
  EXPECT_THAT(with({"--memory", "many"}), HasSubstr("--memory"));
  EXPECT_THAT(with({"--memory", "1K"}), HasSubstr("--memory"));
  EXPECT_THAT(with({"--memory", "0"}), HasSubstr("--memory"));
  EXPECT_EQ(with({"--memory", "1T"}), "no error");
  EXPECT_THAT(with({"--memory", "1025G"}), HasSubstr("--memory"));
  EXPECT_THAT(with({"--task-timeout", "-5s"}), HasSubstr("--task-timeout"));
  EXPECT_THAT(with({"--task-time-limit", "long"}),
              HasSubstr("--task-time-limit"));
  EXPECT_THAT(with({"--max-attempts", "0"}), HasSubstr("--max-attempts"));
  EXPECT_THAT(with({"--reducers", "1.5"}), HasSubstr("--reducers"));
  EXPECT_THAT(with({"--codec", "rar"}), HasSubstr("--codec"));
  EXPECT_THAT(with({"--side-file", "no-equals"}), HasSubstr("--side-file"));
  EXPECT_THAT(with({"--side-file", "=path"}), HasSubstr("--side-file"));
  EXPECT_THAT(with({"--side-file", "../a=path"}), HasSubstr("no file name"));
  EXPECT_THAT(with({"--side-file", "a=x", "--side-file", "a=y"}),
              HasSubstr("two files"));
}

TEST(JobFlagsTest, FlagsThatDoNotFitTheShapeAreRefused) {
  EXPECT_THAT(ErrorOf({"-o", "b"}), HasSubstr("--input is missing"));
  EXPECT_THAT(ErrorOf({"-i", "a"}), HasSubstr("--output is missing"));
  EXPECT_THAT(ErrorOf({"-i", "a", "-o", "b", "--rows", "5"}),
              HasSubstr("--rows"));
  EXPECT_THAT(ErrorOf({"-i", "a", "-o", "b"}, kNumbers), HasSubstr("--input"));
  EXPECT_THAT(ErrorOf({"-o", "b", "--split-bytes", "5"}, kNumbers),
              HasSubstr("--split-bytes"));
  EXPECT_THAT(ErrorOf({"-o", "b", "--rows", "1", "--reducers", "5"}, kNumbers),
              HasSubstr("--reducers"));
  EXPECT_THAT(ErrorOf({"-o", "b"}, kNumbers), HasSubstr("--rows is missing"));
  EXPECT_THAT(ErrorOf({"-o", "b", "--rows", "0"}, kNumbers),
              HasSubstr("--rows"));
  const auto numbers =
      Parse({"-o", "b", "--rows", "5", "--splits", "2"}, kNumbers);
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_EQ(numbers->rows, 5u);
  EXPECT_EQ(numbers->sequence_splits, 2u);
}

TEST(FlagKindsTest, FlagWithoutValueIsFoundBeforeTheProgramsOwn) {
  const auto first = [](std::vector<std::string> arguments) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    return std::string(
        FlagWithoutValue(static_cast<int>(argv.size()), argv.data()));
  };
  EXPECT_EQ(first({"p", "--input=", "--output=o"}), "--input=");
  EXPECT_EQ(first({"p", "--input=a=", "-i", "=", "--", "--x="}), "");
  EXPECT_EQ(first({"p", "--=", "--x", ""}), "");
}

TEST(FlagKindsTest, SizesAndTimes) {
  EXPECT_EQ(ParseBytes("0"), 0u);
  EXPECT_EQ(ParseBytes("1.5k"), 1536u);
  EXPECT_EQ(ParseBytes("2MiB"), uint64_t{2} << 20);
  EXPECT_EQ(ParseBytes("-1"), std::nullopt);
  EXPECT_EQ(ParseBytes("1x"), std::nullopt);
  EXPECT_EQ(ParseBytes("nan"), std::nullopt);
  EXPECT_EQ(ParseBytes("99999999T"), std::nullopt);
  EXPECT_EQ(ParseSeconds("5"), absl::Seconds(5));
  EXPECT_EQ(ParseSeconds("2m"), absl::Minutes(2));
  EXPECT_EQ(ParseSeconds("soon"), std::nullopt);
  EXPECT_EQ(ParseSeconds("-1"), std::nullopt);
}

// What is said of these arguments to a program with one flag that it needs.
std::string UsageErrorOf(std::vector<std::string> arguments) {
  CLI::App app;
  std::string output;
  app.add_option("--output", output)->required();
  std::reverse(arguments.begin(), arguments.end());  // CLI11's own order.
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return UsageErrorText(app, error);
  }
  return "no error";
}

TEST(UsageErrorTest, AnUnknownFlagComesBeforeAMissingOne) {
  EXPECT_EQ(UsageErrorOf({"--output", "out"}), "no error");
  EXPECT_EQ(UsageErrorOf({}), "--output is required");
  EXPECT_EQ(UsageErrorOf({"--ouptut", "out"}),
            "The following arguments were not expected: --ouptut out");
}

}  // namespace
}  // namespace millrace
