// Changes of membership as values, and as bytes.
#include "raft/core/membership.h"

#include <gtest/gtest.h>

#include <memory>

#include "common/hash.h"
#include "common/random.h"
#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using Kind = MembershipChange::Kind;
constexpr int kCases = 10000;

std::string RandomAddress(Random& random) {
  std::string address;
  for (uint64_t n = random.Uniform(30); n > 0; --n) {
    address.push_back(static_cast<char>(random.Uniform(256)));
  }
  return address;
}

MembershipChange RandomChange(Random& random) {
  return {static_cast<Kind>(random.Uniform(5)),
          random.Uniform(2) == 0 ? random.Next64() : random.Uniform(10),
          RandomAddress(random)};
}

Membership RandomMembership(Random& random) {
  Membership membership;
  for (uint64_t n = random.Uniform(8); n > 0; --n) {
    membership[1 + random.Uniform(1000)] = {random.Uniform(2) == 0,
                                            RandomAddress(random)};
  }
  return membership;
}

// Every byte of `bytes` flipped in some way, and every beginning of it, is
// refused or means the same.
template <typename Decode, typename Value>
void ExpectDamageIsSeen(const std::string& bytes, const Decode& decode,
                        const Value& value, Random& random) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 + random.Uniform(255)));
    const auto decoded = decode(damaged);
    if (decoded.ok()) {
      ASSERT_EQ(*decoded, value);
    } else {
      ASSERT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
    }
    ASSERT_FALSE(decode(bytes.substr(0, i)).ok());
  }
  ASSERT_FALSE(decode(bytes + '\0').ok());
}

TEST(MembershipCodecTest, ChangesComeBackAndDamageIsSeen) {
  const std::unique_ptr<Random> random = Random::Seeded(1);
  for (int i = 0; i < kCases; ++i) {
    SCOPED_TRACE(i);
    const MembershipChange change = RandomChange(*random);
    const std::string bytes = EncodeMembershipChange(change);
    const auto decoded = DecodeMembershipChange(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, change);
    ExpectDamageIsSeen(bytes, DecodeMembershipChange, change, *random);
  }
}

TEST(MembershipCodecTest, MembershipsComeBackAndDamageIsSeen) {
  const std::unique_ptr<Random> random = Random::Seeded(2);
  for (int i = 0; i < kCases; ++i) {
    SCOPED_TRACE(i);
    const Membership membership = RandomMembership(*random);
    const std::string bytes = EncodeMembership(membership);
    const auto decoded = DecodeMembership(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, membership);
    ExpectDamageIsSeen(bytes, DecodeMembership, membership, *random);
  }
}

TEST(MembershipCodecTest, OneIsNotReadAsTheOther) {
  EXPECT_FALSE(DecodeMembership(EncodeMembershipChange({})).ok());
  EXPECT_FALSE(DecodeMembershipChange(EncodeMembership({})).ok());
  EXPECT_FALSE(DecodeMembership("").ok());
}

// Of right length and checksum, with one byte changed.
template <typename Decode>
bool IsRead(std::string bytes, size_t at, char value, const Decode& decode) {
  bytes[at] = value;
  bytes.resize(bytes.size() - 8);
  const uint64_t checksum = Hash64(bytes);
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(checksum >> (8 * i)));
  }
  return decode(bytes).ok();
}

TEST(MembershipCodecTest, FieldsAreCheckedBesideTheChecksum) {
  const std::string change =
      EncodeMembershipChange({Kind::kAddVoter, 1, "address"});
  EXPECT_TRUE(IsRead(change, 0, 'C', DecodeMembershipChange));
  EXPECT_FALSE(IsRead(change, 0, 'M', DecodeMembershipChange));
  EXPECT_FALSE(IsRead(change, 1, 2, DecodeMembershipChange));   // Version.
  EXPECT_FALSE(IsRead(change, 2, 5, DecodeMembershipChange));   // Kind.
  EXPECT_FALSE(IsRead(change, 11, 6, DecodeMembershipChange));  // Length.
  EXPECT_FALSE(IsRead(change, 11, 8, DecodeMembershipChange));
  const std::string members =
      EncodeMembership({{1, {true, "a"}}, {2, {false, "b"}}});
  EXPECT_TRUE(IsRead(members, 0, 'M', DecodeMembership));
  EXPECT_FALSE(IsRead(members, 0, 'C', DecodeMembership));
  EXPECT_FALSE(IsRead(members, 1, 2, DecodeMembership));  // Version.
  EXPECT_FALSE(IsRead(members, 2, 1, DecodeMembership));  // Count.
  EXPECT_FALSE(IsRead(members, 2, 3, DecodeMembership));
  EXPECT_FALSE(IsRead(members, 12, 2, DecodeMembership));  // Voter.
  EXPECT_FALSE(IsRead(members, 16, 1, DecodeMembership));  // Order.
}

// Right checksums over what Encode would not write.
TEST(MembershipCodecTest, WhatEncodeDoesNotWriteIsRefused) {
  const auto kWrongKind = static_cast<Kind>(5);
  EXPECT_FALSE(
      DecodeMembershipChange(EncodeMembershipChange({kWrongKind, 1, ""})).ok());
  EXPECT_FALSE(
      DecodeMembership(EncodeMembership({{kNobody, {true, ""}}})).ok());
}

// ---------------------------------------------------------------- what it
// means

TEST(ApplyChangeTest, IsWhatItsNameSays) {
  const Membership before = {{1, {true, "a"}}, {2, {false, "b"}}};
  const auto apply = [&](Kind kind, NodeId node, const std::string& address) {
    const auto after = ApplyChange(before, {kind, node, address});
    EXPECT_TRUE(after.ok()) << after.status();
    return after.value_or(Membership());
  };
  EXPECT_EQ(apply(Kind::kNone, 0, ""), before);
  EXPECT_EQ(apply(Kind::kAddVoter, 2, ""),
            (Membership{{1, {true, "a"}}, {2, {true, "b"}}}));
  EXPECT_EQ(
      apply(Kind::kAddVoter, 3, "c"),
      (Membership{{1, {true, "a"}}, {2, {false, "b"}}, {3, {true, "c"}}}));
  EXPECT_EQ(
      apply(Kind::kAddLearner, 3, "c"),
      (Membership{{1, {true, "a"}}, {2, {false, "b"}}, {3, {false, "c"}}}));
  EXPECT_EQ(apply(Kind::kRemove, 2, ""), (Membership{{1, {true, "a"}}}));
  EXPECT_EQ(apply(Kind::kRemove, 3, "x"), before);
  EXPECT_EQ(apply(Kind::kUpdate, 2, "new"),
            (Membership{{1, {true, "a"}}, {2, {false, "new"}}}));
  EXPECT_EQ(apply(Kind::kUpdate, 2, ""), before);
  EXPECT_EQ(apply(Kind::kUpdate, 3, "x"), before);
}

TEST(ApplyChangeTest, KeepsItsRules) {
  const std::unique_ptr<Random> random = Random::Seeded(3);
  for (int i = 0; i < kCases; ++i) {
    SCOPED_TRACE(i);
    const Membership before = RandomMembership(*random);
    const MembershipChange change = {
        static_cast<Kind>(1 + random->Uniform(4)),
        before.empty() || random->Uniform(2) == 0
            ? random->Uniform(1000)
            : std::next(before.begin(), random->Uniform(before.size()))->first,
        ""};
    const auto after = ApplyChange(before, change);
    int changed_voters = 0;
    bool any_voter = false;
    if (!after.ok()) {
      ASSERT_EQ(after.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    for (NodeId node = 0; node <= 1001; ++node) {
      const bool was = before.contains(node) && before.at(node).voter;
      const bool is = after->contains(node) && after->at(node).voter;
      changed_voters += was != is;
      any_voter |= is;
      if (node != change.node) {
        ASSERT_EQ(before.contains(node), after->contains(node));
      }
    }
    ASSERT_LE(changed_voters, 1);
    ASSERT_TRUE(any_voter);
    ASSERT_FALSE(after->contains(kNobody));
    // Said twice, it changes nothing more.
    ASSERT_EQ(*ApplyChange(*after, change), *after);
  }
}

TEST(ApplyChangeTest, RefusesNobodyNoVotersAndTooMuch) {
  const Membership one = VotersUpTo(1);
  const auto code = [](const Membership& before, const MembershipChange& c) {
    return ApplyChange(before, c).status().code();
  };
  const auto kBad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(one, {Kind::kAddVoter, kNobody, ""}), kBad);
  EXPECT_EQ(code(one, {Kind::kRemove, 1, ""}), kBad);
  EXPECT_EQ(code(one, {Kind::kAddLearner, 1, ""}), kBad);
  EXPECT_EQ(code({}, {Kind::kAddLearner, 1, ""}), kBad);
  EXPECT_EQ(
      code(one, {Kind::kUpdate, 1, std::string(kAddressBytesMax + 1, 'a')}),
      kBad);
  EXPECT_EQ(
      code(VotersUpTo(kMembersMax), {Kind::kAddVoter, kMembersMax + 1, ""}),
      kBad);
  EXPECT_EQ(
      code(VotersUpTo(kMembersMax - 1), {Kind::kAddVoter, kMembersMax, ""}),
      absl::StatusCode::kOk);
}

}  // namespace
}  // namespace millrace::raft
