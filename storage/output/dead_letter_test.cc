#include "storage/output/dead_letter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "common/hash.h"
#include "common/strings.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using Json = nlohmann::json;

proto::BadRecord Bad(uint64_t offset) {
  proto::BadRecord bad;
  bad.set_offset(offset);
  bad.set_cause(proto::CRASHED);
  bad.set_message("task process crashed: \"signal 11\"");
  bad.set_stack("  at Map()\n  at main\n");
  return bad;
}

class DeadLetterTest : public testing::Test {
 protected:
  DeadLetterTest() { EXPECT_TRUE(fs_.MakeDirectory("/d").ok()); }
  std::vector<Json> Lines() {
    const std::string text = *ReadWholeFile(fs_, "/d/f", 10 << 20);
    std::vector<Json> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!line.empty()) lines.push_back(Json::parse(std::string(line)));
    }
    EXPECT_TRUE(text.empty() || text.back() == '\n');
    return lines;
  }

  MemoryFileSystem fs_;
};

TEST_F(DeadLetterTest, ALineForEachRecord) {
  auto writer = DeadLetterWriter::Create(fs_, "/d/f");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Add(Bad(17), "/in/a \"b\"", "a\tb \u00f6 \\").ok());
  ASSERT_TRUE((*writer)
                  ->Add(Bad(99), "/in/x\xff", std::string_view("\xff\0y", 3))
                  .ok());
  ASSERT_TRUE((*writer)->Add(Bad(5), "", "").ok());
  const absl::StatusOr<PartSummary> part = (*writer)->Finish();
  ASSERT_TRUE(part.ok());
  EXPECT_EQ((*writer)->records(), 3u);
  const std::string bytes = *ReadWholeFile(fs_, "/d/f", 10 << 20);
  EXPECT_EQ(part->bytes, bytes.size());
  EXPECT_EQ(part->xxh3, Hash64(bytes));

  const std::vector<Json> lines = Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["file"], "/in/a \"b\"");
  EXPECT_EQ(lines[0]["offset"], 17);
  EXPECT_EQ(lines[0]["bytes"], 8);
  EXPECT_EQ(lines[0]["cause"], "CRASHED");
  EXPECT_EQ(lines[0]["message"], "task process crashed: \"signal 11\"");
  EXPECT_EQ(lines[0]["stack"], "  at Map()\n  at main\n");
  EXPECT_EQ(lines[0]["record"], "a\tb \u00f6 \\");
  EXPECT_EQ(lines[1]["file"], "/in/x\\xff");
  EXPECT_FALSE(lines[1].contains("record"));
  EXPECT_EQ(lines[1]["record_base64"], "/wB5" /* ff 00 79 */)
      << "bytes as they are";
  EXPECT_EQ(lines[2]["record"], "");
}

TEST_F(DeadLetterTest, LongRecordsAreWrittenInPieces) {
  std::string text;
  for (int i = 0; text.size() < 300'000; ++i) text += Cat("\"", i, "\n");
  std::string binary = text;
  binary[7] = '\xff';
  auto writer = DeadLetterWriter::Create(fs_, "/d/f");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Add(Bad(1), "/in/a", text).ok());
  ASSERT_TRUE((*writer)->Add(Bad(2), "/in/a", binary).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const std::vector<Json> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["record"].get<std::string>(), text);
  std::string decoded;
  ASSERT_TRUE(absl::Base64Unescape(lines[1]["record_base64"].get<std::string>(),
                                   &decoded));
  EXPECT_EQ(decoded, binary);
}

TEST(DeadLetterNameTest, IsNoInputOfOtherJobs) {
  EXPECT_EQ(DeadLetterName(17), "_dead_letter-00017");
  EXPECT_EQ(DeadLetterName(1234567), "_dead_letter-1234567");
}

}  // namespace
}  // namespace millrace::storage
