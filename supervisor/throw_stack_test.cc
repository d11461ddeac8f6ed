#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

#include "supervisor/child_main.h"
#include "supervisor/stack_trace.h"

namespace millrace::supervisor {

// With external linkage, so that they have names under every compiler.
__attribute__((noinline)) void ThrowHere() { throw std::range_error("here"); }
__attribute__((noinline)) void ThrowThere() {
  ThrowHere();
  asm volatile("");  // Keeps the call from being a jump.
}

namespace {

using testing::HasSubstr;
using testing::Not;

std::string StackOfCatch(void (*fn)()) {
  try {
    fn();
  } catch (const std::exception&) {
  }
  return TakeThrowStack();
}

TEST(ThrowStackTest, NamesFramesFromTheThrowOutwards) {
  SetThrowRecording(true);
  const std::string stack = StackOfCatch(ThrowThere);
  SetThrowRecording(false);
  EXPECT_THAT(stack,
              testing::StartsWith("  at millrace::supervisor::ThrowHere()\n"
                                  "  at millrace::supervisor::ThrowThere()\n"));
  EXPECT_THAT(stack, Not(HasSubstr("__cxa_throw")));
  EXPECT_THAT(stack, testing::EndsWith("  at main\n"));
  EXPECT_EQ(TakeThrowStack(), "") << "taken once";
}

TEST(ThrowStackTest, RecordsOnlyWhenToldTo) {
  EXPECT_EQ(StackOfCatch(ThrowThere), "");
  SetThrowRecording(true);
  SetThrowRecording(false);
  EXPECT_EQ(StackOfCatch(ThrowThere), "");
}

TEST(ThrowStackTest, AnEarlierThrowIsForgottenWhenRecordingStarts) {
  SetThrowRecording(true);
  try {
    ThrowHere();
  } catch (const std::exception&) {
  }
  SetThrowRecording(false);
  SetThrowRecording(true);
  EXPECT_EQ(TakeThrowStack(), "");
  SetThrowRecording(false);
}

TEST(ThrowStackTest, StacksOutliveTheEndOfRecording) {
  SetThrowRecording(true);
  try {
    ThrowHere();
  } catch (const std::exception&) {
  }
  SetThrowRecording(false);
  EXPECT_THAT(TakeThrowStack(), HasSubstr("ThrowHere"));
}

TEST(ThrowStackTest, ThreadsRecordForThemselves) {
  SetThrowRecording(true);
  std::thread([] { EXPECT_EQ(StackOfCatch(ThrowThere), ""); }).join();
  EXPECT_EQ(TakeThrowStack(), "");
  SetThrowRecording(false);
}

TEST(ThrowStackTest, ThrowsFromTheLibraryAreSeenToo) {
  SetThrowRecording(true);
  try {
    const std::string text = "abc";
    (void)text.at(static_cast<size_t>(text.size() + 1));
    FAIL() << "did not throw";
  } catch (const std::out_of_range&) {
  }
  SetThrowRecording(false);
  EXPECT_THAT(TakeThrowStack(), HasSubstr("ThrowStackTest"));
}

TEST(FormatStackTest, CutsAtTheEndOfTheBuffer) {
  PrepareStackTraces();
  void* pcs[] = {reinterpret_cast<void*>(&ThrowHere),
                 reinterpret_cast<void*>(&ThrowHere)};
  const std::string line = "  at millrace::supervisor::ThrowHere()\n";
  char text[256];
  EXPECT_EQ(std::string(text, FormatStack(pcs, 1, true, text, sizeof text)),
            line);
  EXPECT_EQ(std::string(text, FormatStack(pcs, 1, true, text, line.size())),
            line);
  EXPECT_EQ(FormatStack(pcs, 1, true, text, line.size() - 1), 0u);
}

TEST(FormatStackTest, UnknownAddressesShowWhatTheyAre) {
  void* pcs[] = {reinterpret_cast<void*>(0x10)};
  char text[256];
  EXPECT_EQ(std::string(text, FormatStack(pcs, 1, true, text, sizeof text)),
            "  at (0x10)\n");
}

TEST(DemangleStackTest, LeavesOtherLinesAlone) {
  EXPECT_EQ(DemangleStack("  at _ZN3foo3barEv\n  at main\n  at _Zx\n"),
            "  at foo::bar()\n  at main\n  at _Zx\n");
  EXPECT_EQ(DemangleStack(""), "");
}

}  // namespace
}  // namespace millrace::supervisor
