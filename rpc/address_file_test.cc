#include "rpc/address_file.h"

#include <gtest/gtest.h>

#include "tests/testing/memory_file_system.h"

namespace millrace::rpc {
namespace {

TEST(AddressFileTest, ReplacesWhatAnEarlierStartLeft) {
  MemoryFileSystem fs;
  ASSERT_TRUE(WriteAddressFile(fs, "/address", "127.0.0.1:1").ok());
  fs.SetContents("/address.new", "127.0");  // Cut off while it was written.
  ASSERT_TRUE(WriteAddressFile(fs, "/address", "127.0.0.1:23").ok());
  EXPECT_EQ(fs.Contents("/address"), "127.0.0.1:23\n");
  EXPECT_EQ(fs.AllFiles(), std::vector<std::string>{"/address"});
  EXPECT_EQ(WriteAddressFile(fs, "/no/such", "127.0.0.1:1").code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace millrace::rpc
