#include "master/service/check_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

proto::JobSpec GoodSpec() {
  proto::JobSpec spec;
  spec.set_name("wordcount");
  spec.set_program_sha256(std::string(32, 'p'));
  spec.set_program_name("wordcount");
  spec.mutable_description()->set_task_protocol(proto::TASK_PROTOCOL_VERSION);
  spec.add_inputs("/data/in");
  spec.set_output("/data/out");
  return spec;
}

void ExpectRefused(const proto::JobSpec& spec, const std::string& part) {
  const absl::Status status = CheckSpec(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

TEST(CheckSpecTest, AcceptsWhatIsRight) {
  EXPECT_TRUE(CheckSpec(GoodSpec()).ok()) << CheckSpec(GoodSpec());
  proto::JobSpec rows = GoodSpec();
  rows.clear_inputs();
  rows.set_sequence_rows(10);
  EXPECT_TRUE(CheckSpec(rows).ok()) << CheckSpec(rows);
}

TEST(CheckSpecTest, OutputHasOneSpelling) {
  for (const char* output :
       {"", "out", "/", "/data/out/", "/data//out", "/data/./out",
        "/data/../out", "/data/out/.", "//out"}) {
    SCOPED_TRACE(output);
    proto::JobSpec spec = GoodSpec();
    spec.set_output(output);
    ExpectRefused(spec, "output");
  }
  proto::JobSpec spec = GoodSpec();
  spec.set_output("/data/out..put/.hidden");
  EXPECT_TRUE(CheckSpec(spec).ok()) << CheckSpec(spec);
}

TEST(CheckSpecTest, NamesWhatIsWrong) {
  proto::JobSpec spec = GoodSpec();
  spec.clear_inputs();
  ExpectRefused(spec, "no input");
  spec = GoodSpec();
  spec.add_inputs("relative/path");
  ExpectRefused(spec, "\"relative/path\" is no absolute path");
  spec = GoodSpec();
  spec.add_inputs(std::string("/a\0b", 4));
  ExpectRefused(spec, "NUL");
  spec = GoodSpec();
  spec.set_program_sha256("short");
  ExpectRefused(spec, "the program");
  spec = GoodSpec();
  spec.mutable_description()->set_task_protocol(99);
  spec.mutable_description()->set_millrace_version("9.9");
  ExpectRefused(spec, "built with Millrace 9.9");
  spec = GoodSpec();
  spec.set_name("");
  ExpectRefused(spec, "name");
  spec = GoodSpec();
  spec.set_num_reducers(10'001);
  ExpectRefused(spec, "10001 reducers");
  spec = GoodSpec();
  spec.set_map_output_codec("brotli");
  ExpectRefused(spec, "none of none, lz4, zstd");
  spec = GoodSpec();
  spec.set_memory_budget_bytes(1000);
  ExpectRefused(spec, "1000 bytes");
  spec = GoodSpec();
  spec.set_task_timeout_ms(-1);
  ExpectRefused(spec, "-1 ms");
  spec = GoodSpec();
  spec.set_task_time_limit_ms(-2);
  ExpectRefused(spec, "-2 ms");
  spec = GoodSpec();
  spec.set_max_attempts(5000);
  ExpectRefused(spec, "5000 attempts");
}

TEST(CheckSpecTest, SideFilesAreNamedByOneComponent) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"),
        std::string("a\0b", 3), std::string(300, 'x')}) {
    SCOPED_TRACE(name);
    proto::JobSpec spec = GoodSpec();
    proto::SideBlob* file = spec.add_side_files();
    file->set_name(name);
    file->set_sha256(std::string(32, 's'));
    ExpectRefused(spec, "side file");
  }
  proto::JobSpec spec = GoodSpec();
  proto::SideBlob* file = spec.add_side_files();
  file->set_name("stop words.txt");
  file->set_sha256("short");
  ExpectRefused(spec, "side file \"stop words.txt\": a SHA-256");
  file->set_sha256(std::string(32, 's'));
  EXPECT_TRUE(CheckSpec(spec).ok()) << CheckSpec(spec);
  EXPECT_THAT(BlobsOf(spec),
              ElementsAre(std::string(32, 'p'), std::string(32, 's')));
}

TEST(CheckSpecTest, DefaultsFillWhatIsZeroAndNothingElse) {
  proto::JobSpec spec = GoodSpec();
  FillDefaults(spec);
  EXPECT_EQ(spec.memory_budget_bytes(), 512u << 20);
  EXPECT_GT(spec.memory_limit_bytes(), spec.memory_budget_bytes());
  EXPECT_EQ(spec.map_output_codec(), "lz4");
  EXPECT_EQ(spec.max_attempts(), 4u);
  proto::JobSpec chosen = GoodSpec();
  chosen.set_memory_budget_bytes(1 << 30);
  chosen.set_memory_limit_bytes(3);
  chosen.set_log_bytes_max(4);
  chosen.set_max_attempts(5);
  chosen.set_map_output_codec("none");
  const std::string before = chosen.SerializeAsString();
  FillDefaults(chosen);
  EXPECT_EQ(chosen.SerializeAsString(), before);
}

}  // namespace
}  // namespace millrace::master
