#include "tests/testing/memory_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/testing/faulty_file_system.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MemoryFileSystemTest, WritesReadsAndLists) {
  MemoryFileSystem fs;
  ASSERT_TRUE(fs.MakeDirectory("/d").ok());
  auto file = fs.Create("/d/f");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append("abc").ok());
  ASSERT_TRUE((*file)->Append("def").ok());
  ASSERT_TRUE((*file)->Close().ok());
  EXPECT_EQ(fs.Contents("/d/f"), "abcdef");
  EXPECT_EQ(fs.Stat("d/f")->identity.size, 6u);
  auto reader = fs.OpenRead("/d/f");
  ASSERT_TRUE(reader.ok());
  char buffer[10];
  EXPECT_EQ((*reader)->ReadAt(4, buffer, 10).value(), 2u);
  EXPECT_EQ((*reader)->ReadAt(6, buffer, 10).value(), 0u);
  EXPECT_EQ(fs.List("/d")->size(), 1u);
  EXPECT_THAT(fs.AllFiles(), ElementsAre("/d/f"));
}

TEST(MemoryFileSystemTest, ErrorsAreThoseOfPosix) {
  MemoryFileSystem fs;
  fs.SetContents("/f", "x");
  fs.SetContents("/d/g", "y");
  EXPECT_EQ(fs.OpenRead("/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs.OpenRead("/f/x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs.Create("/f").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(fs.Create("/no/f").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fs.RenameNoReplace("/f", "/d").code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(fs.Rename("/f", "/d").ok());
  EXPECT_EQ(fs.Rename("/d", "/d/e").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(fs.RemoveTree("/none").ok());
  EXPECT_EQ(fs.RemoveFile("/none").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(fs.Rename("/f", "/d/g").ok());
  EXPECT_EQ(fs.Contents("/d/g"), "x");
  EXPECT_TRUE(fs.RemoveTree("/d").ok());
  EXPECT_THAT(fs.AllFiles(), IsEmpty());
}

TEST(MemoryFileSystemTest, FullDiskWritesWhatFits) {
  MemoryFileSystem fs;
  fs.SetCapacity(5);
  auto file = fs.Create("/f");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->Append("abc").ok());
  EXPECT_EQ((*file)->Append("def").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(fs.Contents("/f"), "abcde");
  EXPECT_EQ(fs.FreeBytes("/").value(), 0u);
}

TEST(MemoryFileSystemTest, PowerCutKeepsOnlyWhatWasSynced) {
  MemoryFileSystem fs;
  ASSERT_TRUE(fs.MakeDirectory("/d").ok());
  ASSERT_TRUE(fs.SyncDirectory("/").ok());
  auto synced = fs.Create("/d/synced");
  ASSERT_TRUE((*synced)->Append("abc").ok());
  ASSERT_TRUE((*synced)->Sync().ok());
  ASSERT_TRUE((*synced)->Append("def").ok());
  auto empty = fs.Create("/d/unsynced");
  ASSERT_TRUE((*empty)->Append("abc").ok());
  ASSERT_TRUE(fs.SyncDirectory("/d").ok());
  ASSERT_TRUE(fs.Rename("/d/synced", "/d/renamed").ok());
  auto unlisted = fs.Create("/d/unlisted");
  ASSERT_TRUE((*unlisted)->Sync().ok());

  fs.PowerCut();
  EXPECT_THAT(fs.AllFiles(), ElementsAre("/d/synced", "/d/unsynced"));
  EXPECT_EQ(fs.Contents("/d/synced"), "abc");
  EXPECT_EQ(fs.Contents("/d/unsynced"), "");
  // A writer from before the cut no longer reaches the disk.
  ASSERT_TRUE((*synced)->Append("ghi").ok());
  EXPECT_EQ(fs.Contents("/d/synced"), "abc");
  // A second cut changes nothing.
  fs.PowerCut();
  EXPECT_THAT(fs.AllFiles(), ElementsAre("/d/synced", "/d/unsynced"));
}

TEST(FaultyFileSystemTest, FailsTheOperationsAskedFor) {
  MemoryFileSystem memory;
  FaultyFileSystem fs(memory);
  fs.FailOnce(1, absl::DataLossError("bad sector"));
  EXPECT_TRUE(fs.MakeDirectory("/a").ok());
  EXPECT_EQ(fs.MakeDirectory("/b").code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(fs.MakeDirectory("/c").ok());
  EXPECT_EQ(fs.operations(), 3u);
  EXPECT_FALSE(memory.Exists("/b"));

  fs.FailFrom(5, absl::ResourceExhaustedError("full"));
  auto file = fs.Create("/f");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->Append("a").ok());
  EXPECT_FALSE((*file)->Append("b").ok());
  EXPECT_FALSE((*file)->Close().ok());
  EXPECT_EQ(memory.Contents("/f"), "a");

  fs.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kOpenRead && path == "/f"
               ? absl::PermissionDeniedError("no")
               : absl::OkStatus();
  });
  EXPECT_EQ(fs.OpenRead("/f").status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(fs.Stat("/f").ok());
}

TEST(MemoryFileSystemTest, RotChangesOneBitAndNothingElse) {
  MemoryFileSystem fs;
  fs.SetContents("/f", "ab");
  const FileIdentity before = fs.Stat("/f")->identity;
  fs.FlipBit("/f", 8);
  EXPECT_EQ(fs.Contents("/f"), "ac");
  EXPECT_EQ(fs.Stat("/f")->identity, before);
}

}  // namespace
}  // namespace millrace
