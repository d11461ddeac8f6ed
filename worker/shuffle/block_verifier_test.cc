#include "worker/shuffle/block_verifier.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "worker/shuffle/remote_index.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {
namespace {

absl::Status Feed(BlockVerifier& verifier, std::string_view bytes,
                  size_t piece) {
  while (!bytes.empty()) {
    const size_t n = std::min(piece, bytes.size());
    if (absl::Status s = verifier.Add(bytes.substr(0, n)); !s.ok()) return s;
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
}

class BlockVerifierTest : public testing::TestWithParam<engine::Codec> {
 protected:
  BlockVerifierTest() {
    TestOutputOptions options;
    options.codec = GetParam();
    output_ = MakeTestOutput(options);
    bytes_ = output_.partition(1);
  }
  BlockVerifier Verifier(uint32_t partition = 1) {
    return BlockVerifier(output_.identity, partition,
                         output_.summary.partitions[partition]);
  }

  TestOutput output_;
  std::string bytes_;
};

TEST_P(BlockVerifierTest, AcceptsPiecesOfAnyLength) {
  ASSERT_GT(output_.summary.partitions[1].blocks, 3);
  for (size_t piece : {1, 2, 7, 79, 80, 81, 511, 100'000}) {
    BlockVerifier verifier = Verifier();
    EXPECT_FALSE(verifier.complete());
    EXPECT_TRUE(Feed(verifier, bytes_, piece).ok()) << piece;
    EXPECT_TRUE(verifier.complete()) << piece;
    EXPECT_EQ(verifier.bytes(), bytes_.size());
  }
}

TEST_P(BlockVerifierTest, EveryFlippedBitIsFound) {
  for (size_t at = 0; at < bytes_.size(); ++at) {
    std::string flipped = bytes_;
    flipped[at] ^= static_cast<char>(1 << (at % 8));
    BlockVerifier verifier = Verifier();
    const absl::Status status = Feed(verifier, flipped, 97);
    EXPECT_TRUE(absl::IsDataLoss(status)) << at << ": " << status;
  }
}

TEST_P(BlockVerifierTest, WhatIsCutOffIsNotComplete) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    BlockVerifier verifier = Verifier();
    ASSERT_TRUE(
        Feed(verifier, std::string_view(bytes_).substr(0, size), 64).ok());
    EXPECT_FALSE(verifier.complete());
    EXPECT_EQ(verifier.bytes(), size);
  }
}

TEST_P(BlockVerifierTest, MoreThanPromisedIsAnError) {
  BlockVerifier verifier = Verifier();
  EXPECT_TRUE(absl::IsDataLoss(Feed(verifier, bytes_ + "x", 64)));
}

TEST_P(BlockVerifierTest, RightBytesFromTheWrongPlaceAreAnError) {
  BlockVerifier other_partition = Verifier(2);
  EXPECT_TRUE(absl::IsDataLoss(Feed(other_partition, bytes_, 64)));

  engine::MapOutputIdentity identity = output_.identity;
  identity.attempt = TestId<AttemptUid>(5);
  BlockVerifier other_attempt(identity, 1, output_.summary.partitions[1]);
  EXPECT_TRUE(absl::IsDataLoss(Feed(other_attempt, bytes_, 64)));

  identity = output_.identity;
  ++identity.map_index;
  BlockVerifier other_map(identity, 1, output_.summary.partitions[1]);
  EXPECT_TRUE(absl::IsDataLoss(Feed(other_map, bytes_, 64)));
}

INSTANTIATE_TEST_SUITE_P(Codecs, BlockVerifierTest,
                         testing::Values(engine::Codec::kNone,
                                         engine::Codec::kLz4));

TEST(RemoteIndex, IsVerifiedAgainstAllThatIsKnown) {
  const TestOutput output = MakeTestOutput({});
  const auto verify = [&](const std::string& bytes, uint64_t offset,
                          engine::MapOutputIdentity identity,
                          uint32_t partitions, const Hash128Value& root) {
    return VerifyRemoteIndex(bytes, offset, identity, partitions, root)
        .status();
  };
  const std::string index = output.index();
  const uint64_t offset = output.index_offset();
  const Hash128Value root = output.summary.root;
  EXPECT_TRUE(verify(index, offset, output.identity, 3, root).ok());

  EXPECT_TRUE(absl::IsDataLoss(verify("", offset, output.identity, 3, root)));
  EXPECT_TRUE(absl::IsDataLoss(
      verify(index.substr(1), offset, output.identity, 3, root)));
  EXPECT_TRUE(
      absl::IsDataLoss(verify(index + "x", offset, output.identity, 3, root)));
  for (uint64_t wrong : {uint64_t{0}, offset + 1, ~uint64_t{0}}) {
    EXPECT_TRUE(
        absl::IsDataLoss(verify(index, wrong, output.identity, 3, root)))
        << wrong;
  }
  EXPECT_TRUE(
      absl::IsDataLoss(verify(index, offset, output.identity, 4, root)));
  Hash128Value other_root = root;
  other_root.low ^= 1;
  EXPECT_TRUE(
      absl::IsDataLoss(verify(index, offset, output.identity, 3, other_root)));
  engine::MapOutputIdentity other = output.identity;
  other.attempt = TestId<AttemptUid>(6);
  EXPECT_TRUE(absl::IsDataLoss(verify(index, offset, other, 3, root)));
  for (size_t at = 0; at < index.size(); ++at) {
    std::string flipped = index;
    flipped[at] ^= 0x10;
    EXPECT_TRUE(
        absl::IsDataLoss(verify(flipped, offset, output.identity, 3, root)))
        << at;
  }
}

TEST(Root, TravelsAs16Bytes) {
  const Hash128Value root{0x0123456789abcdefu, 42};
  EXPECT_EQ(ParseRoot(RootBytes(root)), root);
  EXPECT_EQ(ParseRoot(""), std::nullopt);
  EXPECT_EQ(ParseRoot(std::string(17, 'x')), std::nullopt);
}

}  // namespace
}  // namespace millrace::worker
