// How a cluster refuses: shared by the tests of what it must not swallow.
#ifndef MILLRACE_TESTS_CLUSTER_REFUSALS_H_
#define MILLRACE_TESTS_CLUSTER_REFUSALS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cluster/behaviour.h"

namespace millrace {

// Of the command line; see cli/exit_code.h.
inline constexpr int kJobFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kUnreachable = 3;
inline constexpr int kNotFound = 4;
inline constexpr int kRefused = 5;
inline constexpr int kKilled = 6;

class Refusals : public BehaviourTest {
 protected:
  // The exit code, nothing on stdout, and all of `parts` on stderr. One line is
  // the error; what is no detail of it (indented) is what submit says while it
  // waits, or a daemon's log ("I20240131 12:34:56.789 ...").
  static void ExpectFailure(const ProgramResult& result, int exit_code,
                            const std::vector<std::string>& parts) {
    EXPECT_EQ(result.exit_code, exit_code) << result;
    EXPECT_EQ(result.out, "") << result;
    for (const std::string& part : parts) {
      EXPECT_THAT(result.err, testing::HasSubstr(part)) << result;
    }
    constexpr char kOtherLine[] =
        R"((millrace submit: (job [0-9a-f]{8} \([a-z_]*\)|(queued|listing|map )"
        R"(|publishing).*)|[IW][0-9]{8} .*))";
    std::vector<std::string> errors;
    std::istringstream lines(result.err);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line[0] == ' ') continue;
      if (testing::Matches(testing::MatchesRegex(kOtherLine))(line)) continue;
      errors.push_back(line);
    }
    EXPECT_THAT(errors, testing::ElementsAre(testing::StartsWith("millrace")))
        << result;
  }
  // The daemons are the processes that were started, and they still work.
  void ExpectClusterWorks() {
    EXPECT_TRUE(cluster_->master().running());
    for (int i = 0; i < cluster_->num_workers(); ++i) {
      EXPECT_TRUE(cluster_->worker(i).running());
    }
    const ProgramResult result =
        cluster_->Cli(SubmitWords("plain", {}, 0, "afterwards"));
    EXPECT_EQ(result.exit_code, 0) << result;
    ExpectRightCounts("afterwards");
  }
  // Neither an output nor anything that a job kept beside it.
  void ExpectNothingBeside(const std::string& output) {
    EXPECT_TRUE(WaitUntil([&] { return Beside(output).empty(); }))
        << testing::PrintToString(Beside(output));
  }
  std::vector<std::string> Beside(const std::string& output) {
    std::vector<std::string> names = data_.Names();
    names.erase(std::remove_if(names.begin(), names.end(),
                               [&](const std::string& name) {
                                 return name.rfind(output, 0) != 0;
                               }),
                names.end());
    return names;
  }
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_CLUSTER_REFUSALS_H_
