#include "raft/log/disk.h"

#include <algorithm>

#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {

absl::Status WriteFully(DiskFile& file, uint64_t offset,
                        std::string_view data) {
  while (!data.empty()) {
    MR_ASSIGN_OR_RETURN(const size_t n, file.WriteAt(offset, data));
    if (n == 0 || n > data.size()) {
      return absl::DataLossError("a write wrote nothing and gave no reason");
    }
    offset += n;
    data.remove_prefix(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFully(DiskFile& file, uint64_t bytes_max) {
  MR_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size > bytes_max) {
    return absl::ResourceExhaustedError(
        Av(Cat("the file has ", size, " bytes, at most ", bytes_max,
               " are expected")));
  }
  // In pieces, so that an error says which part of a disk cannot be read.
  constexpr uint64_t kPieceBytes = 1 << 20;
  std::string bytes(size, '\0');
  for (uint64_t offset = 0; offset < size;) {
    const absl::StatusOr<size_t> n = file.ReadAt(
        offset, bytes.data() + offset, std::min(kPieceBytes, size - offset));
    if (!n.ok()) {
      return Annotate(n.status(), Cat("from offset ", offset, " on"));
    }
    if (*n == 0) {  // It has become shorter.
      bytes.resize(offset);
      break;
    }
    offset += *n;
  }
  return bytes;
}

}  // namespace millrace::raft
