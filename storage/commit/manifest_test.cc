#include "storage/commit/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "common/hash.h"
#include "common/strings.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Manifest Example() {
  Manifest manifest;
  manifest.job_id = "000102030405060708090a0b0c0d0e0f";
  manifest.job_name = "wordcount";
  manifest.version = "0.1.0";
  manifest.created_at = "2026-01-02T03:04:05Z";
  manifest.output_format = "text";
  manifest.plan_hash = "ffeeddccbbaa99887766554433221100";
  manifest.maps = 3;
  manifest.partitions = 2;
  manifest.input_files = 7;
  manifest.input_bytes = uint64_t{1} << 60;
  manifest.files = {{"part-00000", 4, 1, Hash64("a\t1\n"), "aa"},
                    {"part-00001", 0, 0, Hash64(""), "bb"}};
  manifest.counters["TASK"]["MAP_INPUT_RECORDS"] = 12;
  manifest.counters["user"]["negative"] = std::numeric_limits<int64_t>::min();
  manifest.ledger["emitted_records"] = std::numeric_limits<uint64_t>::max();
  manifest.ledger["written_hash"] = 0xFFFFFFFFFFFFFFFE;
  return manifest;
}

// Ends a body as SerializeManifest does, so that other content can be tried.
std::string Seal(const std::string& body) {
  return Cat(body, "  \"self_xxh3\": \"",
             absl::StrFormat("%016x", Hash64(body)), "\"\n}\n");
}

std::string Body(const Manifest& manifest) {
  const std::string json = SerializeManifest(manifest);
  return json.substr(0, json.rfind("  \"self_xxh3\""));
}

// The bytes that docs/formats.md describes; they do not change by accident.
TEST(ManifestTest, CanonicalText) {
  const std::string body = R"({
  "counters": {
    "TASK": {
      "MAP_INPUT_RECORDS": 12
    },
    "user": {
      "negative": -9223372036854775808
    }
  },
  "created_at": "2026-01-02T03:04:05Z",
  "files": [
    {
      "attempt": "aa",
      "bytes": 4,
      "name": "part-00000",
      "records": 1,
      "xxh3": "f2188c2d5315d2dc"
    },
    {
      "attempt": "bb",
      "bytes": 0,
      "name": "part-00001",
      "records": 0,
      "xxh3": "2d06800538d394c2"
    }
  ],
  "format": "millrace-manifest",
  "format_version": 1,
  "input_bytes": 1152921504606846976,
  "input_files": 7,
  "job_id": "000102030405060708090a0b0c0d0e0f",
  "job_name": "wordcount",
  "ledger": {
    "emitted_records": 18446744073709551615,
    "written_hash": "fffffffffffffffe"
  },
  "maps": 3,
  "output_format": "text",
  "partitions": 2,
  "plan_xxh3": "ffeeddccbbaa99887766554433221100",
  "version": "0.1.0",
)";
  EXPECT_EQ(SerializeManifest(Example()), Seal(body));
}

TEST(ManifestTest, RoundTrip) {
  Manifest manifest = Example();
  manifest.output_format = "fixed";
  manifest.record_bytes = 100;
  manifest.job_name =
      "quote\" slash\\ newline\n \x01 \xC3\xA9 \xF0\x9F\x98\x80";
  const std::string json = SerializeManifest(manifest);
  const absl::StatusOr<Manifest> parsed = ParseManifest(json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->job_id, manifest.job_id);
  EXPECT_EQ(parsed->job_name, manifest.job_name);
  EXPECT_EQ(parsed->version, manifest.version);
  EXPECT_EQ(parsed->created_at, manifest.created_at);
  EXPECT_EQ(parsed->output_format, "fixed");
  EXPECT_EQ(parsed->record_bytes, 100u);
  EXPECT_EQ(parsed->plan_hash, manifest.plan_hash);
  EXPECT_EQ(parsed->maps, 3u);
  EXPECT_EQ(parsed->partitions, 2u);
  EXPECT_EQ(parsed->input_files, 7u);
  EXPECT_EQ(parsed->input_bytes, uint64_t{1} << 60);
  EXPECT_EQ(parsed->counters, manifest.counters);
  EXPECT_EQ(parsed->ledger, manifest.ledger);
  ASSERT_EQ(parsed->files.size(), 2u);
  EXPECT_EQ(parsed->files[0].name, "part-00000");
  EXPECT_EQ(parsed->files[0].bytes, 4u);
  EXPECT_EQ(parsed->files[0].records, 1u);
  EXPECT_EQ(parsed->files[0].xxh3, Hash64("a\t1\n"));
  EXPECT_EQ(parsed->files[0].attempt_uid, "aa");
  EXPECT_EQ(SerializeManifest(*parsed), json);
}

TEST(ManifestTest, BytesThatAreNoUtf8AreEscaped) {
  Manifest manifest = Example();
  // Bare continuation, overlong, surrogate, too large, cut off; then good ones.
  manifest.job_name =
      "\x80 \xC0\xAF \xED\xA0\x80 \xF4\x90\x80\x80 \xE2\x82 "
      "\xE2\x82\xAC \xED\x9F\xBF \xF4\x8F\xBF\xBF";
  manifest.counters["\xFF"]["\xFE"] = 1;
  const absl::StatusOr<Manifest> parsed =
      ParseManifest(SerializeManifest(manifest));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->job_name,
            "\\x80 \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 "
            "\\xe2\\x82 \xE2\x82\xAC \xED\x9F\xBF \xF4\x8F\xBF\xBF");
  EXPECT_EQ(parsed->counters.at("\\xff").at("\\xfe"), 1);
}

TEST(ManifestTest, EveryChangedByteIsNoticed) {
  const std::string json = SerializeManifest(Example());
  for (size_t i = 0; i < json.size(); ++i) {
    std::string damaged = json;
    damaged[i] ^= 1;
    EXPECT_EQ(ParseManifest(damaged).status().code(),
              absl::StatusCode::kDataLoss)
        << "byte " << i;
    EXPECT_EQ(ParseManifest(json.substr(0, i)).status().code(),
              absl::StatusCode::kDataLoss)
        << "cut at " << i;
  }
  EXPECT_EQ(ParseManifest(json + " ").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(ManifestTest, UnknownMembersAreIgnored) {
  const std::string body = absl::StrReplaceAll(
      Body(Example()),
      {{"  \"maps\": 3,\n", "  \"later\": [{}, null],\n  \"maps\": 3,\n"},
       {"      \"bytes\": 4,\n", "      \"bytes\": 4,\n      \"x\": 1,\n"}});
  const absl::StatusOr<Manifest> parsed = ParseManifest(Seal(body));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->files.size(), 2u);
}

TEST(ManifestTest, WrongContentIsRefusedWithItsPlace) {
  struct Case {
    const char* from;
    const char* to;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{
           {"\"format_version\": 1", "\"format_version\": 2", "newer"},
           {"millrace-manifest", "millrace-other", "\"format\""},
           {"  \"maps\": 3,\n", "", "\"maps\""},
           {"\"maps\": 3", "\"maps\": -3", "\"maps\""},
           {"\"maps\": 3", "\"maps\": 4294967296", "\"maps\""},
           {"\"maps\": 3", "\"maps\": 3.0", "\"maps\""},
           {"\"maps\": 3", "\"maps\": \"3\"", "\"maps\""},
           {"\"output_format\": \"text\"", "\"output_format\": \"fixed\"",
            "\"record_bytes\""},
           {"\"bytes\": 4", "\"bytes\": null", "files[0]"},
           {"\"name\": \"part-00001\"", "\"name\": \"part-00000\"", "files[1]"},
           {"\"name\": \"part-00001\"", "\"name\": \"../x\"", "files[1]"},
           {"\"name\": \"part-00001\"", "\"name\": \"..\"", "files[1]"},
           {"\"name\": \"part-00001\"", "\"name\": \"\"", "files[1]"},
           {"\"name\": \"part-00001\"", "\"name\": \"a\\u0000\"", "files[1]"},
           {"\"name\": \"part-00001\"", "\"name\": \"_MANIFEST\"", "files[1]"},
           {"\"xxh3\": \"2d06800538d394c2\"", "\"xxh3\": \"2d06\"", "files[1]"},
           {"\"xxh3\": \"2d06800538d394c2\"", "\"xxh3\": \"-d06800538d394c2\"",
            "files[1]"},
           {"\"MAP_INPUT_RECORDS\": 12", "\"MAP_INPUT_RECORDS\": 1.5",
            "counter"},
           {"\"MAP_INPUT_RECORDS\": 12",
            "\"MAP_INPUT_RECORDS\": 9223372036854775808", "counter"},
           {"\"written_hash\": \"fffffffffffffffe\"", "\"written_hash\": \"x\"",
            "written_hash"},
           {"\"emitted_records\": 18446744073709551615",
            "\"emitted_records\": 18446744073709551616", "emitted_records"},
           {"  \"version\"", "  version", "parse error"},
       }) {
    std::string body = Body(Example());
    const size_t at = body.find(c.from);
    ASSERT_NE(at, std::string::npos) << c.from;
    body.replace(at, std::string(c.from).size(), c.to);
    const absl::Status status = ParseManifest(Seal(body)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << c.to;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
  for (const char* body : {"", "[\n", "{\n", "{\"files\": {},\n"}) {
    EXPECT_EQ(ParseManifest(Seal(body)).status().code(),
              absl::StatusCode::kDataLoss)
        << body;
  }
}

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() {
    fs_.SetContents("/out/part-00000", "a\t1\n");
    fs_.SetContents("/out/part-00001", "");
    fs_.SetContents("/out/_MANIFEST", SerializeManifest(Example()));
  }

  std::vector<std::string> Problems() {
    const absl::StatusOr<VerifyReport> report = VerifyOutput(fs_, "/out");
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? report->problems : std::vector<std::string>{"-"};
  }

  MemoryFileSystem fs_;
};

TEST_F(VerifyTest, AllIsWell) {
  const absl::StatusOr<VerifyReport> report = VerifyOutput(fs_, "/out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files, 2u);
  EXPECT_EQ(report->bytes, 4u);
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(ReadManifest(fs_, "/out/")->job_name, "wordcount");
}

TEST_F(VerifyTest, EachProblemIsNamed) {
  fs_.SetContents("/out/part-00000", "a\t2\n");
  EXPECT_THAT(Problems(), ElementsAre(AllOf(HasSubstr("/out/part-00000"),
                                            HasSubstr("other bytes"),
                                            HasSubstr("f2188c2d5315d2dc"))));
  fs_.SetContents("/out/part-00000", "a\t1");
  fs_.SetContents("/out/part-00002", "more");
  fs_.SetContents("/out/_SUCCESS", "");
  fs_.SetContents("/out/.hidden", "");
  ASSERT_TRUE(fs_.RemoveFile("/out/part-00001").ok());
  EXPECT_THAT(
      Problems(),
      ElementsAre(HasSubstr("part-00000 has 3 bytes, the manifest says 4"),
                  HasSubstr("part-00001 is missing"),
                  HasSubstr("part-00002 is not in the manifest")));
}

TEST_F(VerifyTest, UnreadableFileIsAProblemAndTheOthersAreStillRead) {
  FaultyFileSystem faulty(fs_);
  faulty.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kRead && path == "/out/part-00000"
               ? absl::DataLossError("Input/output error")
               : absl::OkStatus();
  });
  const absl::StatusOr<VerifyReport> report = VerifyOutput(faulty, "/out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files, 2u);
  EXPECT_THAT(report->problems,
              ElementsAre(AllOf(HasSubstr("offset 0"),
                                HasSubstr("Input/output error"))));
}

TEST_F(VerifyTest, NoOutputNoManifestBadManifest) {
  absl::Status status = VerifyOutput(fs_, "/none").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/none is not there"));
  fs_.SetContents("/plain/part-00000", "");
  status = ReadManifest(fs_, "/plain").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/plain is no committed output"));
  fs_.SetContents("/plain/_MANIFEST", "{}\n");
  status = ReadManifest(fs_, "/plain").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/plain/_MANIFEST"));
}

}  // namespace
}  // namespace millrace::storage
