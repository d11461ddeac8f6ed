#include "storage/output/part_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/hash.h"
#include "common/strings.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

TEST(PartWriterTest, CountsHashesSealsAndSyncs) {
  MemoryFileSystem fs;
  ASSERT_TRUE(fs.MakeDirectory("/d").ok());
  ASSERT_TRUE(fs.SyncDirectory("/").ok());
  auto writer = PartWriter::Create(fs, "/d/part-00000");
  ASSERT_TRUE(writer.ok());
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece = Cat("key", i, "\t", i, "\n");
    ASSERT_TRUE((*writer)->Append(piece).ok());
    all += piece;
  }
  const absl::StatusOr<PartSummary> summary = (*writer)->Finish();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->bytes, all.size());
  EXPECT_EQ(summary->xxh3, Hash64(all));
  EXPECT_EQ(summary->inode, fs.Stat("/d/part-00000")->identity.inode);
  EXPECT_TRUE(fs.IsReadOnly("/d/part-00000"));
  fs.PowerCut();
  EXPECT_EQ(fs.Contents("/d/part-00000"), all);
}

TEST(PartWriterTest, EmptyPart) {
  MemoryFileSystem fs;
  auto writer = PartWriter::Create(fs, "/part-00000");
  ASSERT_TRUE(writer.ok());
  const absl::StatusOr<PartSummary> summary = (*writer)->Finish();
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->bytes, 0u);
  EXPECT_EQ(summary->xxh3, Hash64(""));
}

TEST(PartWriterTest, NeverWritesToAFileThatExists) {
  MemoryFileSystem fs;
  fs.SetContents("/part-00000", "old");
  EXPECT_EQ(PartWriter::Create(fs, "/part-00000").status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(fs.Contents("/part-00000"), "old");
}

TEST(PartWriterTest, FullDisk) {
  MemoryFileSystem fs;
  fs.SetCapacity(10);
  auto writer = PartWriter::Create(fs, "/part-00000");
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE((*writer)->Append("12345678").ok());
  EXPECT_EQ((*writer)->Append("12345678").code(),
            absl::StatusCode::kResourceExhausted);
  fs.SetCapacity(100);
  // Half of the block may be in the file: such a file is never finished.
  EXPECT_FALSE((*writer)->Append("12345678").ok());
  EXPECT_FALSE((*writer)->Finish().ok());
}

TEST(PartWriterTest, NoFailedCallGoesUnnoticed) {
  const auto write = [](FileSystem& fs) -> absl::Status {
    auto writer = PartWriter::Create(fs, "/part-00000");
    if (!writer.ok()) return writer.status();
    absl::Status status = (*writer)->Append("abc");
    if (!status.ok()) return status;
    return (*writer)->Finish().status();
  };
  MemoryFileSystem good;
  FaultyFileSystem counting(good);
  ASSERT_TRUE(write(counting).ok());
  for (uint64_t n = 0; n < counting.operations(); ++n) {
    MemoryFileSystem memory;
    FaultyFileSystem faulty(memory);
    faulty.FailOnce(n, absl::DataLossError("Input/output error"));
    EXPECT_EQ(write(faulty).code(), absl::StatusCode::kDataLoss) << n;
  }
}

TEST(PartWriterTest, NoticesAFileThatIsNotWhatWasWritten) {
  MemoryFileSystem fs;
  auto writer = PartWriter::Create(fs, "/part-00000");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("abc").ok());
  fs.SetContents("/part-00000", "ab");
  EXPECT_EQ((*writer)->Finish().status().code(), absl::StatusCode::kDataLoss);
}

TEST(PartWriterTest, OnARealDisk) {
  std::string dir = JoinPath(::testing::TempDir(), "part_writer_XXXXXX");
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  const std::string path = dir + "/part-00000";
  auto writer = PartWriter::Create(FileSystem::Posix(), path);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append(std::string(100'000, 'x')).ok());
  const absl::StatusOr<PartSummary> summary = (*writer)->Finish();
  ASSERT_TRUE(summary.ok()) << summary.status();
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0222, 0u);
  EXPECT_EQ(st.st_ino, summary->inode);
  EXPECT_EQ(static_cast<uint64_t>(st.st_size), summary->bytes);
  std::filesystem::remove_all(dir);
}

TEST(PartNameTest, FiveDigitsOrMore) {
  EXPECT_EQ(PartName(0), "part-00000");
  EXPECT_EQ(PartName(99'999), "part-99999");
  EXPECT_EQ(PartName(100'000), "part-100000");
  EXPECT_EQ(PartName(~uint32_t{0}), "part-4294967295");
}

}  // namespace
}  // namespace millrace::storage
