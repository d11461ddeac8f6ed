#include "storage/commit/manifest_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/version.h"

namespace millrace::storage {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(ManifestBuilderTest, HeaderAndPlanMakeTheHead) {
  ManifestHeader header;
  header.job = *JobId::FromHex(std::string(32, '5'));
  header.job_name = "sort";
  header.output_format = "fixed";
  header.record_bytes = 100;
  header.created_at = absl::FromUnixSeconds(86'400);
  proto::TaskDone plan;
  plan.set_plan_hash("\x01\x02");
  plan.set_num_maps(7);
  plan.set_num_partitions(3);
  plan.set_input_files(2);
  plan.set_input_bytes(12'345);
  const Manifest manifest = StartManifest(header, plan);
  EXPECT_EQ(manifest.job_id, std::string(32, '5'));
  EXPECT_EQ(manifest.job_name, "sort");
  EXPECT_EQ(manifest.version, Version());
  EXPECT_EQ(manifest.created_at, "1970-01-02T00:00:00+00:00");
  EXPECT_EQ(manifest.output_format, "fixed");
  EXPECT_EQ(manifest.record_bytes, 100u);
  EXPECT_EQ(manifest.plan_hash, "0102");
  EXPECT_EQ(manifest.maps, 7u);
  EXPECT_EQ(manifest.partitions, 3u);
  EXPECT_EQ(manifest.input_files, 2u);
  EXPECT_EQ(manifest.input_bytes, 12'345u);
}

TEST(ManifestBuilderTest, CountersAndLedgersAddUp) {
  Manifest manifest;
  proto::TaskDone done;
  proto::Counter* counter = done.add_counters();
  counter->set_group("g");
  counter->set_name("n");
  counter->set_value(-3);
  AddCounters(done.counters(), &manifest);
  AddCounters(done.counters(), &manifest);
  EXPECT_EQ(manifest.counters["g"]["n"], -6);

  proto::Ledger map;
  map.set_emitted_records(10);
  map.set_combine_in_records(10);
  map.mutable_combine_out()->set_records(4);
  map.mutable_combine_out()->set_hash(~uint64_t{0});
  map.mutable_written()->set_records(4);
  std::map<std::string, uint64_t> lines;
  AddLedger(map, &lines);
  AddLedger(map, &lines);
  EXPECT_THAT(
      lines, ElementsAre(Pair("combine_in_records", 20),
                         Pair("combine_out_hash", ~uint64_t{0} - 1),
                         Pair("combine_out_records", 8),
                         Pair("emitted_records", 20), Pair("output_records", 0),
                         Pair("written_hash", 0), Pair("written_records", 8)));
  proto::Ledger reduce;
  reduce.mutable_fetched()->set_records(8);
  reduce.mutable_merged()->set_records(8);
  reduce.set_output_records(5);
  AddLedger(reduce, &lines);
  EXPECT_EQ(lines["fetched_records"], 8u);
  EXPECT_EQ(lines["merged_records"], 8u);
  EXPECT_EQ(lines["output_records"], 5u);
}

TEST(ManifestBuilderTest, FilesKeepTheirOrderAndPublishedNames) {
  Manifest manifest;
  proto::OutputFile file;
  file.set_path("/staging/somewhere");
  file.set_bytes(9);
  file.set_records(2);
  file.set_xxh3(77);
  AddFile("part-00001", file, *AttemptUid::FromHex(std::string(32, '6')),
          &manifest.files);
  ASSERT_EQ(manifest.files.size(), 1u);
  EXPECT_EQ(manifest.files[0].name, "part-00001");
  EXPECT_EQ(manifest.files[0].bytes, 9u);
  EXPECT_EQ(manifest.files[0].records, 2u);
  EXPECT_EQ(manifest.files[0].xxh3, 77u);
  EXPECT_EQ(manifest.files[0].attempt_uid, std::string(32, '6'));
}

}  // namespace
}  // namespace millrace::storage
