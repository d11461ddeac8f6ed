#include "tests/e2e/local_run.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/file_system.h"
#include "common/strings.h"

namespace millrace {
namespace {

std::string ProgramPath(const std::string& name) {
  if (name == "fault_job") return MILLRACE_FAULT_JOB;
  if (name == "group_job") return MILLRACE_GROUP_JOB;
  if (name == "poison_job") return MILLRACE_POISON_JOB;
  return JoinPath(MILLRACE_BIN_DIR, name);
}

// Lines of a run that takes long: "wordcount: map 3/7  ...".
bool IsProgress(std::string_view line) {
  return absl::StrContains(Av(line), ": map ") &&
         !absl::StrContains(Av(line), " failed: ");
}

}  // namespace

void CountWords(std::string_view text, WordCounts* counts) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(kSpace, at);
    if (begin == std::string_view::npos) return;
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    ++(*counts)[std::string(text.substr(begin, end - begin))];
    at = end;
  }
}

LocalRunTest::LocalRunTest() {
  std::filesystem::create_directories(temp_ / "in");
  std::filesystem::create_directories(temp_ / "work");
}

std::string LocalRunTest::Input(std::string_view name) const {
  return name.empty() ? temp_ / "in" : temp_ / Cat("in/", name);
}

std::string LocalRunTest::WriteInput(std::string_view name,
                                     std::string_view bytes) const {
  return temp_.Write(Cat("in/", name), bytes);
}

ProgramOptions LocalRunTest::BareCommand(
    const std::string& program, const std::vector<std::string>& flags) {
  ProgramOptions options;
  options.argv = {ProgramPath(program)};
  options.argv.insert(options.argv.end(), flags.begin(), flags.end());
  options.deadline = absl::Seconds(120);
  return options;
}

ProgramOptions LocalRunTest::Command(
    const std::string& program, const std::vector<std::string>& flags) const {
  std::vector<std::string> all = {Cat("--input=", Input()),
                                  Cat("--output=", output())};
  all.insert(all.end(), flags.begin(), flags.end());
  return BareCommand(program, all);
}

ProgramResult LocalRunTest::Run(const std::string& program,
                                const std::vector<std::string>& flags) const {
  return RunProgram(Command(program, flags));
}

void LocalRunTest::ExpectSuccess(const ProgramResult& result) const {
  ASSERT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "") << result;
  EXPECT_THAT(temp_.Names("work"), ::testing::ElementsAre("out")) << result;
  const ProgramResult verified =
      RunProgram({.argv = {ProgramPath("millrace"), "verify", output()}});
  EXPECT_EQ(verified.exit_code, 0) << verified;
}

ProgramOptions LocalRunTest::AsOrdinaryUser(ProgramOptions options) const {
  if (geteuid() != 0) return options;
  // The build folder may lie where nobody else may go.
  const std::string copy = temp_ / BaseName(options.argv[0]);
  std::filesystem::copy_file(options.argv[0], copy);
  chmod(temp_.path().c_str(), 0755);
  options.argv[0] = copy;
  const std::vector<std::string> prefix = {"/usr/bin/setpriv", "--reuid=65534",
                                           "--regid=65534", "--clear-groups"};
  options.argv.insert(options.argv.begin(), prefix.begin(), prefix.end());
  return options;
}

std::string LocalRunTest::ErrorLine(const ProgramResult& result) {
  std::string error;
  for (const absl::string_view line : absl::StrSplit(result.err, '\n')) {
    if (line.empty() || line[0] == ' ' || IsProgress(ToStd(line))) continue;
    if (!error.empty()) error += '\n';
    error += std::string(line);
  }
  return error;
}

void LocalRunTest::ExpectFailure(const ProgramResult& result, int exit_code,
                                 const std::vector<std::string>& parts,
                                 const std::vector<std::string>& left) const {
  EXPECT_EQ(result.exit_code, exit_code) << result;
  EXPECT_EQ(result.out, "") << result;
  const std::string error = ErrorLine(result);
  EXPECT_THAT(error, ::testing::ContainsRegex("^[a-z_]+: [^ ]")) << result;
  EXPECT_THAT(error, ::testing::Not(::testing::HasSubstr("\n"))) << result;
  for (const std::string& part : parts) {
    EXPECT_THAT(error, ::testing::HasSubstr(part)) << result;
  }
  EXPECT_THAT(temp_.Names("work"), ::testing::ElementsAreArray(left)) << result;
}

std::string LocalRunTest::ReadOutput() const {
  std::string all;
  for (const std::string& name : temp_.Names("work/out")) {
    if (name[0] != '_') all += temp_.Read("work/out/" + name);
  }
  return all;
}

WordCounts LocalRunTest::ReadCounts() const {
  WordCounts counts;
  for (const std::string& name : temp_.Names("work/out")) {
    if (name[0] == '_') continue;
    const std::string part = temp_.Read("work/out/" + name);
    std::string previous;
    std::string_view rest = part;
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      const std::string_view line = rest.substr(0, end);
      const size_t tab = line.find('\t');
      if (end == std::string_view::npos || tab == std::string_view::npos) {
        ADD_FAILURE() << name << " has a line that no word count writes: "
                      << Printable(line);
        return counts;
      }
      const std::string word(line.substr(0, tab));
      EXPECT_TRUE(previous.empty() || previous < word)
          << name << ": " << Printable(previous) << " before "
          << Printable(word);
      EXPECT_TRUE(
          counts.emplace(word, std::stoll(std::string(line.substr(tab + 1))))
              .second)
          << Printable(word) << " stands in two places";
      previous = word;
      rest.remove_prefix(end + 1);
    }
  }
  return counts;
}

void LocalRunTest::RemoveOutput() const {
  std::filesystem::remove_all(output());
}

}  // namespace millrace
