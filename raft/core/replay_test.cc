// Replays transcripts of etcd-raft's data-driven tests (Apache-2.0; they are no
// part of this tree). MILLRACE_RAFT_TESTDATA names the directory that has its
// testdata/, quorum/testdata/ and confchange/testdata/; by default it is
// ../shared/raft-testdata beside the source tree. Without it there is nothing
// to replay, and the tests say so.
//
// Lines of the other core's logger are dropped. So is, with asynchronous
// writes, what its threads say to it in messages of their own: ours have no
// messages. Everything else must be equal, line by line.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/strings.h"
#include "raft/core/progress.h"
#include "raft/core/quorum.h"
#include "raft/core/testing/describe.h"
#include "raft/core/testing/scripted_group.h"
#include "raft/core/testing/transcript.h"

namespace millrace::raft {
namespace {

std::string TestdataDirectory() {
  const char* named = std::getenv("MILLRACE_RAFT_TESTDATA");
  return named != nullptr
             ? named
             : std::string(MILLRACE_SOURCE_DIR) + "/../shared/raft-testdata";
}

Transcript ReadTranscript(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  auto transcript = ParseTranscript(text.str());
  EXPECT_TRUE(transcript.ok()) << path << ": " << transcript.status();
  return transcript.ok() ? *std::move(transcript) : Transcript{};
}

// Without the messages between a core and its threads, and to itself.
std::string WithoutThreadMessages(const std::string& output) {
  std::string left;
  int depth = 0;
  bool dropping = false;
  for (const std::string& line : Lines(output)) {
    const size_t start = std::min(line.find_first_not_of(' '), line.size());
    const std::string_view text = std::string_view(line).substr(start);
    if (!dropping) {
      const size_t arrow = text.find("->");
      const bool to_itself =
          arrow == 1 && text.size() > 3 && text[0] == text[3];
      dropping = to_itself || text.find("AppendThread") != text.npos ||
                 text.find("ApplyThread") != text.npos;
    }
    if (!dropping) {
      left += line + "\n";
      continue;
    }
    depth += static_cast<int>(std::count(text.begin(), text.end(), '[')) -
             static_cast<int>(std::count(text.begin(), text.end(), ']'));
    dropping = depth > 0;
  }
  // Headings that have nothing left beneath them.
  std::string result;
  const std::vector<std::string> lines = Lines(left);
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string next = i + 1 < lines.size() ? lines[i + 1] : "";
    const bool empty =
        (lines[i].ends_with("Messages:") &&
         next.find("->") == std::string::npos) ||
        (lines[i].ends_with(" receiving messages") && !next.starts_with(' '));
    if (!empty) result += lines[i] + "\n";
  }
  return result.empty() ? "ok\n" : result;
}

class ReplayTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(TestdataDirectory())) {
      GTEST_SKIP() << "no transcripts in " << TestdataDirectory()
                   << "; MILLRACE_RAFT_TESTDATA may name them";
    }
  }

  // `execute` says what a command prints.
  void Replay(
      const std::string& folder,
      const std::function<std::string(const TranscriptCommand&)>& execute,
      const std::function<std::string(const std::string&)>& adapt) {
    const std::string path =
        TestdataDirectory() + "/" + folder + "/" + GetParam() + ".txt";
    const Transcript transcript = ReadTranscript(path);
    ASSERT_FALSE(transcript.empty()) << path;
    for (const TranscriptCommand& command : transcript) {
      const std::string actual = adapt(WithoutLogLines(execute(command)));
      const std::string expected = adapt(WithoutLogLines(command.expected));
      ASSERT_EQ(actual, expected)
          << path << ":" << command.line << ": " << command.text;
    }
  }
};

// One kind of entry for changes of membership serves what two do there.
std::string WithOneKindOfChange(std::string output) {
  constexpr std::string_view kKind = "EntryConfChangeV2";
  for (size_t at; (at = output.find(kKind)) != std::string::npos;) {
    output.erase(at + kKind.size() - 2, 2);
  }
  return output;
}

using InteractionTest = ReplayTest;

TEST_P(InteractionTest, EveryLineIsEqual) {
  const std::string_view file = GetParam();
  ScriptedGroup::Options options;
  // Shows what etcd-raft does unless it is told to step down.
  options.habits.lead_after_removal = file == "confchange_v1_remove_leader";
  // Proposes a change together with the leader's first entry.
  options.mutant.change_before_own_commit = file == "confchange_v1_add_single";
  ScriptedGroup group(options);
  Replay(
      "testdata", [&](const TranscriptCommand& c) { return group.Execute(c); },
      WithOneKindOfChange);
}

INSTANTIATE_TEST_SUITE_P(
    Replay, InteractionTest,
    testing::Values("single_node", "campaign", "campaign_learner_must_vote",
                    "checkquorum", "prevote", "prevote_checkquorum",
                    "probe_and_replicate", "replicate_pause", "lagging_commit",
                    "heartbeat_resp_recovers_from_probing",
                    "slow_follower_after_compaction",
                    "snapshot_succeed_via_app_resp",
                    "snapshot_succeed_via_app_resp_behind",
                    "confchange_v1_add_single", "confchange_v1_remove_leader",
                    "confchange_v1_remove_leader_stepdown"),
    [](const auto& file) { return std::string(file.param); });

using AsyncInteractionTest = ReplayTest;

TEST_P(AsyncInteractionTest, EveryLineButThoseOfThreadsIsEqual) {
  ScriptedGroup::Options options;
  options.print_writes = false;
  // etcd-raft asks for votes before its own is durable; the transcript waits
  // for the answers before it lets the disk go on.
  options.mutant.campaign_on_unsynced_log = true;
  // And it answers a heartbeat of a term that is not durable yet.
  options.habits.answer_before_term_durable = true;
  ScriptedGroup group(options);
  Replay(
      "testdata", [&](const TranscriptCommand& c) { return group.Execute(c); },
      WithoutThreadMessages);
}

INSTANTIATE_TEST_SUITE_P(
    Replay, AsyncInteractionTest,
    testing::Values("async_storage_writes",
                    "async_storage_writes_append_aba_race"),
    [](const auto& file) { return std::string(file.param); });

}  // namespace
}  // namespace millrace::raft
