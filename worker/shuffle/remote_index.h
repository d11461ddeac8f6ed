// The index of a map output that came over the wire.
#ifndef MILLRACE_WORKER_SHUFFLE_REMOTE_INDEX_H_
#define MILLRACE_WORKER_SHUFFLE_REMOTE_INDEX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/hash.h"
#include "engine/format/map_output.h"

namespace millrace::worker {

// Verifies index and trailer as they stood at `index_offset` of a file: every
// check that a local file would get, the announced root included. kDataLoss:
// they are not the index of that map output.
absl::StatusOr<engine::MapOutputSummary> VerifyRemoteIndex(
    std::string_view bytes, uint64_t index_offset,
    const engine::MapOutputIdentity& identity, uint32_t num_partitions,
    const Hash128Value& root);

// The 16 bytes of a root as they travel: low half first, little endian.
std::optional<Hash128Value> ParseRoot(std::string_view bytes);
std::string RootBytes(const Hash128Value& root);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_REMOTE_INDEX_H_
