#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "storage/commit/output_commit.h"
#include "storage/testing/commit_stage.h"
#include "tests/testing/faulty_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::HasSubstr;

TEST(CheckWinnersTest, ChecksAsPublishDoesAndChangesNothing) {
  Stage stage;
  size_t lost = 99;
  stage.decision.manifest_json.clear();  // Not made yet.
  const auto before = stage.fs.AllFiles("/w");
  EXPECT_TRUE(CheckWinners(stage.fs, stage.decision, 1, &lost).ok());
  EXPECT_EQ(lost, 99u);
  EXPECT_EQ(stage.fs.AllFiles("/w"), before);

  stage.decision.winners[2].xxh3 ^= 1;
  EXPECT_TRUE(CheckWinners(stage.fs, stage.decision, 0, &lost).ok())
      << "contents are read only if asked for";
  EXPECT_TRUE(
      absl::IsDataLoss(CheckWinners(stage.fs, stage.decision, 1, &lost)));
  EXPECT_EQ(lost, 2u);
  stage.decision.winners[1].bytes += 1;
  EXPECT_TRUE(
      absl::IsDataLoss(CheckWinners(stage.fs, stage.decision, 0, &lost)));
  EXPECT_EQ(lost, 1u);
  EXPECT_TRUE(stage.fs.RemoveFile(stage.decision.winners[0].staged_path).ok());
  EXPECT_TRUE(
      absl::IsDataLoss(CheckWinners(stage.fs, stage.decision, 0, &lost)));
  EXPECT_EQ(lost, 0u);

  EXPECT_TRUE(stage.fs.MakeDirectory(kOutput).ok());
  EXPECT_TRUE(
      absl::IsAlreadyExists(CheckWinners(stage.fs, stage.decision, 0, &lost)));
}

TEST(CheckWinnersTest, ReadersFindTheFirstOfSeveralThatAreLost) {
  constexpr int kParts = 40;
  Stage stage(kParts);
  size_t lost = 99;
  for (const int readers : {1, 4, 100}) {
    EXPECT_TRUE(CheckWinners(stage.fs, stage.decision, readers, &lost).ok());
  }
  EXPECT_EQ(lost, 99u);
  for (const size_t bad : {9, 10, 11, 39}) {
    stage.decision.winners[bad].xxh3 ^= 1;
  }
  for (const int readers : {1, 4, 100}) {
    for (int i = 0; i < 50; ++i) {
      lost = 99;
      const absl::Status status =
          CheckWinners(stage.fs, stage.decision, readers, &lost);
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(PartName(9)));
      ASSERT_EQ(lost, 9u) << readers << " readers";
    }
  }
}

// What cannot be read now may be read later; until then nothing behind it is
// called lost.
TEST(CheckWinnersTest, AWinnerThatCannotBeReadComesBeforeOneThatIsLost) {
  constexpr int kParts = 20;
  for (const int readers : {1, 4}) {
    for (int i = 0; i < 50; ++i) {
      Stage stage(kParts);
      stage.decision.winners[9].xxh3 ^= 1;
      FaultyFileSystem faulty(stage.fs);
      faulty.SetFault([&](FileOp op, const std::string& path) {
        return op == FileOp::kRead &&
                       path == stage.decision.winners[8].staged_path
                   ? absl::UnavailableError("timed out")
                   : absl::OkStatus();
      });
      size_t lost = 99;
      const absl::Status status =
          CheckWinners(faulty, stage.decision, readers, &lost);
      EXPECT_FALSE(status.ok());
      EXPECT_FALSE(absl::IsDataLoss(status)) << status;
      ASSERT_EQ(lost, 99u) << readers << " readers";
    }
  }
}

}  // namespace
}  // namespace millrace::storage
