// Our own transcripts, testdata/*.txt: situations from the Raft paper and from
// bugs of others, with everything that the members say in them. Read them as
// code.
//
//   raft_core_test --rewrite --gtest_filter='*Scenario*'
//                 writes down what the members say now, to look at the
//                 difference
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "raft/core/testing/mutants.h"
#include "raft/core/testing/scripted_group.h"
#include "raft/core/testing/transcript.h"

namespace millrace::raft {
namespace {

bool rewrite = false;

std::string Directory() {
  return std::string(MILLRACE_SOURCE_DIR) + "/raft/core/testdata";
}

std::vector<std::string> Scenarios() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(Directory())) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Transcript ReadScenario(const std::string& name) {
  std::stringstream text;
  text << std::ifstream(Directory() + "/" + name + ".txt").rdbuf();
  const auto transcript = ParseTranscript(text.str());
  EXPECT_TRUE(transcript.ok()) << name << ": " << transcript.status();
  return transcript.value_or(Transcript());
}

class ScenarioTest : public testing::TestWithParam<std::string> {};

TEST_P(ScenarioTest, EveryLineIsEqual) {
  const Transcript transcript = ReadScenario(GetParam());
  ASSERT_FALSE(transcript.empty());
  ScriptedGroup group({});
  std::vector<std::string> outputs;
  for (const TranscriptCommand& command : transcript) {
    outputs.push_back(group.Execute(command));
    if (!rewrite) {
      ASSERT_EQ(outputs.back(), command.expected)
          << GetParam() << ".txt:" << command.line << ": " << command.text;
    }
  }
  if (!rewrite) return;
  std::ofstream(Directory() + "/" + GetParam() + ".txt")
      << FormatTranscript(transcript, outputs);
}

INSTANTIATE_TEST_SUITE_P(All, ScenarioTest, testing::ValuesIn(Scenarios()),
                         [](const auto& scenario) { return scenario.param; });

// Each scenario is about a rule, so it must notice when that is left out.
TEST(ScenarioMutantTest, ScenariosNoticeTheMutantsThatTheyAreAbout) {
  const std::pair<std::string, std::string_view> kPairs[] = {
      {"figure_8", "commit_old_term_by_counting"},
      {"figure_8", "no_first_entry"},
      {"learner_promote", "change_before_own_commit"},
      {"learner_promote", "two_pending_changes"},
      {"overwritten_write", "accept_aba_ack"},
      {"read_index", "read_before_own_commit"},
      {"snapshot", "acknowledge_before_durable"},
      {"transfer", "pre_vote_raises_term"},
      {"vote_durability", "campaign_on_unsynced_log"},
      {"vote_durability", "vote_before_durable"},
  };
  for (const auto& [scenario, name] : kPairs) {
    ScriptedGroup::Options options;
    ASSERT_TRUE(SetMutant(name, &options.mutant));
    ScriptedGroup group(options);
    bool noticed = false;
    for (const TranscriptCommand& command : ReadScenario(scenario)) {
      noticed = group.Execute(command) != command.expected;
      if (noticed) break;
    }
    EXPECT_TRUE(noticed) << scenario << " and " << name;
  }
}

}  // namespace
}  // namespace millrace::raft

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    millrace::raft::rewrite |= std::string(argv[i]) == "--rewrite";
  }
  return RUN_ALL_TESTS();
}
