// What a SnapshotStore does when the disk does what it should, and what it says
// when it does not.
#include "raft/log/snapshot_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/hash.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/log/testing/snapshot_member.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SnapshotStoreTest : public testing::Test {
 protected:
  SnapshotMember member_{17};
};

TEST_F(SnapshotStoreTest, BeginsEmpty) {
  EXPECT_EQ(member_.store->newest().index, 0u);
  EXPECT_EQ(member_.store->older_index(), 0u);
  EXPECT_TRUE(absl::IsNotFound(member_.store->OpenNewest().status()));
  EXPECT_THAT(member_.store->damaged(), IsEmpty());
}

TEST_F(SnapshotStoreTest, KeepsWhatIsFinishedInAnySize) {
  uint64_t index = 0;
  for (const size_t bytes : {0, 1, 63, 64, 65, 127, 128, 129, 1000, 5000}) {
    SCOPED_TRACE(bytes);
    ASSERT_TRUE(member_.Take(++index, bytes).ok());
    member_.ExpectNewest(index, bytes);
    EXPECT_FALSE(member_.store->newest().installed);
    member_.Reopen();
    member_.ExpectNewest(index, bytes);
  }
}

TEST_F(SnapshotStoreTest, PiecesOfAnySizeMakeTheSameFile) {
  ASSERT_TRUE(member_.Take(9, 500).ok());
  SnapshotMember other(17);
  auto writer = *other.store->Create(9, 1, "members at 9");
  const std::string content = SnapshotContent(9, 500);
  for (size_t at = 0, n = 0; at < content.size(); at += n++) {
    ASSERT_TRUE(writer->Append(content.substr(at, n)).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
  const std::string path = "/data/snap/" + SnapshotName(1, 9);
  EXPECT_EQ(member_.disk.Contents(path), other.disk.Contents(path));
}

TEST_F(SnapshotStoreTest, ReadsInPiecesOfAnySize) {
  ASSERT_TRUE(member_.Take(9, 500).ok());
  for (const size_t bytes : {1, 7, 64, 65, 1000}) {
    auto reader = *member_.store->OpenNewest();
    EXPECT_EQ(ReadAll(*reader, bytes).value_or(""), SnapshotContent(9, 500));
  }
}

TEST_F(SnapshotStoreTest, TheTwoNewestAreKept) {
  for (const uint64_t index : {3, 5, 8, 13}) {
    ASSERT_TRUE(member_.Take(index, 200).ok());
  }
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 8), SnapshotName(1, 13)));
  EXPECT_EQ(member_.store->older_index(), 8u);
  member_.Reopen();
  EXPECT_EQ(member_.store->older_index(), 8u);
  member_.ExpectNewest(13, 200);
}

TEST_F(SnapshotStoreTest, AReaderOutlivesItsFile) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  const auto reader = *member_.store->OpenNewest();
  for (const uint64_t index : {5, 8}) {
    ASSERT_TRUE(member_.Take(index, 200).ok());
  }
  EXPECT_EQ(ReadAll(*reader).value_or(""), SnapshotContent(3, 500));
}

TEST_F(SnapshotStoreTest, OneThatIsNotFinishedLeavesNothing) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  {
    auto writer = *member_.store->Create(5, 1, "");
    ASSERT_TRUE(writer->Append(SnapshotContent(5, 300)).ok());
    EXPECT_TRUE(
        absl::IsFailedPrecondition(member_.store->Create(6, 1, "").status()));
    EXPECT_EQ(member_.Names().size(), 2u);
  }
  EXPECT_THAT(member_.Names(), ElementsAre(SnapshotName(1, 3)));
  ASSERT_TRUE(member_.Take(6, 100).ok());
}

TEST_F(SnapshotStoreTest, OneThatIsNotNewerIsRefused) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  EXPECT_TRUE(absl::IsAborted(member_.Take(3, 10)));
  EXPECT_TRUE(absl::IsAborted(member_.Take(2, 10)));
  member_.ExpectNewest(3, 500);
}

TEST_F(SnapshotStoreTest, OptionsAndArgumentsOutOfRange) {
  EXPECT_TRUE(absl::IsInvalidArgument(
      member_.store
          ->Create(1, 1, std::string(kSnapshotConfigurationBytesMax + 1, 'c'))
          .status()));
  for (const uint64_t bytes : {uint64_t{0}, kSnapshotChunkBytesMax + 1}) {
    member_.options.chunk_bytes = bytes;
    EXPECT_TRUE(absl::IsInvalidArgument(
        SnapshotStore::Open(member_.options, member_.disk).status()));
  }
}

TEST_F(SnapshotStoreTest, TemporaryFilesOfACrashAreRemoved) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  member_.store.reset();
  member_.disk.SetContents("/data/snap/1.tmp", "half");
  member_.disk.SetContents("/data/snap/77.tmp", "");
  member_.disk.SetContents("/data/snap/notes.txt", "kept");
  member_.Reopen();
  EXPECT_THAT(member_.Names(), ElementsAre(SnapshotName(1, 3), "notes.txt"));
}

TEST_F(SnapshotStoreTest, NamesThatNoSnapshotGets) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  member_.store.reset();
  for (const std::string& name :
       {std::string("x.snap"), std::string("1-3.snap"), SnapshotName(2, 3),
        SnapshotName(2, 2)}) {
    const auto disk = member_.disk.AfterProcessDeath();
    disk->SetContents("/data/snap/" + name, "x");
    const auto store = SnapshotStore::Open(member_.options, *disk);
    EXPECT_TRUE(absl::IsDataLoss(store.status())) << name;
    EXPECT_THAT(MessageOf(store.status()),
                HasSubstr(Cat("/data/snap/", name, ", offset 0: ")));
  }
}

TEST_F(SnapshotStoreTest, ASnapshotOfAnotherVersionIsNeitherReadNorPassedOver) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  ASSERT_TRUE(member_.Take(5, 500).ok());
  const std::string path = "/data/snap/" + SnapshotName(1, 5);
  std::string bytes = member_.disk.Contents(path);
  bytes[8] = 2;
  const uint64_t end = kSnapshotHeadBytes + Cat("members at 5").size();
  const uint64_t checksum = Hash64(bytes.substr(0, end));
  bytes.replace(end, 8, reinterpret_cast<const char*>(&checksum), 8);
  member_.disk.SetContents(path, bytes);
  member_.store.reset();
  const auto store = SnapshotStore::Open(member_.options, member_.disk);
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
  EXPECT_THAT(MessageOf(store.status()),
              HasSubstr(path + ": the snapshot has format version 2"));
}

TEST_F(SnapshotStoreTest, ADamagedOneStaysUntilANewerOneIsComplete) {
  for (const uint64_t index : {3, 5}) {
    ASSERT_TRUE(member_.Take(index, 200).ok());
  }
  const std::string path = "/data/snap/" + SnapshotName(1, 5);
  std::string bytes = member_.disk.Contents(path);
  bytes[150] = static_cast<char>(bytes[150] ^ 4);
  member_.disk.SetContents(path, bytes);
  member_.Reopen();
  member_.ExpectNewest(3, 200);
  ASSERT_EQ(member_.store->damaged().size(), 1u);
  EXPECT_EQ(member_.store->damaged()[0].position.index, 5u);
  EXPECT_EQ(member_.store->damaged()[0].path, path);
  EXPECT_THAT(member_.store->damaged()[0].what, HasSubstr(path + ", offset "));
  // An older one does not make it superfluous.
  ASSERT_TRUE(member_.Take(4, 200).ok());
  EXPECT_THAT(
      member_.Names(),
      ElementsAre(SnapshotName(1, 3), SnapshotName(1, 4), SnapshotName(1, 5)));
  // One in its place replaces it.
  ASSERT_TRUE(member_.Take(5, 200).ok());
  EXPECT_THAT(member_.store->damaged(), IsEmpty());
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 4), SnapshotName(1, 5)));
  member_.Reopen();
  member_.ExpectNewest(5, 200);

  member_.disk.SetContents(path, bytes);
  member_.Reopen();
  ASSERT_TRUE(member_.Take(6, 200).ok());
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 4), SnapshotName(1, 6)));
}

TEST_F(SnapshotStoreTest, DamageIsMetBeforeAnyByteOfItsChunk) {
  ASSERT_TRUE(member_.Take(3, 300).ok());
  const std::string path = "/data/snap/" + SnapshotName(1, 3);
  const auto reader = *member_.store->OpenNewest();
  std::string bytes = member_.disk.Contents(path);
  const uint64_t at = reader->meta().ChunkOffset(2);
  bytes[at + 80] = static_cast<char>(bytes[at + 80] ^ 1);
  member_.disk.SetContents(path, bytes);
  std::string read;
  absl::Status status;
  for (char c; status.ok();) {
    const auto n = reader->Read(&c, 1);
    status = n.status();
    if (n.ok()) {
      ASSERT_EQ(*n, 1u);
      read += c;
    }
  }
  EXPECT_EQ(read, SnapshotContent(3, 300).substr(0, 128));
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(
      MessageOf(status),
      HasSubstr(Cat(path, ", offset ", at, ": checksum mismatch in chunk 2")));
  char c;
  EXPECT_EQ(reader->Read(&c, 1).status(), status);
  EXPECT_EQ(reader->VerifyRest(), status);
  EXPECT_TRUE(reader->ReadChunk(1).ok());
  EXPECT_TRUE(absl::IsDataLoss(reader->ReadChunk(2).status()));
  EXPECT_TRUE(absl::IsOutOfRange(reader->ReadChunk(5).status()));
}

TEST_F(SnapshotStoreTest, OneThatVanishedIsDamage) {
  ASSERT_TRUE(member_.Take(3, 300).ok());
  ASSERT_TRUE(member_.disk.Remove("/data/snap/" + SnapshotName(1, 3)).ok());
  EXPECT_TRUE(absl::IsDataLoss(member_.store->OpenNewest().status()));
}

TEST_F(SnapshotStoreTest, AFileOfAnotherMemberOrClusterIsNotOurs) {
  ASSERT_TRUE(member_.Take(3, 100).ok());
  member_.options.identity.member = 18;
  member_.Reopen();
  EXPECT_EQ(member_.store->newest().index, 0u);
  EXPECT_THAT(member_.store->damaged().at(0).what,
              HasSubstr("the file is of member 17, the directory of 18"));
  member_.options.identity.member = 17;
  member_.options.identity.cluster =
      *ClusterId::FromHex("ff112233445566778899aabbccddeeff");
  member_.Reopen();
  EXPECT_THAT(member_.store->damaged().at(0).what,
              HasSubstr("the snapshot is of cluster 0011"));
}

// Real files, chunks of the real size, and threads that get in each other's
// way.
TEST(SnapshotStorePosixTest, WritesReadsAndInstallsAtTheSameTime) {
  TempDir temp;
  SnapshotStoreOptions options;
  options.identity.cluster =
      *ClusterId::FromHex("00112233445566778899aabbccddeeff");
  options.identity.member = 4;
  options.directory = temp / "leader";
  Disk& disk = Disk::Posix();
  ASSERT_TRUE(disk.MakeDirectory(options.directory).ok());
  auto leader = SnapshotStore::Open(options, disk);
  ASSERT_TRUE(leader.ok()) << leader.status();
  const std::string content = SnapshotContent(1, 9'500'000);
  {
    auto writer = *(*leader)->Create(1000, 7, "members");
    for (size_t at = 0; at < content.size(); at += 300'000) {
      ASSERT_TRUE(writer->Append(content.substr(at, 300'000)).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
  options.directory = temp / "member";
  options.identity.member = 5;
  ASSERT_TRUE(disk.MakeDirectory(options.directory).ok());
  auto member = SnapshotStore::Open(options, disk);
  ASSERT_TRUE(member.ok()) << member.status();
  SnapshotStore& store = **member;
  std::thread taking([&store, &content] {
    for (uint64_t index = 990; index < 1010; ++index) {
      auto writer = store.Create(index, 7, "members");
      if (!writer.ok()) continue;  // The installed one came first.
      absl::Status status = (*writer)->Append(content.substr(0, 1'100'000));
      if (status.ok()) status = (*writer)->Finish();
      EXPECT_TRUE(status.ok() || absl::IsAborted(status)) << status;
    }
  });
  std::thread reading([&store] {
    for (int i = 0; i < 20; ++i) {
      auto reader = store.OpenNewest();
      if (absl::IsNotFound(reader.status())) continue;
      ASSERT_TRUE(reader.ok()) << reader.status();
      EXPECT_TRUE((*reader)->VerifyRest().ok());
    }
  });
  auto reader = *(*leader)->OpenNewest();
  EXPECT_EQ(reader->meta().chunks(), 10u);
  auto installer = store.Install(EncodeSnapshotDescription(reader->meta()));
  if (installer.ok()) {
    for (uint64_t n = 0; n < 10; ++n) {
      const auto chunk = reader->ReadChunk(n);
      ASSERT_TRUE(chunk.ok()) << chunk.status();
      ASSERT_TRUE((*installer)->Append(n, *chunk).ok());
    }
    const absl::Status status = (*installer)->Finish();
    EXPECT_TRUE(status.ok() || absl::IsAborted(status)) << status;
    installer->reset();
  } else {
    EXPECT_TRUE(absl::IsAborted(installer.status())) << installer.status();
  }
  taking.join();
  reading.join();
  EXPECT_EQ(store.newest().index, 1009u);
  EXPECT_EQ(disk.List(options.directory + "/snap")->size(), 2u);
  member->reset();
  EXPECT_EQ(*ReadAll(*reader, 1 << 20), content);
}

}  // namespace
}  // namespace millrace::raft
