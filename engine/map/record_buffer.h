// Map side without a combiner: an arena of records, sorted and spilled when it
// is full.
//
// The caller writes records straight into a window of the arena; the buffer
// looks at them only when the window is used up. A record in the window is
//
//   key size   u32 little endian
//   value size u32 little endian
//   key bytes, value bytes
//
// one directly behind the other, without padding.
#ifndef MILLRACE_ENGINE_MAP_RECORD_BUFFER_H_
#define MILLRACE_ENGINE_MAP_RECORD_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/map/map_side.h"

namespace millrace::engine {

// Thread-compatible.
class RecordBuffer {
 public:
  static constexpr size_t kRecordHeaderBytes = 8;

  struct Window {
    char* begin = nullptr;
    char* end = nullptr;
  };

  // options.folder may be set: equal keys are then folded when a run is written
  // (for combiners whose job opted out of the hash table, and for tests).
  static absl::StatusOr<std::unique_ptr<RecordBuffer>> Create(
      const MapSideOptions& options);
  virtual ~RecordBuffer() = default;

  // Takes the records in [window().begin, used_end), and makes a new window of
  // at least `need_bytes`, spilling if the budget asks for it. A record larger
  // than the whole budget gets a window of its own and is spilled alone.
  virtual absl::Status Advance(char* used_end, size_t need_bytes) = 0;
  virtual Window window() const = 0;

  // Takes what the window holds and writes the map output file. Call once,
  // last.
  virtual absl::StatusOr<MapSideResult> Finish(char* used_end) = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_RECORD_BUFFER_H_
