// Runs job programs as a user does, and knows what a local run owes: the
// documented exit code, one clear line when it fails, nothing left behind.
#ifndef MILLRACE_TESTS_E2E_LOCAL_RUN_H_
#define MILLRACE_TESTS_E2E_LOCAL_RUN_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {

// Word -> count, made by the simplest program there is: the reference.
using WordCounts = std::map<std::string, int64_t>;
void CountWords(std::string_view text, WordCounts* counts);

class LocalRunTest : public ::testing::Test {
 protected:
  LocalRunTest();

  // A path below the directory of this test's inputs: "<temp>/in/<name>".
  std::string Input(std::string_view name = "") const;
  std::string WriteInput(std::string_view name, std::string_view bytes) const;
  // Where runs write: alone in a directory of its own.
  std::string output() const { return temp_ / "work/out"; }

  // <program> --input=<in> --output=<out> <flags>. Programs: "wordcount",
  // "fault_job", "group_job", "poison_job".
  ProgramOptions Command(const std::string& program,
                         const std::vector<std::string>& flags) const;
  ProgramResult Run(const std::string& program,
                    const std::vector<std::string>& flags = {}) const;
  // The same command as a user who may not read and write everything: as it is,
  // unless the test runs as root.
  ProgramOptions AsOrdinaryUser(ProgramOptions options) const;
  // Without the flags --input and --output.
  static ProgramOptions BareCommand(const std::string& program,
                                    const std::vector<std::string>& flags);

  // The run was successful, said nothing on stdout, left nothing beside the
  // output, and `millrace verify` finds the output whole.
  void ExpectSuccess(const ProgramResult& result) const;
  // The run ended with this code and one line "<program>: ..." on stderr that
  // has all of `parts` in it (details below it are indented), and in work/ is
  // what `left` says and nothing else.
  void ExpectFailure(const ProgramResult& result, int exit_code,
                     const std::vector<std::string>& parts,
                     const std::vector<std::string>& left = {}) const;
  // The line of an error; what is on stderr otherwise is progress and details.
  static std::string ErrorLine(const ProgramResult& result);

  // All part files, one after another.
  std::string ReadOutput() const;
  // The part files as a word count writes them; checks that every part is
  // sorted and no word comes twice.
  WordCounts ReadCounts() const;
  void RemoveOutput() const;

  TempDir temp_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_E2E_LOCAL_RUN_H_
