// _MANIFEST: any bytes, and any text under a right self hash; what is accepted
// must come back the same from a second writing.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "storage/commit/manifest.h"

namespace millrace::storage {
namespace {

void Check(const std::string& json) {
  const absl::StatusOr<Manifest> manifest = ParseManifest(json);
  if (!manifest.ok()) {
    CHECK(absl::IsDataLoss(manifest.status())) << manifest.status();
    return;
  }
  const std::string once = SerializeManifest(*manifest);
  const absl::StatusOr<Manifest> again = ParseManifest(once);
  CHECK(again.ok()) << again.status();
  CHECK_EQ(SerializeManifest(*again), once);
  for (const ManifestFile& file : manifest->files) {
    CHECK(file.name.find('/') == std::string::npos && file.name != "..");
  }
}

}  // namespace
}  // namespace millrace::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  millrace::storage::Check(text);
  text += millrace::Cat("  \"self_xxh3\": \"",
                        absl::StrFormat("%016x", millrace::Hash64(text)),
                        "\"\n}\n");
  millrace::storage::Check(text);
  return 0;
}
