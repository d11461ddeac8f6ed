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

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
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

// --------------------------------------------------------------------- quorum

// What is known of each voter, with a bar that grows with its place in order.
std::string DescribeIndices(const std::map<NodeId, uint64_t>& known) {
  const size_t voters = known.size();
  std::string text(voters, ' ');
  text += "    idx\n";
  for (const auto& [id, index] : known) {
    size_t bar = 0;
    for (const auto& [other, other_index] : known) bar += other_index < index;
    const std::string place = index == 0 ? "?" + std::string(voters, ' ')
                                         : std::string(bar, 'x') + ">" +
                                               std::string(voters - bar, ' ');
    text += absl::StrFormat("%s %5d    (id=%x)\n", place, index, id);
  }
  return text;
}

std::string ExecuteQuorum(const TranscriptCommand& command) {
  std::set<NodeId> ids;
  for (const std::string& id : command.Values("cfg")) {
    ids.insert(std::stoull(id));
  }
  const bool vote = command.name == "vote";
  const std::vector<std::string> values =
      command.Values(vote ? "votes" : "idx");
  EXPECT_EQ(ids.size(), values.size()) << command.line;
  // Values belong to the members in the order in which those are written.
  std::map<NodeId, std::string> of;
  size_t next = 0;
  for (const std::string& id : command.Values("cfg")) {
    if (of.try_emplace(std::stoull(id), values.at(next)).second) ++next;
  }
  if (of.empty()) {
    // There an empty group agrees with everything, because it stands for the
    // missing half of a joint one; here it agrees with nothing.
    EXPECT_EQ(TallyVotes(0, 0, 0), VoteResult::kLost);
    EXPECT_EQ(MajorityIndex({}), 0u);
    return vote ? "VoteWon\n" : "<empty majority quorum>∞\n";
  }
  if (vote) {
    int granted = 0;
    int rejected = 0;
    for (const auto& [id, value] : of) {
      granted += value == "y";
      rejected += value == "n";
    }
    const VoteResult result =
        TallyVotes(static_cast<int>(of.size()), granted, rejected);
    if (result == VoteResult::kWon) return "VoteWon\n";
    return result == VoteResult::kLost ? "VoteLost\n" : "VotePending\n";
  }
  std::map<NodeId, uint64_t> known;
  std::vector<uint64_t> reached;
  for (const auto& [id, value] : of) {
    known[id] = value == "_" ? 0 : std::stoull(value);
    reached.push_back(known[id]);
  }
  return Cat(DescribeIndices(known), MajorityIndex(reached), "\n");
}

using QuorumTest = ReplayTest;

TEST_P(QuorumTest, EveryLineIsEqual) {
  Replay("quorum/testdata", ExecuteQuorum,
         [](const std::string& output) { return output; });
}

INSTANTIATE_TEST_SUITE_P(Replay, QuorumTest,
                         testing::Values("majority_commit", "majority_vote"),
                         [](const auto& file) {
                           return std::string(file.param);
                         });

// ----------------------------------------------------------------- membership

class SimpleChanges {
 public:
  // Of several changes in one command: ours stand in an entry each, so only the
  // rule for the outcome, that of one entry, can be compared.
  std::string Execute(const TranscriptCommand& command) {
    ++commands_;
    Membership next = membership_;
    for (const std::string& word : Words(command.input)) {
      const auto changed = ApplyChange(next, ParseChange(word));
      if (!changed.ok()) return "removed all voters\n";
      next = *changed;
    }
    if (ChangedVoters(membership_, next) > 1) {
      return "more than one voter changed without entering joint config\n";
    }
    membership_ = std::move(next);
    FollowMembership(membership_, commands_ - 1, Inflights(10, 1 << 20),
                     &progress_);
    std::string text = DescribeMembership(membership_) + "\n";
    for (const auto& [id, progress] : progress_) {
      ProgressStatus status = progress.Status();
      status.learner = !membership_.at(id).voter;
      text += Cat(id, ": ", DescribeProgress(status), "\n");
    }
    return text;
  }

 private:
  static std::vector<std::string> Words(const std::string& text) {
    std::istringstream in(text);
    return {std::istream_iterator<std::string>(in), {}};
  }

  static int ChangedVoters(const Membership& before, const Membership& after) {
    std::set<NodeId> voters[2];
    for (const auto& [id, member] : before) {
      if (member.voter) voters[0].insert(id);
    }
    for (const auto& [id, member] : after) {
      if (member.voter) voters[1].insert(id);
    }
    std::vector<NodeId> changed;
    std::set_symmetric_difference(voters[0].begin(), voters[0].end(),
                                  voters[1].begin(), voters[1].end(),
                                  std::back_inserter(changed));
    return static_cast<int>(changed.size());
  }

  Membership membership_;
  std::map<NodeId, Progress> progress_;
  uint64_t commands_ = 0;
};

using SimpleChangeTest = ReplayTest;

TEST_P(SimpleChangeTest, EveryLineIsEqual) {
  SimpleChanges changes;
  Replay(
      "confchange/testdata",
      [&](const TranscriptCommand& c) { return changes.Execute(c); },
      [](const std::string& output) { return output; });
}

INSTANTIATE_TEST_SUITE_P(Replay, SimpleChangeTest,
                         testing::Values("simple_idempotency",
                                         "simple_promote_demote",
                                         "simple_safety", "update", "zero"),
                         [](const auto& file) {
                           return std::string(file.param);
                         });

}  // namespace
}  // namespace millrace::raft
