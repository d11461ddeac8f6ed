// What a SnapshotStore does when the disk does what it should, and what it says
// when it does not.
#include "raft/log/snapshot_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

std::string Content(uint64_t index, size_t bytes) {
  const auto random = Random::Seeded(index);
  std::string content(bytes, '\0');
  for (char& c : content) c = static_cast<char>(random->Uniform(256));
  return content;
}

absl::StatusOr<std::string> ReadAll(SnapshotReader& reader,
                                    size_t buffer_bytes = 100) {
  std::string all, buffer(buffer_bytes, '\0');
  for (;;) {
    const auto n = reader.Read(buffer.data(), buffer.size());
    if (!n.ok()) return n.status();
    if (*n == 0) return all;
    all += buffer.substr(0, *n);
  }
}

// A member's directory on a simulated disk.
struct Member {
  SimDisk disk;
  SnapshotStoreOptions options;
  std::unique_ptr<SnapshotStore> store;

  explicit Member(uint64_t member) {
    options.directory = "/data";
    options.identity.cluster =
        *ClusterId::FromHex("00112233445566778899aabbccddeeff");
    options.identity.member = member;
    options.chunk_bytes = 64;
    EXPECT_TRUE(disk.MakeDirectory("/data").ok());
    Reopen();
  }

  void Reopen() {
    store.reset();
    auto opened = SnapshotStore::Open(options, disk);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = *std::move(opened);
  }

  absl::Status Take(uint64_t index, size_t bytes) {
    auto writer = store->Create(index, 1, Cat("members at ", index));
    if (!writer.ok()) return writer.status();
    if (auto s = (*writer)->Append(Content(index, bytes)); !s.ok()) return s;
    return (*writer)->Finish();
  }

  std::vector<std::string> Names() { return disk.Names("/data/snap"); }
};

class SnapshotStoreTest : public testing::Test {
 protected:
  // What the newest snapshot of `member` is, is what was taken at `index`.
  void ExpectNewest(Member& member, uint64_t index, size_t bytes) {
    EXPECT_EQ(member.store->newest().index, index);
    EXPECT_EQ(member.store->newest().term, 1u);
    const auto reader = member.store->OpenNewest();
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->meta().configuration, Cat("members at ", index));
    EXPECT_EQ((*reader)->meta().bytes, bytes);
    const auto content = ReadAll(**reader);
    ASSERT_TRUE(content.ok()) << content.status();
    EXPECT_EQ(*content, Content(index, bytes));
  }

  // Sends chunks [first, end).
  absl::Status Send(SnapshotReader& from, SnapshotInstaller& to, uint64_t first,
                    uint64_t end) {
    for (uint64_t n = first; n < end; ++n) {
      const auto chunk = from.ReadChunk(n);
      if (!chunk.ok()) return chunk.status();
      if (absl::Status s = to.Append(n, *chunk); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  Member member_{17};
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
    ExpectNewest(member_, index, bytes);
    EXPECT_FALSE(member_.store->newest().installed);
    member_.Reopen();
    ExpectNewest(member_, index, bytes);
  }
}

TEST_F(SnapshotStoreTest, PiecesOfAnySizeMakeTheSameFile) {
  ASSERT_TRUE(member_.Take(9, 500).ok());
  Member other(17);
  auto writer = *other.store->Create(9, 1, "members at 9");
  const std::string content = Content(9, 500);
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
    EXPECT_EQ(ReadAll(*reader, bytes).value_or(""), Content(9, 500));
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
  ExpectNewest(member_, 13, 200);
}

TEST_F(SnapshotStoreTest, AReaderOutlivesItsFile) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  const auto reader = *member_.store->OpenNewest();
  for (const uint64_t index : {5, 8}) {
    ASSERT_TRUE(member_.Take(index, 200).ok());
  }
  EXPECT_EQ(ReadAll(*reader).value_or(""), Content(3, 500));
}

TEST_F(SnapshotStoreTest, OneThatIsNotFinishedLeavesNothing) {
  ASSERT_TRUE(member_.Take(3, 500).ok());
  {
    auto writer = *member_.store->Create(5, 1, "");
    ASSERT_TRUE(writer->Append(Content(5, 300)).ok());
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
  ExpectNewest(member_, 3, 500);
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
  ExpectNewest(member_, 3, 200);
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
  ExpectNewest(member_, 5, 200);

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
  EXPECT_EQ(read, Content(3, 300).substr(0, 128));
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

// ------------------------------------------------------------- from a leader

class InstallTest : public SnapshotStoreTest {
 protected:
  InstallTest() {
    EXPECT_TRUE(leader_.Take(40, 500).ok());
    reader_ = *leader_.store->OpenNewest();
    description_ = EncodeSnapshotDescription(reader_->meta());
  }

  Member leader_{4};
  std::unique_ptr<SnapshotReader> reader_;
  std::string description_;
};

TEST_F(InstallTest, AWholeOneBecomesTheNewest) {
  ASSERT_TRUE(member_.Take(3, 100).ok());
  {
    auto installer = *member_.store->Install(description_);
    EXPECT_EQ(installer->meta(), reader_->meta());
    EXPECT_EQ(installer->next_chunk(), 0u);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 8).ok());
    EXPECT_EQ(installer->next_chunk(), 8u);
    EXPECT_EQ(member_.store->newest().index, 3u);
    ASSERT_TRUE(installer->Finish().ok());
  }
  ExpectNewest(member_, 40, 500);
  EXPECT_TRUE(member_.store->newest().installed);
  EXPECT_EQ(member_.store->older_index(), 3u);
  member_.Reopen();
  ExpectNewest(member_, 40, 500);
  EXPECT_TRUE(member_.store->newest().installed);
  // Sent on, it is the same.
  EXPECT_EQ(EncodeSnapshotDescription((*member_.store->OpenNewest())->meta()),
            description_);
}

TEST_F(InstallTest, AnEmptyOneToo) {
  ASSERT_TRUE(leader_.Take(41, 0).ok());
  const auto reader = *leader_.store->OpenNewest();
  auto installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  ASSERT_TRUE(installer->Finish().ok());
  ExpectNewest(member_, 41, 0);
}

TEST_F(InstallTest, GoesOnAtTheChunkItHadReached) {
  for (uint64_t chunk = 0; chunk <= 8; ++chunk) {
    Member member(17);
    {
      auto installer = *member.store->Install(description_);
      ASSERT_TRUE(Send(*reader_, *installer, 0, chunk).ok());
    }
    auto installer = *member.store->Install(description_);
    EXPECT_EQ(installer->next_chunk(), chunk);
    ASSERT_TRUE(Send(*reader_, *installer, chunk, 8).ok());
    ASSERT_TRUE(installer->Finish().ok());
    ExpectNewest(member, 40, 500);
    EXPECT_THAT(member.Names(), ElementsAre(SnapshotName(1, 40)));
  }
}

TEST_F(InstallTest, ChunksComeInOrder) {
  auto installer = *member_.store->Install(description_);
  ASSERT_TRUE(Send(*reader_, *installer, 0, 3).ok());
  for (const uint64_t number : {4, 5, 8, 1000}) {
    const absl::Status status =
        installer->Append(number, *reader_->ReadChunk(number % 8));
    EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  }
  EXPECT_THAT(MessageOf(installer->Append(5, *reader_->ReadChunk(5))),
              HasSubstr("chunk 5 came, chunk 3 of 8 is expected"));
  EXPECT_TRUE(absl::IsOutOfRange(installer->Finish()));
  // Again what was there, even if it is damaged now: nobody looks.
  for (const uint64_t number : {0, 2}) {
    EXPECT_TRUE(installer->Append(number, "nonsense").ok());
  }
  EXPECT_EQ(installer->next_chunk(), 3u);
  // The wrong one under the right number.
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, *reader_->ReadChunk(4))));
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, *reader_->ReadChunk(7))));
  EXPECT_TRUE(absl::IsDataLoss(installer->Append(3, "")));
  ASSERT_TRUE(Send(*reader_, *installer, 3, 8).ok());
  EXPECT_TRUE(absl::IsOutOfRange(installer->Append(8, "more")));
  ASSERT_TRUE(installer->Finish().ok());
  ExpectNewest(member_, 40, 500);
}

TEST_F(InstallTest, EveryBitOfEveryChunk) {
  auto installer = *member_.store->Install(description_);
  for (uint64_t n = 0; n < 8; ++n) {
    const std::string chunk = *reader_->ReadChunk(n);
    for (size_t i = 0; i < chunk.size(); ++i) {
      std::string damaged = chunk;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      ASSERT_TRUE(absl::IsDataLoss(installer->Append(n, damaged)));
      ASSERT_FALSE(installer->Append(n, chunk.substr(0, i)).ok());
    }
    ASSERT_TRUE(installer->Append(n, chunk).ok());
  }
  ASSERT_TRUE(installer->Finish().ok());
  ExpectNewest(member_, 40, 500);
}

// Sound chunks, but of two snapshots that should be the same and are not.
TEST_F(InstallTest, TwoLeadersThatDisagreeDoNotMix) {
  Member other(5);
  auto writer = *other.store->Create(40, 1, "members at 40");
  std::string content = Content(40, 500);
  content[10] = static_cast<char>(content[10] ^ 1);
  ASSERT_TRUE(writer->Append(content).ok());
  ASSERT_TRUE(writer->Finish().ok());
  const auto reader = *other.store->OpenNewest();
  for (uint64_t chunk = 1; chunk < 8; ++chunk) {
    auto installer = *member_.store->Install(description_);
    EXPECT_EQ(installer->next_chunk(), 0u);
    ASSERT_TRUE(Send(*reader_, *installer, 0, chunk).ok());
    const absl::Status status = Send(*reader, *installer, chunk, chunk + 1);
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_THAT(MessageOf(status), HasSubstr("does not follow"));
    // The transfer is over.
    EXPECT_EQ(installer->Append(chunk, "x"), status);
    EXPECT_EQ(installer->Finish(), status);
    EXPECT_THAT(member_.Names(), IsEmpty());
  }
  // All of the other, under the description of the one.
  auto installer = *member_.store->Install(description_);
  EXPECT_TRUE(absl::IsDataLoss(Send(*reader, *installer, 0, 8)));
  EXPECT_EQ(member_.store->newest().index, 0u);
}

TEST_F(InstallTest, AnotherSnapshotEndsATransferThatBrokeOff) {
  {
    auto installer = *member_.store->Install(description_);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 5).ok());
  }
  ASSERT_TRUE(leader_.Take(41, 400).ok());
  const auto reader = *leader_.store->OpenNewest();
  auto installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  EXPECT_EQ(installer->next_chunk(), 0u);
  EXPECT_EQ(member_.Names().size(), 1u);
  ASSERT_TRUE(Send(*reader, *installer, 0, 7).ok());
  ASSERT_TRUE(installer->Finish().ok());
  ExpectNewest(member_, 41, 400);
}

TEST_F(InstallTest, ATransferThatBrokeOffGoesWhenItIsNotNeeded) {
  const auto begin = [&] {
    auto installer = *member_.store->Install(description_);
    ASSERT_TRUE(Send(*reader_, *installer, 0, 5).ok());
  };
  begin();
  EXPECT_EQ(member_.Names().size(), 1u);
  member_.store->GiveUpTransfer();
  EXPECT_THAT(member_.Names(), IsEmpty());
  member_.store->GiveUpTransfer();

  begin();
  member_.Reopen();  // A later process does not take it up.
  EXPECT_THAT(member_.Names(), IsEmpty());

  begin();
  ASSERT_TRUE(member_.Take(39, 10).ok());
  EXPECT_EQ(member_.Names().size(), 2u);
  ASSERT_TRUE(member_.Take(40, 10).ok());
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 39), SnapshotName(1, 40)));
}

TEST_F(InstallTest, WhatIsFinishedFirstWins) {
  auto installer = *member_.store->Install(description_);
  ASSERT_TRUE(Send(*reader_, *installer, 0, 8).ok());
  auto writer = *member_.store->Create(39, 1, "members at 39");
  ASSERT_TRUE(writer->Append(Content(39, 100)).ok());
  ASSERT_TRUE(installer->Finish().ok());
  EXPECT_TRUE(absl::IsAborted(writer->Finish()));
  installer.reset();
  writer.reset();
  ExpectNewest(member_, 40, 500);
  EXPECT_THAT(member_.Names(), ElementsAre(SnapshotName(1, 40)));

  ASSERT_TRUE(leader_.Take(50, 300).ok());
  const auto reader = *leader_.store->OpenNewest();
  installer =
      *member_.store->Install(EncodeSnapshotDescription(reader->meta()));
  ASSERT_TRUE(Send(*reader, *installer, 0, 5).ok());
  ASSERT_TRUE(member_.Take(51, 100).ok());
  EXPECT_TRUE(absl::IsAborted(installer->Finish()));
  installer.reset();
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 40), SnapshotName(1, 51)));
  // One whose transfer is under way goes when that ends.
  ASSERT_TRUE(leader_.Take(60, 300).ok());
  const auto later = *leader_.store->OpenNewest();
  installer = *member_.store->Install(EncodeSnapshotDescription(later->meta()));
  ASSERT_TRUE(Send(*later, *installer, 0, 2).ok());
  ASSERT_TRUE(member_.Take(61, 100).ok());
  installer.reset();
  EXPECT_THAT(member_.Names(),
              ElementsAre(SnapshotName(1, 51), SnapshotName(1, 61)));
}

TEST_F(InstallTest, WhatIsRefusedAtOnce) {
  const auto refused = [&](std::string_view description) {
    return member_.store->Install(description).status();
  };
  EXPECT_TRUE(absl::IsDataLoss(refused("nonsense")));
  EXPECT_TRUE(absl::IsDataLoss(refused("")));
  {
    auto first = *member_.store->Install(description_);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused(description_)));
  }
  member_.disk.SetFreeBytes(800);
  member_.store->GiveUpTransfer();
  const absl::Status full = refused(description_);
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(MessageOf(full), HasSubstr("bytes, free are 800"));
  EXPECT_THAT(member_.Names(), IsEmpty());
  member_.disk.SetFreeBytes(1 << 20);
  ASSERT_TRUE(member_.Take(40, 10).ok());
  EXPECT_TRUE(absl::IsAborted(refused(description_)));
  SnapshotFileMeta foreign = reader_->meta();
  foreign.cluster = *ClusterId::FromHex("ff112233445566778899aabbccddeeff");
  const absl::Status status = refused(EncodeSnapshotDescription(foreign));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(MessageOf(status),
              HasSubstr("of cluster ff112233445566778899aabbccddeeff was sent "
                        "to a member of 0011"));
}

// ---------------------------------------------------------- a directory only

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
  const std::string content = Content(1, 9'500'000);
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
