#include "api/src/local/progress_display.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

namespace millrace::local {
namespace {

// A line that wraps would be left behind by the next one.
TEST(ProgressDisplayTest, LiveLineStaysOnOneRowOfTheTerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  struct winsize size = {};
  size.ws_col = 40;
  ASSERT_EQ(ioctl(terminal, TIOCSWINSZ, &size), 0);
  std::FILE* const out =
      fdopen(open(ptsname(terminal), O_RDWR | O_NOCTTY), "w");
  ASSERT_NE(out, nullptr);

  ProgressSnapshot now;
  now.planned = true;
  now.input_bytes = now.input_bytes_done = 1 << 30;
  now.maps = {.total = 100, .done = 50, .running = 2};
  now.reduces = {.total = 100, .done = 0, .running = 0};
  now.failed_attempts = 7;
  ASSERT_GT(ProgressLine(now, absl::Seconds(1)).size(), 40u);
  {
    ManualClock clock;
    ProgressDisplay display(out, /*live=*/true, "wordcount", clock);
    display.Update(now);
  }
  char text[400];
  const ssize_t n = read(terminal, text, sizeof text);
  ASSERT_GT(n, 0);
  std::string line(text, static_cast<size_t>(n));
  const std::string begin = "\r\033[K";
  ASSERT_THAT(line, ::testing::StartsWith(begin));
  line = line.substr(begin.size());
  line = line.substr(0, line.find('\r'));
  EXPECT_THAT(line, ::testing::StartsWith("wordcount: map 50/100"));
  EXPECT_LT(line.size(), 40u);
  std::fclose(out);
  close(terminal);
}

}  // namespace
}  // namespace millrace::local
