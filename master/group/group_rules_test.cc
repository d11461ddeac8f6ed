#include "master/group/group_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "master/group/peers.h"

namespace millrace::master {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr raft::NodeId kA = 0xa000000000000001;
constexpr raft::NodeId kB = 0xb000000000000002;
constexpr raft::NodeId kC = 0xc000000000000003;
constexpr raft::NodeId kD = 0xb100000000000004;

// A leads, B and C vote, D learns; all are there and up to date.
GroupStatus Group() {
  GroupStatus group;
  group.self = group.leader = kA;
  group.last_index = group.commit_index = 5000;
  group.membership[kA] = {true, "h:1"};
  group.membership[kB] = {true, "h:2"};
  group.membership[kC] = {true, "h:3"};
  group.membership[kD] = {false, "h:4"};
  for (const raft::NodeId id : {kB, kC, kD}) {
    raft::ProgressStatus progress;
    progress.state = raft::ProgressStatus::State::kReplicate;
    progress.match = 5000;
    progress.recently_active = true;
    group.progress[id] = progress;
  }
  return group;
}

TEST(GroupRulesTest, MembersAreNamedByIdBeginningOrAddress) {
  const GroupStatus group = Group();
  EXPECT_EQ(*ResolveMember(group, "h:3"), kC);
  EXPECT_EQ(*ResolveMember(group, "c"), kC);
  EXPECT_EQ(*ResolveMember(group, MasterName(kD)), kD);
  EXPECT_EQ(*ResolveMember(group, "b0"), kB);
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveMember(group, "b").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveMember(group, "").status()));
  EXPECT_TRUE(absl::IsNotFound(ResolveMember(group, "h:5").status()));
  EXPECT_TRUE(
      absl::IsNotFound(ResolveMember(group, MasterName(kC) + "0").status()));
  EXPECT_EQ(FindByAddress(group, ""), raft::kNobody);
}

TEST(GroupRulesTest, LearnerWaitsUntilItIsThereAndHasCaughtUp) {
  GroupStatus group = Group();
  EXPECT_THAT(WhyNotVoter(group, kD), IsEmpty());
  raft::ProgressStatus& progress = group.progress[kD];
  progress.match = 4100;
  EXPECT_THAT(WhyNotVoter(group, kD), IsEmpty()) << "some are on their way";
  progress.match = 3999;
  EXPECT_EQ(WhyNotVoter(group, kD), "it lacks 1001 entries of the log");
  progress.state = raft::ProgressStatus::State::kSnapshot;
  EXPECT_THAT(WhyNotVoter(group, kD), HasSubstr("snapshot"));
  progress.recently_active = false;
  EXPECT_THAT(WhyNotVoter(group, kD), HasSubstr("h:4) does not answer"));
  group.progress.erase(kD);
  EXPECT_THAT(WhyNotVoter(group, kD), HasSubstr("does not answer"));
}

TEST(GroupRulesTest, LearnerOfAYoungGroupHasToHaveSomething) {
  GroupStatus group = Group();
  group.last_index = group.commit_index = 3;
  group.progress[kD].match = 0;
  EXPECT_EQ(WhyNotVoter(group, kD), "it lacks 3 entries of the log");
}

TEST(GroupRulesTest, VoterGoesOnlyIfTheOthersCanGoOn) {
  GroupStatus group = Group();
  EXPECT_TRUE(MayRemove(group, kB).ok());
  group.progress[kC].recently_active = false;
  EXPECT_TRUE(MayRemove(group, kC).ok()) << "the dead one";
  const absl::Status living = MayRemove(group, kB);
  EXPECT_TRUE(absl::IsFailedPrecondition(living));
  EXPECT_THAT(std::string(ToStd(living.message())), HasSubstr("h:3"));
  EXPECT_TRUE(MayRemove(group, kD).ok()) << "a learner counts for nothing";
}

TEST(GroupRulesTest, LastVoterStays) {
  GroupStatus group = Group();
  group.membership = {{kA, {true, "h:1"}}, {kD, {false, "h:4"}}};
  EXPECT_TRUE(absl::IsInvalidArgument(MayRemove(group, kA)));
  EXPECT_TRUE(MayRemove(group, kD).ok());
}

TEST(GroupRulesTest, RolesAndLag) {
  GroupStatus group = Group();
  group.progress[kB].match = 4000;
  EXPECT_EQ(RoleOf(group, kA), "leader");
  EXPECT_EQ(RoleOf(group, kB), "standby");
  EXPECT_EQ(RoleOf(group, kD), "learner");
  EXPECT_EQ(EntriesBehind(group, kA), 0u);
  EXPECT_EQ(EntriesBehind(group, kB), 1000u);
}

}  // namespace
}  // namespace millrace::master
