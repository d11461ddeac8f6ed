#include "client/describe_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "client/run_child.h"
#include "common/strings.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kGood[] = R"({
  "millrace": "0.1.0", "task_protocol": 3, "name": "grep",
  "input": {"type": "TextLine", "record_bytes": 0},
  "combine": true, "combine_exact": true, "reduce": true,
  "total_order": false, "output": {"format": "text", "record_bytes": 0},
  "arguments": "PATTERN"
})";

std::string MessageOf(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

class DescribeProgramTest : public ::testing::Test {
 protected:
  // An executable script.
  std::string Script(const std::string& body) {
    const std::string path =
        temp_.Write("program", "#!/bin/bash\n" + body + "\n");
    EXPECT_EQ(chmod(path.c_str(), 0755), 0);
    return path;
  }

  void ExpectWrong(const std::string& body, const std::string& part) {
    const auto description = DescribeProgram(Script(body), {}, options_);
    EXPECT_TRUE(absl::IsInvalidArgument(description.status()))
        << body << ": " << description.status();
    EXPECT_THAT(MessageOf(description.status()), HasSubstr(part)) << body;
    EXPECT_THAT(MessageOf(description.status()), Not(HasSubstr("\n")));
  }

  TempDir temp_;
  DescribeOptions options_;
};

TEST_F(DescribeProgramTest, ReadsWhatTheProgramSays) {
  const auto description = DescribeProgram(
      Script(Cat("cat <<'END'\n", kGood, "\nEND")), {"x"}, options_);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->job.name(), "grep");
  EXPECT_TRUE(description->job.reduces());
  EXPECT_TRUE(description->job.combines());
  EXPECT_TRUE(description->job.combine_exact());
  EXPECT_EQ(description->job.output_format(), "text");
  EXPECT_EQ(description->job.millrace_version(), "0.1.0");
  EXPECT_EQ(description->arguments_usage, "PATTERN");
  EXPECT_FALSE(description->shape.sequence_input);
}

TEST_F(DescribeProgramTest, HandsTheArgumentsOnAsTheyAre) {
  const auto description = DescribeProgram(
      Script("[[ $# == 4 && $1 == --describe && $2 == -- && $3 == 'a  b' && "
             "$4 == '$(x)' ]] || exit 1\n" +
             Cat("cat <<'END'\n", kGood, "\nEND")),
      {"a  b", "$(x)"}, options_);
  EXPECT_TRUE(description.ok()) << description.status();
}

TEST_F(DescribeProgramTest, TheJobsOwnWordOnItsArgumentsIsPassedOn) {
  ExpectWrong(
      "if [[ $2 == -- ]]; then echo 'program: a PATTERN is missing' "
      ">&2; exit 2; fi\n" +
          Cat("cat <<'END'\n", kGood, "\nEND"),
      "a PATTERN is missing");
  // The program's way to its help is not that of who submits it.
  const auto description = DescribeProgram(
      Script("echo 'program: no PATTERN (see program --help)' >&2; exit 2"), {},
      options_);
  EXPECT_THAT(MessageOf(description.status()), HasSubstr("no PATTERN"));
  EXPECT_THAT(MessageOf(description.status()), Not(HasSubstr("--help")));
}

TEST_F(DescribeProgramTest, OtherProgramsAreToldFromJobPrograms) {
  ExpectWrong("exit 0", "is no Millrace program");
  ExpectWrong("echo '{}'", "is no Millrace program");
  ExpectWrong("echo \"unknown option $1\" >&2; exit 2", "unknown option");
  ExpectWrong("exit 3", "exit code 3");
  ExpectWrong("kill -SEGV $$", "signal 11");
}

TEST_F(DescribeProgramTest, AnotherTaskProtocolIsRefused) {
  std::string other = kGood;
  other.replace(other.find("\"task_protocol\": 3"), 18, "\"task_protocol\": 9");
  ExpectWrong(Cat("cat <<'END'\n", other, "\nEND"), "task protocol 9");
}

TEST_F(DescribeProgramTest, WhatIsNotExecutableIsSaidSo) {
  EXPECT_TRUE(absl::IsNotFound(
      DescribeProgram(temp_ / "absent", {}, options_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      DescribeProgram(temp_.path(), {}, options_).status()));
  // Bytes that no kernel executes.
  const std::string junk = temp_.Write("junk", std::string(64, '\x01'));
  chmod(junk.c_str(), 0755);
  EXPECT_TRUE(
      absl::IsInvalidArgument(DescribeProgram(junk, {}, options_).status()));
}

TEST_F(DescribeProgramTest, AProgramThatHangsIsKilledWithItsChildren) {
  options_.timeout = absl::Milliseconds(500);
  const std::string pid_file = temp_ / "pid";
  ExpectWrong(Cat("sleep 1000 & echo $! > ", pid_file, "; wait"),
              "did not end in time");
  const pid_t child = std::stoi(temp_.Read("pid"));
  EXPECT_TRUE(ProcessEnds(child, absl::Seconds(10)));
}

TEST_F(DescribeProgramTest, AFloodIsCutOff) {
  options_.output_bytes_max = 10'000;
  ExpectWrong("yes", "printed too much");
}

TEST_F(DescribeProgramTest, AChildLeftBehindDoesNotHoldItUp) {
  options_.timeout = absl::Seconds(30);
  const absl::Duration began = Clock::Real().Monotonic();
  const auto description = DescribeProgram(
      Script(Cat("sleep 1000 &\ncat <<'END'\n", kGood, "\nEND")), {}, options_);
  EXPECT_TRUE(description.ok()) << description.status();
  EXPECT_LT(Clock::Real().Monotonic() - began, absl::Seconds(20));
}

TEST(ParseDescriptionTest, SequencesAndFixedRecords) {
  std::string text = kGood;
  text.replace(text.find("TextLine"), 8, "Sequence");
  text.replace(text.find("\"format\": \"text\", \"record_bytes\": 0"), 35,
               "\"format\": \"fixed\", \"record_bytes\": 100");
  const auto description = ParseDescription(text);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_TRUE(description->shape.sequence_input);
  EXPECT_EQ(description->job.output_record_bytes(), 100u);
}

TEST(ParseDescriptionTest, EveryPrefixIsRefusedAndNoneCrashes) {
  const std::string text = kGood;
  for (size_t n = 0; n + 1 < text.size(); ++n) {
    EXPECT_FALSE(ParseDescription(text.substr(0, n)).ok()) << n;
  }
  for (const char* wrong :
       {"null", "[]", "7", "{\"millrace\": 7}",
        "{\"millrace\": \"1\", \"task_protocol\": 3, \"name\": 7}",
        "{\"millrace\": \"1\", \"task_protocol\": \"x\"}"}) {
    EXPECT_FALSE(ParseDescription(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace millrace::client
