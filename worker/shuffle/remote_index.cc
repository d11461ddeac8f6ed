#include "worker/shuffle/remote_index.h"

#include <limits>

#include "common/strings.h"
#include "engine/format/encoding.h"
#include "engine/format/index.h"

namespace millrace::worker {

absl::StatusOr<engine::MapOutputSummary> VerifyRemoteIndex(
    std::string_view bytes, uint64_t index_offset,
    const engine::MapOutputIdentity& identity, uint32_t num_partitions,
    const Hash128Value& root) {
  const std::string name = Cat("map ", identity.map_index, " as sent");
  if (index_offset > std::numeric_limits<int64_t>::max()) {
    return absl::DataLossError(Av(Cat(name, ": no file is that long")));
  }
  return engine::ParseIndex(bytes, index_offset, name, identity, num_partitions,
                            root);
}

std::optional<Hash128Value> ParseRoot(std::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  return Hash128Value{engine::Get64(bytes.data()),
                      engine::Get64(bytes.data() + 8)};
}

std::string RootBytes(const Hash128Value& root) {
  std::string bytes(16, '\0');
  engine::Put64(bytes.data(), root.low);
  engine::Put64(bytes.data() + 8, root.high);
  return bytes;
}

}  // namespace millrace::worker
