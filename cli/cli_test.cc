// Drives the program `millrace` as a user and a shell would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "common/file_system.h"
#include "common/hash.h"
#include "storage/commit/manifest.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CliTest : public ::testing::Test {
 protected:
  static ProgramResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), MILLRACE_BIN);
    return RunProgram({.argv = std::move(arguments)});
  }

  // Runs a bash script in which $MILLRACE is the program.
  static ProgramResult Bash(const std::string& script) {
    return RunProgram({.argv = {"/bin/bash", "-c", script},
                       .environment = {"MILLRACE=" MILLRACE_BIN}});
  }

  // Makes a committed output with these parts at <temp>/out.
  std::string WriteOutput(const std::vector<std::string>& parts,
                          uint32_t record_bytes = 0) {
    storage::Manifest manifest;
    manifest.job_id = std::string(32, 'a');
    manifest.job_name = "test";
    manifest.version = "0.1.0";
    manifest.created_at = "2024-01-01T00:00:00Z";
    manifest.output_format = record_bytes > 0 ? "fixed" : "text";
    manifest.record_bytes = record_bytes;
    manifest.plan_hash = std::string(32, 'b');
    manifest.partitions = static_cast<uint32_t>(parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string name = "part-0000" + std::to_string(i);
      temp_.Write("out/" + name, parts[i]);
      manifest.files.push_back({.name = name,
                                .bytes = parts[i].size(),
                                .records = 1,
                                .xxh3 = Hash64(parts[i]),
                                .attempt_uid = std::string(32, 'c')});
    }
    temp_.Write("out/_MANIFEST", storage::SerializeManifest(manifest));
    return temp_ / "out";
  }

  // An error is one line on stderr that begins with the program's name.
  static void ExpectError(const ProgramResult& result, int exit_code,
                          const std::string& part) {
    EXPECT_EQ(result.exit_code, exit_code) << result;
    EXPECT_THAT(result.err, StartsWith("millrace ")) << result;
    EXPECT_THAT(result.err, HasSubstr(part)) << result;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result;
  }

  TempDir temp_;
};

// ------------------------------------------------------------------------ cat

TEST_F(CliTest, CatPrintsPartsInOrderAsTheyStand) {
  const std::string odd("nul\0and\xff\t2\n", 12);
  const std::string out = WriteOutput({"b\t1\nd\t2\n", "", odd});
  const ProgramResult result = Run({"cat", out});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "b\t1\nd\t2\n" + odd);
  EXPECT_EQ(result.err, "");
}

TEST_F(CliTest, CatHeadCountsRecordsAcrossParts) {
  const std::string out = WriteOutput({"a\n", "b\nc\n", "d\n"});
  EXPECT_EQ(Run({"cat", out, "--head", "2"}).out, "a\nb\n");
  EXPECT_EQ(Run({"cat", "--head=0", out}).out, "");
  EXPECT_EQ(Run({"cat", "--head=9", out}).out, "a\nb\nc\nd\n");
}

TEST_F(CliTest, CatHeadStopsInsideALargePart) {
  std::string part;
  for (int i = 0; i < 500'000; ++i) part += std::to_string(i) + "\n";
  const ProgramResult result =
      Run({"cat", WriteOutput({part}), "--head", "400000"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, part.substr(0, part.find("400000\n")));
}

TEST_F(CliTest, CatPrintsLargePartsWhole) {
  std::string part(3 << 20, 'x');
  part += '\n';
  const ProgramResult result = Run({"cat", WriteOutput({part, part})});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, part + part);
}

TEST_F(CliTest, CatEscapesFixedRecordsUnlessRaw) {
  const std::string part = std::string("ab\0\n", 4) + "wxyz";
  const std::string out = WriteOutput({part}, 4);
  const std::vector<std::string> lines = {
      Run({"cat", out}).out, Run({"cat", out, "--raw"}).out,
      Run({"cat", out, "--raw", "--head", "1"}).out};
  EXPECT_THAT(lines[0], StartsWith("ab\\"));
  EXPECT_THAT(lines[0], EndsWith("\nwxyz\n"));
  EXPECT_EQ(std::count(lines[0].begin(), lines[0].end(), '\n'), 2);
  EXPECT_EQ(lines[1], part);
  EXPECT_EQ(lines[2], part.substr(0, 4));
}

TEST_F(CliTest, CatJoinsFixedRecordsThatLieAcrossReads) {
  std::string part;
  for (int i = 0; i < 30'000; ++i) part += std::string(99, 'a' + i % 26) + "|";
  const ProgramResult result = Run({"cat", WriteOutput({part}, 100)});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(result.out.size(), 30'000u * 101);
  for (int i = 0; i < 30'000; ++i) {
    ASSERT_EQ(result.out.substr(i * 101, 101),
              part.substr(i * 100, 100) + "\n");
  }
}

TEST_F(CliTest, CatRefusesADirectoryWithoutManifest) {
  temp_.Write("plain/part-00000", "a\t1\n");
  const ProgramResult result = Run({"cat", temp_ / "plain"});
  ExpectError(result, 4, "_MANIFEST");
  EXPECT_THAT(result.err, HasSubstr(temp_ / "plain"));
  EXPECT_EQ(result.out, "");
  ExpectError(Run({"cat", temp_ / "absent"}), 4, temp_ / "absent");
}

TEST_F(CliTest, CatNoticesChangedBytes) {
  const std::string out = WriteOutput({"a\t1\n", "b\t2\n"});
  temp_.Write("out/part-00001", "b\t3\n");
  ExpectError(Run({"cat", out}), 1, "part-00001");
  temp_.Write("out/part-00001", "b\t2\nc\t9\n");
  ExpectError(Run({"cat", out}), 1, "part-00001");
  FileSystem::Posix().RemoveFile(out + "/part-00001").IgnoreError();
  ExpectError(Run({"cat", out}), 1, "part-00001");
}

TEST_F(CliTest, CatReportsAFullDisk) {
  const std::string out = WriteOutput({std::string(1 << 20, 'x') + "\n"});
  const ProgramResult result =
      Bash("exec \"$MILLRACE\" cat " + out + " > /dev/full");
  ExpectError(result, 1, "No space left on device");
  // It is not the output that is damaged.
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("verify")));
}

TEST_F(CliTest, AReaderThatHasEnoughEndsItSilently) {
  const std::string out = WriteOutput({std::string(1 << 20, 'x') + "\n"});
  const ProgramResult result =
      Bash("\"$MILLRACE\" cat " + out + " | head -c 1; echo ${PIPESTATUS[0]}");
  EXPECT_EQ(result.out, "x141\n") << "as of a program that SIGPIPE ends";
  EXPECT_EQ(result.err, "");
}

TEST_F(CliTest, ErrorsStayOnOneLineWhateverTheNameHolds) {
  ExpectError(Run({"cat", temp_ / "two\nlines\x1b[31m"}), 4, "_MANIFEST");
}

// --------------------------------------------------------------------- verify

TEST_F(CliTest, VerifyAcceptsWhatWasCommitted) {
  const std::string out = WriteOutput({"a\t1\n", "b\t2\n"});
  const ProgramResult result = Run({"verify", out});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out,
            out + ": 2 files, 8 B: every byte is what was committed\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(CliTest, VerifyNamesEachDamagedFile) {
  const std::string out = WriteOutput({"a\t1\n", "b\t2\n", "c\t3\n"});
  temp_.Write("out/part-00000", "a\t2\n");
  FileSystem::Posix().RemoveFile(out + "/part-00002").IgnoreError();
  temp_.Write("out/part-00003", "d\t4\n");
  const ProgramResult result = Run({"verify", out});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_THAT(result.out, HasSubstr("part-00000"));
  EXPECT_THAT(result.out, HasSubstr("part-00002"));
  EXPECT_THAT(result.out, HasSubstr("part-00003"));
  EXPECT_THAT(result.out, Not(HasSubstr("part-00001")));
  EXPECT_THAT(result.out, EndsWith("DAMAGED, 3 problems\n"));
}

TEST_F(CliTest, VerifyAsJson) {
  const std::string out = WriteOutput({"a\t1\n"});
  const nlohmann::json good =
      nlohmann::json::parse(Run({"verify", out, "-o", "json"}).out);
  EXPECT_EQ(good, nlohmann::json({{"output", out},
                                  {"ok", true},
                                  {"files", 1},
                                  {"bytes", 4},
                                  {"problems", nlohmann::json::array()}}));
  temp_.Write("out/part-00000", "a\t1");
  const ProgramResult damaged = Run({"verify", out, "-o", "json"});
  EXPECT_EQ(damaged.exit_code, 1);
  const nlohmann::json bad = nlohmann::json::parse(damaged.out);
  EXPECT_EQ(bad["ok"], false);
  ASSERT_EQ(bad["problems"].size(), 1u);
  EXPECT_THAT(bad["problems"][0].get<std::string>(), HasSubstr("part-00000"));
}

TEST_F(CliTest, VerifyNoticesAChangedManifest) {
  const std::string out = WriteOutput({"a\t1\n"});
  std::string manifest = temp_.Read("out/_MANIFEST");
  manifest.replace(manifest.find("\"test\""), 6, "\"tost\"");
  temp_.Write("out/_MANIFEST", manifest);
  ExpectError(Run({"verify", out}), 1, "_MANIFEST");
  ExpectError(Run({"cat", out}), 1, "_MANIFEST");
}

TEST_F(CliTest, VerifyRefusesWhatIsNoOutput) {
  ExpectError(Run({"verify", temp_.path()}), 4, "_MANIFEST");
}

// -------------------------------------------------------------------- version

TEST_F(CliTest, VersionJsonIsAContract) {
  const ProgramResult result = Run({"version", "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result;
  const nlohmann::json json = nlohmann::json::parse(result.out);
  std::set<std::string> members;
  for (const auto& [name, value] : json.items()) members.insert(name);
  EXPECT_THAT(members,
              ElementsAre("compiler", "name", "task_protocol", "version"));
  EXPECT_EQ(json["name"], "millrace");
  EXPECT_THAT(json["version"].get<std::string>(),
              ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_TRUE(json["task_protocol"].is_number_integer());
}

TEST_F(CliTest, VersionForPeople) {
  EXPECT_THAT(Run({"version"}).out, StartsWith("millrace "));
  EXPECT_THAT(Run({"--version"}).out, StartsWith("millrace "));
}

// ---------------------------------------------------------------------- usage

TEST_F(CliTest, WrongUsageIsOneLineAndTwo) {
  ExpectError(Run({}), 2, "--help");
  ExpectError(Run({"frobnicate"}), 2, "frobnicate");
  ExpectError(Run({"cat"}), 2, "OUTPUT");
  ExpectError(Run({"cat", "x", "--head", "many"}), 2, "--head");
  ExpectError(Run({"cat", "x", "--head=-1"}), 2, "--head");
  ExpectError(Run({"cat", "x", "--head=99999999999999999999"}), 2, "--head");
  ExpectError(Run({"cat", "x", "--nonsense"}), 2, "--nonsense");
  ExpectError(Run({"version", "-o", "yaml"}), 2, "yaml");
  ExpectError(Run({"completion", "csh"}), 2, "csh");
}

TEST_F(CliTest, HelpGoesToStdout) {
  for (const char* command :
       {"", "cat", "verify", "version", "completion", "submit", "list",
        "status", "describe", "why", "wait", "kill", "logs", "counters",
        "replay", "worker", "master", "cluster"}) {
    std::vector<std::string> arguments = {"--help"};
    if (*command != '\0') arguments.insert(arguments.begin(), command);
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << command;
    EXPECT_THAT(result.out, HasSubstr("Usage:")) << command;
    EXPECT_EQ(result.err, "") << command;
  }
}

// ----------------------------------------------------------------- completion

// What bash would offer for these words, the last of them being typed.
std::string CompleteInBash(const std::string& words) {
  return "source <(\"$MILLRACE\" completion bash) && COMP_WORDS=(" + words +
         ") && COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) && _millrace && "
         "printf '%s\\n' \"${COMPREPLY[@]}\" | sort";
}

TEST_F(CliTest, BashCompletesCommandsFlagsAndValues) {
  EXPECT_EQ(Bash(CompleteInBash("millrace ve")).out, "verify\nversion\n");
  EXPECT_EQ(Bash(CompleteInBash("millrace cat --h")).out, "--head\n--help\n");
  EXPECT_EQ(Bash(CompleteInBash("millrace version -o ''")).out,
            "json\ntable\n");
  EXPECT_EQ(Bash(CompleteInBash("millrace completion ''")).out,
            "bash\nfish\nzsh\n");
  const ProgramResult top = Bash(CompleteInBash("millrace ''"));
  for (const char* command :
       {"cat", "verify", "version", "completion", "submit", "worker"}) {
    EXPECT_THAT(top.out, HasSubstr(command)) << top;
  }
}

TEST_F(CliTest, BashCompletesCommandsOfTwoWords) {
  EXPECT_EQ(Bash(CompleteInBash("millrace worker l")).out, "list\n");
  EXPECT_EQ(Bash(CompleteInBash("millrace worker list -o ''")).out,
            "json\ntable\nwide\n");
  EXPECT_EQ(Bash(CompleteInBash("millrace list -o ''")).out,
            "json\ntable\nwide\n");
  EXPECT_THAT(Bash(CompleteInBash("millrace cluster up --s")).out,
              HasSubstr("--same-host"));
  // An id is nothing that a shell can know.
  EXPECT_EQ(Bash(CompleteInBash("millrace status ''")).out, "");
}

TEST_F(CliTest, BashCompletesProgramsAndInputsAsFiles) {
  temp_.Write("job one", "");
  const std::string here = "cd " + temp_.path() + " && ";
  EXPECT_EQ(Bash(here + CompleteInBash("millrace submit job")).out,
            "job one\n");
  EXPECT_EQ(Bash(here + CompleteInBash("millrace submit x --input job")).out,
            "job one\n");
}

TEST_F(CliTest, BashCompletesOutputsAsDirectories) {
  temp_.Write("out one/part-00000", "");
  temp_.Write("out file", "");
  EXPECT_EQ(
      Bash("cd " + temp_.path() + " && " + CompleteInBash("millrace cat out"))
          .out,
      "out one\n");
}

TEST_F(CliTest, BashIsToldToUseTheFunction) {
  EXPECT_EQ(Bash("source <(\"$MILLRACE\" completion bash) && "
                 "complete -p millrace")
                .out,
            "complete -F _millrace millrace\n");
}

TEST_F(CliTest, OtherShellsNameEveryCommandAndFlag) {
  for (const char* shell : {"zsh", "fish"}) {
    const ProgramResult result = Run({"completion", shell});
    EXPECT_EQ(result.exit_code, 0) << result;
    for (const char* word :
         {"cat", "verify", "version", "completion", "head", "raw", "submit",
          "detach", "undrain", "same-host"}) {
      EXPECT_THAT(result.out, HasSubstr(word)) << shell;
    }
  }
}

}  // namespace
}  // namespace millrace
