#include "api/src/replay/passed_over.h"

namespace millrace::replay {

bool PassOver(const std::optional<proto::BadRecord>& record, uint32_t most,
              proto::MapTask* map) {
  if (!record.has_value()) return false;
  if (static_cast<uint32_t>(map->bad_records_size()) >= most) return false;
  for (const proto::BadRecord& known : map->bad_records()) {
    if (known.file() == record->file() && known.offset() == record->offset()) {
      return false;
    }
  }
  *map->add_bad_records() = *record;
  return true;
}

}  // namespace millrace::replay
