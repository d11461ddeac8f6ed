// From what tasks report to the _MANIFEST of their job: the same for a local
// run and for a cluster.
#ifndef MILLRACE_STORAGE_COMMIT_MANIFEST_BUILDER_H_
#define MILLRACE_STORAGE_COMMIT_MANIFEST_BUILDER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "proto/messages/task.pb.h"
#include "storage/commit/manifest.h"

namespace millrace::storage {

struct ManifestHeader {
  JobId job;
  std::string job_name;
  std::string output_format;  // "text" or "fixed".
  uint32_t record_bytes = 0;
  absl::Time created_at;
};

// A manifest that has everything but files, counters and ledger. `plan`: what
// the planning task reported.
Manifest StartManifest(const ManifestHeader& header,
                       const proto::TaskDone& plan);

// Adds up, group by group and name by name.
void AddCounters(const google::protobuf::RepeatedPtrField<proto::Counter>& from,
                 Manifest* manifest);

// Adds a task's lines to a job's. The lines are "emitted_records",
// "combine_in_records" and, for combine_out, written, fetched and merged,
// "<sum>_records" and "<sum>_hash"; "output_records"; "skipped_records" if
// there are any.
void AddLedger(const proto::Ledger& from, std::map<std::string, uint64_t>* to);

// The next file of `files`, which is the manifest's list of part files or of
// dead letters, under its published name. In partition order, or that of the
// maps.
void AddFile(const std::string& name, const proto::OutputFile& file,
             const AttemptUid& uid, std::vector<ManifestFile>* files);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_COMMIT_MANIFEST_BUILDER_H_
