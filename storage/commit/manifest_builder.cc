#include "storage/commit/manifest_builder.h"

#include "common/strings.h"
#include "common/version.h"

namespace millrace::storage {

Manifest StartManifest(const ManifestHeader& header,
                       const proto::TaskDone& plan) {
  Manifest manifest;
  manifest.job_id = header.job.ToHex();
  manifest.job_name = header.job_name;
  manifest.version = std::string(Version());
  manifest.created_at = absl::FormatTime(absl::RFC3339_sec, header.created_at,
                                         absl::UTCTimeZone());
  manifest.output_format = header.output_format;
  manifest.record_bytes = header.record_bytes;
  manifest.plan_hash = HexEncode(plan.plan_hash());
  manifest.maps = plan.num_maps();
  manifest.partitions = plan.num_partitions();
  manifest.input_files = plan.input_files();
  manifest.input_bytes = plan.input_bytes();
  return manifest;
}

void AddCounters(const google::protobuf::RepeatedPtrField<proto::Counter>& from,
                 Manifest* manifest) {
  for (const proto::Counter& counter : from) {
    manifest->counters[counter.group()][counter.name()] += counter.value();
  }
}

void AddLedger(const proto::Ledger& from, std::map<std::string, uint64_t>* to) {
  std::map<std::string, uint64_t>& lines = *to;
  lines["emitted_records"] += from.emitted_records();
  lines["output_records"] += from.output_records();
  if (from.skipped_records() > 0) {
    lines["skipped_records"] += from.skipped_records();
  }
  const auto add_sum = [&](const char* line, const proto::RecordSum& sum) {
    lines[Cat(line, "_records")] += sum.records();
    lines[Cat(line, "_hash")] += sum.hash();
  };
  if (from.has_combine_out()) {
    lines["combine_in_records"] += from.combine_in_records();
    add_sum("combine_out", from.combine_out());
  }
  if (from.has_written()) add_sum("written", from.written());
  if (from.has_fetched()) add_sum("fetched", from.fetched());
  if (from.has_merged()) add_sum("merged", from.merged());
}

void AddFile(const std::string& name, const proto::OutputFile& file,
             const AttemptUid& uid, std::vector<ManifestFile>* files) {
  ManifestFile& out = files->emplace_back();
  out.name = name;
  out.bytes = file.bytes();
  out.records = file.records();
  out.xxh3 = file.xxh3();
  out.attempt_uid = uid.ToHex();
}

}  // namespace millrace::storage
