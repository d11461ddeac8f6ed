// The checkers see what they are there for: each is shown an output that is
// right, and one that is not in every way it looks for.
#include "tests/chaos/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/strings.h"
#include "tests/chaos/output_watcher.h"
#include "tests/testing/temp_dir.h"

namespace millrace::chaostest {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ChecksTest : public ::testing::Test {
 protected:
  ChecksTest() {
    Make("out");
    Make("local");
  }

  void Make(const std::string& name) {
    temp_.Write(name + "/part-00000", "a\t1\n");
    temp_.Write(name + "/part-00001", "b\t2\n");
    json ledger = {{"emitted_records", 3},
                   {"combine_in_records", 3},
                   {"output_records", 2}};
    for (const char* line : {"combine_out", "written", "fetched", "merged"}) {
      ledger[Cat(line, "_records")] = 2;
      ledger[Cat(line, "_hash")] = "0123456789abcdef";
    }
    manifest_ = {{"files",
                  {{{"name", "part-00000"}, {"bytes", 4}},
                   {{"name", "part-00001"}, {"bytes", 4}}}},
                 {"ledger", ledger},
                 {"counters",
                  {{"millrace",
                    {{"MAP_INPUT_RECORDS", 3},
                     {"REDUCE_SHUFFLE_BYTES", 100},
                     {"SPILLED_RECORDS", 7}}}}}};
    WriteManifest(name);
  }
  void WriteManifest(const std::string& name) {
    temp_.Write(name + "/_MANIFEST", manifest_.dump());
  }

  std::string Look() {
    bool present = false;
    return LookAtOutput(temp_ / "out", &present);
  }
  Findings Ledgers() { return CompareLedgers(temp_ / "out", temp_ / "local"); }

  TempDir temp_;
  json manifest_;
};

TEST_F(ChecksTest, OutputIsAbsentOrComplete) {
  bool present = true;
  EXPECT_EQ(LookAtOutput(temp_ / "nothing", &present), "");
  EXPECT_FALSE(present);
  EXPECT_EQ(LookAtOutput(temp_ / "out", &present), "");
  EXPECT_TRUE(present);
}

TEST_F(ChecksTest, OutputInPartIsSeen) {
  temp_.Write("out/part-00001", "b\t");
  EXPECT_THAT(Look(), HasSubstr("part-00001 has 2 bytes, not 4"));
  std::filesystem::remove(temp_ / "out/part-00001");
  EXPECT_THAT(Look(), HasSubstr("lacks part-00001"));
  temp_.Write("out/part-00001", "b\t2\n");
  temp_.Write("out/part-00002", "");
  EXPECT_THAT(Look(), HasSubstr("holds part-00002"));
  std::filesystem::remove(temp_ / "out/part-00002");
  EXPECT_EQ(Look(), "");
  temp_.Write("out/_MANIFEST", manifest_.dump().substr(0, 20));
  EXPECT_THAT(Look(), HasSubstr("damaged"));
  std::filesystem::remove(temp_ / "out/_MANIFEST");
  EXPECT_THAT(Look(), HasSubstr("no _MANIFEST"));
}

TEST_F(ChecksTest, DeadLettersAreOfTheSameRecords) {
  const auto letter = [](int offset, const std::string& stack) {
    return json{{"file", "a"},       {"offset", offset},
                {"cause", "SIGNAL"}, {"message", "SIGSEGV at " + stack},
                {"stack", stack},    {"record", "key7 x"}}
               .dump() +
           "\n";
  };
  temp_.Write("out/_dead_letter-00003", letter(17, "0x1"));
  EXPECT_THAT(Look(), HasSubstr("holds _dead_letter-00003"));
  manifest_["dead_letters"] = {
      {{"name", "_dead_letter-00003"}, {"bytes", letter(17, "0x1").size()}}};
  WriteManifest("out");
  EXPECT_EQ(Look(), "");
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"),
              ElementsAre(HasSubstr("other files")));
  temp_.Write("local/_dead_letter-00003", letter(17, "0x2345"));
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"), IsEmpty());
  temp_.Write("local/_dead_letter-00003", letter(18, "0x1"));
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"),
              ElementsAre(HasSubstr("_dead_letter-00003 differs")));
}

TEST_F(ChecksTest, WatcherSeesWhatIsThereForAMoment) {
  OutputWatcher watcher;
  const auto look_twice = [&] {
    // One look may have begun before.
    const uint64_t looks = watcher.looks();
    while (watcher.looks() < looks + 4) {
    }
  };
  watcher.Watch(temp_ / "early");
  watcher.Watch(temp_ / "out");
  look_twice();
  EXPECT_THAT(watcher.findings(), IsEmpty());
  // A directory that fills, and one that goes.
  std::filesystem::create_directory(temp_ / "early");
  std::filesystem::remove_all(temp_ / "out");
  look_twice();
  std::filesystem::remove_all(temp_ / "early");
  look_twice();
  EXPECT_THAT(watcher.findings(),
              ::testing::UnorderedElementsAre(
                  AllOf(HasSubstr("early"), HasSubstr("no _MANIFEST")),
                  HasSubstr("/out ")));
}

TEST_F(ChecksTest, AByteThatDiffersIsSeen) {
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"), IsEmpty());
  temp_.Write("out/part-00001", "b\t3\n");
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"),
              ElementsAre(HasSubstr("part-00001 differs at byte 2 of 4")));
  std::filesystem::remove(temp_ / "out/part-00001");
  EXPECT_THAT(CompareBytes(temp_ / "out", temp_ / "local"),
              ElementsAre(HasSubstr("other files")));
}

TEST_F(ChecksTest, AJobWithoutInputHasNoLinesOrZeros) {
  manifest_["ledger"] = {{"emitted_records", 0},
                         {"fetched_records", 0},
                         {"fetched_hash", "0000000000000000"}};
  manifest_["counters"] = json::object();
  WriteManifest("local");
  WriteManifest("out");
  EXPECT_THAT(Ledgers(), IsEmpty());
  Make("local");
  EXPECT_FALSE(Ledgers().empty());
}

TEST_F(ChecksTest, ARecordMoreOrLessIsSeen) {
  EXPECT_THAT(Ledgers(), IsEmpty());
  // Other than the local run's, and not one with the other lines.
  manifest_["ledger"]["fetched_records"] = 1;
  WriteManifest("out");
  EXPECT_EQ(Ledgers().size(), 2u);
  manifest_["ledger"]["fetched_records"] = 2;
  manifest_["ledger"]["merged_hash"] = "fedcba9876543210";
  WriteManifest("out");
  EXPECT_EQ(Ledgers().size(), 2u);
  // Both runs agree on what cannot be.
  WriteManifest("local");
  EXPECT_EQ(Ledgers().size(), 1u);
  Make("local");
  manifest_["counters"]["millrace"]["MAP_INPUT_RECORDS"] = 4;
  manifest_["counters"]["millrace"]["REDUCE_SHUFFLE_BYTES"] = 99;
  manifest_["counters"]["millrace"]["SPILLED_RECORDS"] = 8;
  WriteManifest("out");
  EXPECT_THAT(Ledgers(), ElementsAre(HasSubstr("MAP_INPUT_RECORDS is 4")));
  manifest_["counters"] = json::object();
  WriteManifest("out");
  EXPECT_THAT(Ledgers(), ElementsAre(HasSubstr("MAP_INPUT_RECORDS is null")));
  temp_.Write("out/_MANIFEST", "{");
  EXPECT_THAT(Ledgers(), ElementsAre(HasSubstr("no readable manifest")));
}

TEST_F(ChecksTest, NoncesOfTwoAttemptsAreSeen) {
  const auto write = [&](const char* a0, const char* a1, const char* b1) {
    temp_.Write("n/part-00000", Cat("nonce:0:0\t", a0, "\nnonce:0:1\tx\n"));
    temp_.Write("n/part-00001",
                Cat("nonce:1:0\t", a1, "\nnonce:1:1\t", b1, "\n"));
  };
  write("u", "u", "x");
  EXPECT_THAT(CheckNonces(temp_ / "n", 2), IsEmpty());
  EXPECT_FALSE(CheckNonces(temp_ / "n", 3).empty());
  write("u", "v", "x");
  EXPECT_THAT(CheckNonces(temp_ / "n", 2),
              ElementsAre(HasSubstr("map 0 partition 0 has u, partition 1 v")));
  // Twice in both.
  write("u\nnonce:0:0\tu", "u\nnonce:1:0\tu", "x");
  EXPECT_EQ(CheckNonces(temp_ / "n", 2).size(), 1u);
  write("u", "u", "x");
  temp_.Write("n/part-00002", "nonce:0:7\tu\n");
  EXPECT_THAT(CheckNonces(temp_ / "n", 2),
              ElementsAre(HasSubstr("part-00002")));
  temp_.Write("n/part-00001", "");
  EXPECT_EQ(CheckNonces(temp_ / "n", 2).size(), 4u);
}

TEST_F(ChecksTest, LeftoversAreSeen) {
  EXPECT_THAT(LeftBeside(temp_.path(), {"out", "local"}), IsEmpty());
  EXPECT_THAT(LeftBeside(temp_.path(), {"out"}),
              ElementsAre(HasSubstr("/local")));
  std::filesystem::create_directory(temp_ / "spool");
  EXPECT_THAT(LeftBelow(temp_ / "spool"), IsEmpty());
  temp_.Write("spool/job/uid", "");
  EXPECT_EQ(LeftBelow(temp_ / "spool").size(), 2u);
}

}  // namespace
}  // namespace millrace::chaostest
