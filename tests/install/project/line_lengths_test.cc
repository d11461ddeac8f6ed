// A unit test without a test framework.
#include <millrace/testing.h>

#include <cstdio>

#include <line_lengths.h>

int main() {
  const auto result = millrace::testing::RunJob(
      LineLengthsJob(), {.files = {{"a", "x\nyy\n"}, {"b", "z"}}});
  if (result.parts.at(0) == "1\t2\n2\t1\n") return 0;
  std::fprintf(stderr, "wrong: %s", result.parts[0].c_str());
  return 1;
}
