#include "worker/spool/blob_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "common/sha256.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/temp_dir.h"
#include "worker/testing/fake_blob_client.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class BlobCacheTest : public testing::Test {
 protected:
  BlobCacheTest() {
    EXPECT_TRUE(FileSystem::Posix().MakeDirectory(layout_.Blobs()).ok());
  }
  BlobCache Make(uint64_t spare_bytes_max = 1000) {
    return BlobCache(FileSystem::Posix(), masters_, layout_, spare_bytes_max);
  }
  std::string Name(const std::string& sha256) {
    return Cat("blobs/", HexEncode(sha256));
  }

  TempDir directory_;
  const WorkerLayout layout_{directory_.path()};
  FakeBlobClient masters_;
};

TEST_F(BlobCacheTest, BringsABlobOnceVerifiedAndExecutable) {
  BlobCache cache = Make();
  const std::string blob = masters_.Add("#!program");
  cache.Want(blob);
  ASSERT_TRUE(cache.Get(blob).ok());
  ASSERT_TRUE(cache.Get(blob).ok());
  EXPECT_EQ(masters_.gets(), 1);
  EXPECT_EQ(directory_.Read(Name(blob)), "#!program");
  struct stat info;
  ASSERT_EQ(stat(layout_.Blob(blob).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0555u);
  EXPECT_EQ(*cache.Read(blob, 100), "#!program");
  EXPECT_TRUE(absl::IsOutOfRange(cache.Read(blob, 3).status()));
}

TEST_F(BlobCacheTest, WhatTheMastersSendIsNotBelieved) {
  BlobCache cache = Make();
  const std::string blob = Sha256Of("right");
  masters_.AddAs(blob, "wrong");
  EXPECT_TRUE(absl::IsDataLoss(cache.Get(blob)));
  EXPECT_TRUE(absl::IsNotFound(cache.Get(Sha256Of("never heard of"))));
  EXPECT_THAT(directory_.Names("blobs"), IsEmpty()) << "nothing is left";
  masters_.Add("right");
  EXPECT_TRUE(cache.Get(blob).ok());
}

TEST_F(BlobCacheTest, NamesOfAnotherLengthTouchNothing) {
  BlobCache cache = Make();
  const std::string blob = masters_.Add("blob");
  ASSERT_TRUE(cache.Get(blob).ok());
  for (const std::string& name : {std::string(), blob.substr(1), blob + "x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(cache.Get(name)));
  }
  EXPECT_EQ(directory_.Read(Name(blob)), "blob");
}

TEST_F(BlobCacheTest, WhatIsThereIsVerifiedBeforeItsFirstUse) {
  const std::string good = masters_.Add("good");
  const std::string damaged = masters_.Add("damaged");
  directory_.Write(Name(good), "good");
  directory_.Write(Name(damaged), "dAmaged");
  directory_.Write("blobs/tmp-3", "half of something");
  BlobCache cache = Make();
  ASSERT_TRUE(cache.Open().ok());
  ASSERT_TRUE(cache.Get(good).ok());
  EXPECT_EQ(masters_.gets(), 0);
  ASSERT_TRUE(cache.Get(damaged).ok());
  EXPECT_EQ(masters_.gets(), 1);
  EXPECT_EQ(directory_.Read(Name(damaged)), "damaged");
  EXPECT_EQ(directory_.Names("blobs").size(), 2u);
  // Somebody tidies up behind our back.
  ASSERT_TRUE(FileSystem::Posix().RemoveFile(layout_.Blob(good)).ok());
  EXPECT_TRUE(cache.Get(good).ok());
  EXPECT_EQ(directory_.Read(Name(good)), "good");
}

TEST_F(BlobCacheTest, PutStoresAtTheMastersAndHere) {
  BlobCache cache = Make();
  const std::string path = directory_.Write("plan", "the plan");
  const absl::StatusOr<std::string> blob = cache.Put(path);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(*blob, Sha256Of("the plan"));
  EXPECT_EQ(masters_.Bytes(*blob), "the plan");
  EXPECT_EQ(directory_.Read(Name(*blob)), "the plan");
  EXPECT_FALSE(FileSystem::Posix().Stat(path).ok()) << "it was moved";
  ASSERT_TRUE(cache.Get(*blob).ok());
  EXPECT_EQ(masters_.gets(), 0);

  const absl::StatusOr<std::string> bytes = cache.PutBytes("manifest");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(masters_.Bytes(*bytes), "manifest");
  masters_.FailWith(absl::UnavailableError("no masters"));
  EXPECT_TRUE(absl::IsUnavailable(cache.PutBytes("another").status()));
  EXPECT_EQ(directory_.Names("blobs").size(), 2u);
}

TEST_F(BlobCacheTest, WaitsForNoDiskAndFetchesWhatAPowerCutTook) {
  FaultyFileSystem counted(FileSystem::Posix());
  int syncs = 0;
  counted.SetFault([&syncs](FileOp op, const std::string&) {
    if (op == FileOp::kSync || op == FileOp::kSyncDirectory) ++syncs;
    return absl::OkStatus();
  });
  BlobCache before(counted, masters_, layout_, 1000,
                   [](const std::string&) { return absl::OkStatus(); });
  const absl::StatusOr<std::string> blob = before.PutBytes("manifest");
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(*before.Read(*blob, 100), "manifest");
  EXPECT_EQ(syncs, 0);

  // Its name has reached the disk, its bytes have not.
  ASSERT_EQ(truncate(layout_.Blob(*blob).c_str(), 0), 0);
  BlobCache after = Make();
  ASSERT_TRUE(after.Open().ok());
  ASSERT_TRUE(after.Get(*blob).ok());
  EXPECT_EQ(*after.Read(*blob, 100), "manifest");
}

TEST_F(BlobCacheTest, TrimTakesTheOldestThatNobodyWants) {
  BlobCache cache = Make(/*spare_bytes_max=*/10);
  std::vector<std::string> blobs;
  for (int i = 0; i < 5; ++i) {
    blobs.push_back(masters_.Add(Cat("blob", i, "!")));  // Six bytes each.
    cache.Want(blobs[i]);
    ASSERT_TRUE(cache.Get(blobs[i]).ok());
    const utimbuf times = {1000 + i, 1000 + i};
    ASSERT_EQ(utime(layout_.Blob(blobs[i]).c_str(), &times), 0);
  }
  const auto names = [&] { return directory_.Names("blobs"); };
  cache.Trim();
  EXPECT_EQ(names().size(), 5u) << "all are wanted";
  cache.WantOnly({blobs[0], blobs[2]});
  cache.Want(blobs[1]);  // After all.
  cache.Trim();
  EXPECT_THAT(names(),
              UnorderedElementsAre(HexEncode(blobs[0]), HexEncode(blobs[1]),
                                   HexEncode(blobs[2]), HexEncode(blobs[4])));
  EXPECT_TRUE(cache.Get(blobs[3]).ok()) << "fetched again";
}

}  // namespace
}  // namespace millrace::worker
