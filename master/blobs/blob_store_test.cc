#include "master/blobs/blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/sha256.h"
#include "common/strings.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::master {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BlobStoreTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    store_.reset();
    auto store = BlobStore::Open({.directory = "/blobs"}, fs_, *random_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status Put(const std::string& sha256, const std::string& bytes) {
    auto writer = store_->Put(sha256, bytes.size());
    if (!writer.ok()) return writer.status();
    for (size_t at = 0; at < bytes.size(); at += 3) {
      if (absl::Status s = (*writer)->Append(bytes.substr(at, 3)); !s.ok()) {
        return s;
      }
    }
    return (*writer)->Finish();
  }

  MemoryFileSystem fs_;
  std::unique_ptr<Random> random_ = Random::Seeded(1);
  std::unique_ptr<BlobStore> store_;
};

TEST_F(BlobStoreTest, WhatWasPutIsThereAlsoAfterAPowerCut) {
  const std::string bytes = "a program";
  const std::string name = Sha256Of(bytes);
  EXPECT_FALSE(store_->Has(name));
  ASSERT_TRUE(Put(name, bytes).ok());
  EXPECT_TRUE(store_->Has(name));
  ASSERT_TRUE(Put(name, bytes).ok()) << "again";
  fs_.PowerCut();
  Open();
  EXPECT_TRUE(store_->Has(name));
  const auto read = store_->Read(name, 100);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, bytes);
  EXPECT_EQ(store_->Read(name, 3).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(BlobStoreTest, BytesThatAreNotTheirNameAreRefusedAndLeaveNothing) {
  const absl::Status wrong = Put(Sha256Of("one"), "two");
  EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("another SHA-256"));
  EXPECT_FALSE(store_->Has(Sha256Of("one")));
  EXPECT_THAT(*fs_.List("/blobs"), IsEmpty());
  EXPECT_EQ(store_->OpenRead(Sha256Of("one")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, LengthIsHeldToWhatWasAnnounced) {
  auto writer = store_->Put(Sha256Of("four"), 4);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("fou").ok());
  EXPECT_EQ((*writer)->Append("rs").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*writer)->Finish().code(), absl::StatusCode::kInvalidArgument);
  writer->reset();
  EXPECT_THAT(*fs_.List("/blobs"), IsEmpty());
  EXPECT_EQ(store_->Put("short", 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->Put(Sha256Of("x"), uint64_t{1} << 50).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(BlobStoreTest, AnInterruptedPutIsRemovedAtTheNextStart) {
  auto writer = store_->Put(Sha256Of("four"), 4);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("fo").ok());
  EXPECT_EQ(fs_.List("/blobs")->size(), 1u);
  // As if the process had ended: the writer never says goodbye.
  auto abandoned = BlobStore::Open({.directory = "/blobs"}, fs_, *random_);
  ASSERT_TRUE(abandoned.ok());
  EXPECT_THAT(*fs_.List("/blobs"), IsEmpty());
}

TEST_F(BlobStoreTest, OnlyWhatIsNotUsedIsRemoved) {
  const std::string one = Sha256Of("one");
  const std::string two = Sha256Of("two");
  ASSERT_TRUE(Put(one, "one").ok());
  ASSERT_TRUE(Put(two, "two").ok());
  EXPECT_THAT(store_->TakeUnused(), IsEmpty()) << "they have just been put";
  EXPECT_EQ(store_->TakeUnused().size(), 2u);
  EXPECT_TRUE(store_->Has(two));
  ASSERT_TRUE(store_->RemoveUnused(one).ok());
  ASSERT_TRUE(store_->RemoveUnused(one).ok()) << "again";
  ASSERT_TRUE(store_->RemoveUnused(two).ok()) << "no-op: it was asked for";
  EXPECT_FALSE(store_->Has(one));
  EXPECT_TRUE(store_->Has(two));
  EXPECT_EQ(fs_.List("/blobs")->size(), 1u);
}

}  // namespace
}  // namespace millrace::master
