#include "supervisor/status_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace millrace::supervisor {
namespace {

using Mapping = std::unique_ptr<StatusPageMapping>;

TEST(StatusPageTest, OneSideSeesWhatTheOtherWrites) {
  const Mapping ours(StatusPageMapping::CreateOrNull());
  ASSERT_NE(ours, nullptr);
  const Mapping theirs(StatusPageMapping::MapOrNull(dup(ours->fd())));
  ASSERT_NE(theirs, nullptr);
  theirs->page().progress = 17;
  theirs->page().crash_stack.Set("  at main");
  EXPECT_EQ(ours->page().progress, 17u);
  EXPECT_EQ(ours->page().crash_stack.Get(), "  at main");
}

TEST(StatusPageTest, OfAnotherVersionCanBeWrittenAndIsLeftAlone) {
  constexpr size_t kBytes = 4096;
  static_assert(kBytes < sizeof(StatusPage));
  const int file = memfd_create("small", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(ftruncate(file, kBytes), 0);
  const Mapping mapping(StatusPageMapping::MapOrNull(dup(file)));
  ASSERT_NE(mapping, nullptr);
  EXPECT_EQ(mapping->page().supervisor_stop_limit_ms, 0u);
  mapping->page().progress = 17;
  mapping->page().crash_stack.Set(std::string(10'000, 's'));
  std::string bytes(kBytes, 'x');
  ASSERT_EQ(pread(file, bytes.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
  EXPECT_EQ(bytes, std::string(kBytes, '\0'));
  close(file);
}

TEST(StatusPageTest, NoFileIsNoPage) {
  EXPECT_EQ(StatusPageMapping::MapOrNull(-1), nullptr);
}

}  // namespace
}  // namespace millrace::supervisor
