#include "common/sha256.h"

#include <gtest/gtest.h>

#include "common/file_system.h"
#include "common/strings.h"

namespace millrace {
namespace {

// FIPS 180-4's examples.
TEST(Sha256, GivesThePublishedValues) {
  EXPECT_EQ(HexEncode(Sha256Of("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexEncode(Sha256Of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 million;
  for (int i = 0; i < 1000; ++i) million.Add(std::string(1000, 'a'));
  EXPECT_EQ(HexEncode(million.Finish()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  FileSystem& fs = FileSystem::Posix();
  const std::string path = JoinPath(testing::TempDir(), "sha256_test.bytes");
  fs.RemoveFile(path).IgnoreError();
  std::string bytes;
  for (int i = 0; i < 3000000; ++i) bytes += static_cast<char>(i * 7 % 251);
  ASSERT_TRUE(WriteWholeFile(fs, path, bytes).ok());
  const auto hash = Sha256OfFile(fs, path);
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, Sha256Of(bytes));
  ASSERT_TRUE(fs.RemoveFile(path).ok());
  EXPECT_EQ(Sha256OfFile(fs, path).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace millrace
