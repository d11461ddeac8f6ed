#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/counted.h"
#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/hash.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"

namespace millrace {
namespace {

std::string TestDir() {
  std::string pattern = JoinPath(testing::TempDir(), "common.XXXXXX");
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  return pattern;
}

TEST(StringsTest, OneLineLeavesQuotesAndEscapesControlCharacters) {
  EXPECT_EQ(OneLine("a \"quoted\" C:\\path"), "a \"quoted\" C:\\path");
  EXPECT_EQ(OneLine("two\nlines\x1b[31m"), "two\\nlines\\x1b[31m");
  EXPECT_EQ(OneLine("12345", 3), "123...");
}

TEST(StringsTest, Utf8IsWhatTheStandardAllows) {
  for (const char* good :
       {"", "plain", "gr\u00f6\u00dfe", "\u0800\ud7ff\ue000\uffff",
        "\U00010000\U0010ffff"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xff", "\xc3", "\xc3(", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xc3"}) {
    EXPECT_FALSE(IsUtf8(bad)) << Printable(bad);
  }
  EXPECT_TRUE(IsUtf8(std::string_view("a\0b", 3)));
}

TEST(StringsTest, CountedSpeaksOfOneAndOfMany) {
  EXPECT_EQ(Counted(0, "file"), "0 files");
  EXPECT_EQ(Counted(1, "file"), "1 file");
  EXPECT_EQ(Counted(21, "file"), "21 files");
}

TEST(StringsTest, HumanBytesKeepsTwoDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(uint64_t{1} << 30), "1.0 GiB");
}

TEST(StringsTest, PrintableHidesControlBytesAndCuts) {
  EXPECT_EQ(Printable("a\nb"), "a\\nb");
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
}

TEST(PathTest, JoinParentBase) {
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(ParentPath("a/b/"), "a");
  EXPECT_EQ(ParentPath("a"), ".");
  EXPECT_EQ(ParentPath("/a"), "/");
  EXPECT_EQ(BaseName("a/b/"), "b");
}

TEST(RandomTest, SeedDecidesTheSequence) {
  auto a = Random::Seeded(7);
  auto b = Random::Seeded(7);
  std::set<uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a->Next64();
    EXPECT_EQ(value, b->Next64());
    EXPECT_TRUE(seen.insert(value).second);
    EXPECT_LT(a->Uniform(10), 10u);
    b->Uniform(10);
  }
}

TEST(IdTest, HexRoundTripAndRefusals) {
  auto random = Random::Entropy();
  const JobId id = JobId::Generate(*random);
  EXPECT_FALSE(id.is_zero());
  EXPECT_EQ(JobId::FromHex(id.ToHex()), id);
  EXPECT_EQ(JobId::FromHex("xyz"), std::nullopt);
  EXPECT_EQ(JobId::FromHex(std::string(32, 'g')), std::nullopt);
}

TEST(HashTest, StreamEqualsWhole) {
  StreamHash64 stream;
  stream.Update("hello ");
  stream.Update("world");
  EXPECT_EQ(stream.Digest(), Hash64("hello world"));
  // Fixed for ever: a partition decided by an old binary stays decided.
  EXPECT_EQ(Hash64(""), 0x2d06800538d394c2u);
}

// Files go from one machine to another.
TEST(HashTest, IsTheSameWithWhateverInstructions) {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) {
    bytes.push_back(static_cast<char>((i * 0x9E3779B1u) >> 24));
  }
  for (size_t size = 0; size <= bytes.size(); size += size < 1100 ? 1 : 97) {
    const std::string_view input = std::string_view(bytes).substr(0, size);
    for (const uint64_t seed : {uint64_t{0}, uint64_t{0x123456789abcdef}}) {
      const uint64_t plain = internal::PlainHash64(input.data(), size, seed);
      ASSERT_EQ(Hash64Seeded(input, seed), plain) << size;
      ASSERT_EQ(internal::WideHash64(input.data(), size, seed), plain) << size;
    }
    ASSERT_EQ(Hash64(input), internal::PlainHash64(input.data(), size, 0));
    StreamHash64 stream;
    for (size_t at = 0, piece = 1; at < size; at += piece, piece += 37) {
      stream.Update(input.substr(at, piece));
    }
    ASSERT_EQ(stream.Digest(), Hash64(input)) << size;
  }
}

TEST(HashTest, PartitionIsInRangeAndSpread) {
  std::vector<int> count(7);
  for (int i = 0; i < 7000; ++i) {
    ++count[HashPartition(Hash64(Cat("key", i)), 7)];
  }
  for (int c : count) EXPECT_NEAR(c, 1000, 200);
}

TEST(PosixFileSystemTest, CreateIsExclusiveAndReadsBack) {
  FileSystem& fs = FileSystem::Posix();
  const std::string dir = TestDir();
  const std::string path = JoinPath(dir, "a");
  ASSERT_TRUE(WriteWholeFile(fs, path, "hello").ok());
  EXPECT_EQ(WriteWholeFile(fs, path, "other").code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadWholeFile(fs, path, 100), "hello");
  EXPECT_EQ(ReadWholeFile(fs, path, 4).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(fs.OpenRead(JoinPath(dir, "b")).status().code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(fs.RemoveTree(dir).ok());
  EXPECT_TRUE(fs.RemoveTree(dir).ok());
}

TEST(PosixFileSystemTest, TwoWhoRemoveOneTreeLeaveNothing) {
  FileSystem& fs = FileSystem::Posix();
  const std::string dir = TestDir();
  for (int round = 0; round < 100; ++round) {
    const std::string tree = JoinPath(dir, "tree");
    for (int i = 0; i < 10; ++i) {
      const std::string part = JoinPath(tree, Cat(i));
      ASSERT_TRUE(MakeDirectories(fs, part).ok());
      for (const char* name : {"a", "b", "c"}) {
        ASSERT_TRUE(WriteWholeFile(fs, JoinPath(part, name), "x").ok());
      }
    }
    std::thread other([&] {
      // As a worker deletes attempts while it deletes their job.
      for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(fs.RemoveTree(JoinPath(tree, Cat(i))).ok());
      }
    });
    EXPECT_TRUE(fs.RemoveTree(tree).ok());
    EXPECT_EQ(fs.StatLink(tree).status().code(), absl::StatusCode::kNotFound)
        << "round " << round;
    other.join();
  }
  ASSERT_TRUE(fs.RemoveTree(dir).ok());
}

TEST(PosixFileSystemTest, MakeDirectoriesMakesThoseAboveToo) {
  FileSystem& fs = FileSystem::Posix();
  const std::string dir = TestDir();
  const std::string deep = JoinPath(dir, "a/b/c");
  ASSERT_TRUE(MakeDirectories(fs, deep).ok());
  EXPECT_EQ(fs.Stat(deep)->kind, FileKind::kDirectory);
  EXPECT_TRUE(MakeDirectories(fs, deep).ok());
  ASSERT_TRUE(WriteWholeFile(fs, JoinPath(dir, "file"), "").ok());
  EXPECT_EQ(MakeDirectories(fs, JoinPath(dir, "file")).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(MakeDirectories(fs, JoinPath(dir, "file/below")).ok());
  ASSERT_TRUE(fs.RemoveTree(dir).ok());
}

TEST(PosixFileSystemTest, RenameNoReplaceRefusesFilesAndDirectories) {
  FileSystem& fs = FileSystem::Posix();
  const std::string dir = TestDir();
  ASSERT_TRUE(fs.MakeDirectory(JoinPath(dir, "from")).ok());
  ASSERT_TRUE(fs.MakeDirectory(JoinPath(dir, "to")).ok());
  EXPECT_EQ(
      fs.RenameNoReplace(JoinPath(dir, "from"), JoinPath(dir, "to")).code(),
      absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(fs.RemoveTree(JoinPath(dir, "to")).ok());
  EXPECT_TRUE(
      fs.RenameNoReplace(JoinPath(dir, "from"), JoinPath(dir, "to")).ok());
  EXPECT_EQ(fs.List(dir)->size(), 1u);
  ASSERT_TRUE(fs.RemoveTree(dir).ok());
}

TEST(PosixFileSystemTest, ListTellsKindsWithoutFollowingLinks) {
  FileSystem& fs = FileSystem::Posix();
  const std::string dir = TestDir();
  ASSERT_TRUE(fs.MakeDirectory(JoinPath(dir, "d")).ok());
  ASSERT_EQ(symlink("d", JoinPath(dir, "l").c_str()), 0);
  std::map<std::string, FileKind> kinds;
  const auto entries = fs.List(dir);
  ASSERT_TRUE(entries.ok());
  for (const DirEntry& e : *entries) kinds[e.name] = e.kind;
  EXPECT_EQ(kinds["d"], FileKind::kDirectory);
  EXPECT_EQ(kinds["l"], FileKind::kSymlink);
  EXPECT_EQ(fs.Stat(JoinPath(dir, "l"))->kind, FileKind::kDirectory);
  ASSERT_TRUE(fs.RemoveTree(dir).ok());
}

TEST(ErrnoStatusTest, MessageNamesOperationObjectAndReason) {
  const absl::Status status = ErrnoStatus(ENOSPC, "write", "/x\ny");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ToStd(status.message()), "write /x\\ny: No space left on device");
}

TEST(StatusMacrosTest, AnnotateKeepsTheCode) {
  const absl::Status status =
      Annotate(absl::DataLossError("bad block"), "map 3");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ToStd(status.message()), "map 3: bad block");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(ManualClockTest, AdvancesOnlyWhenTold) {
  ManualClock clock;
  const absl::Duration before = clock.Monotonic();
  clock.Advance(absl::Seconds(3));
  EXPECT_EQ(clock.Monotonic() - before, absl::Seconds(3));
}

TEST(ThreadPoolTest, RunsAllThatItWasGivenBeforeItEnds) {
  std::atomic<int> done{0};
  {
    ThreadPool pool(3);
    for (int i = 0; i < 100; ++i) pool.Run([&done] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

TEST(ThreadPoolTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) pool.Run([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(ThreadPoolTest, ThreadsWorkAtTheSameTime) {
  // Each waits for the other.
  ThreadPool pool(2);
  absl::Notification first, second;
  pool.Run([&] {
    first.Notify();
    second.WaitForNotification();
  });
  pool.Run([&] {
    first.WaitForNotification();
    second.Notify();
  });
  second.WaitForNotification();
}

}  // namespace
}  // namespace millrace
