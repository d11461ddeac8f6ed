// The _MANIFEST of a committed output: what is in it, and what made it.
#ifndef MILLRACE_STORAGE_COMMIT_MANIFEST_H_
#define MILLRACE_STORAGE_COMMIT_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"

namespace millrace::storage {

inline constexpr char kManifestName[] = "_MANIFEST";

struct ManifestFile {
  std::string name;  // "part-00000".
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t xxh3 = 0;
  std::string attempt_uid;  // Hexadecimal: who wrote it.
};

struct Manifest {
  std::string job_id;  // Hexadecimal.
  std::string job_name;
  std::string version;        // Of Millrace.
  std::string created_at;     // RFC 3339, UTC: for people.
  std::string output_format;  // "text" or "fixed".
  uint32_t record_bytes = 0;  // "fixed" only.
  std::string plan_hash;      // Hexadecimal XXH3-128 of the plan's bytes.
  uint32_t maps = 0;
  uint32_t partitions = 0;
  uint64_t input_files = 0;
  uint64_t input_bytes = 0;
  std::vector<ManifestFile> files;  // In partition order.
  // Records that were passed over, in the order of the map tasks.
  std::vector<ManifestFile> dead_letters;
  // Group -> name -> value.
  std::map<std::string, std::map<std::string, int64_t>> counters;
  // Ledger line -> records or hash.
  std::map<std::string, uint64_t> ledger;
};

// Canonical JSON (sorted keys, two spaces, final newline) whose last member
// "self_xxh3" is the XXH3-64 of everything before it. 64-bit hashes are
// hexadecimal strings, because JSON numbers lose bits beyond 2^53.
std::string SerializeManifest(const Manifest& manifest);
// kDataLoss: not a manifest, or its self hash does not fit; the message says
// where. Unknown members are ignored, a higher format version is refused.
absl::StatusOr<Manifest> ParseManifest(std::string_view json);
// Reads <output>/_MANIFEST. kNotFound says that this is no committed output.
absl::StatusOr<Manifest> ReadManifest(FileSystem& fs,
                                      const std::string& output);

struct VerifyReport {
  uint64_t files = 0;
  uint64_t bytes = 0;
  std::vector<std::string> problems;  // One line each; empty: all is well.
};
// Re-reads every file of a committed output, dead letters included, and
// compares it with the manifest; also reports part files that are in the
// directory and not in the manifest.
absl::StatusOr<VerifyReport> VerifyOutput(FileSystem& fs,
                                          const std::string& output);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_COMMIT_MANIFEST_H_
