#include "storage/input/read_window.h"

#include <algorithm>
#include <cstring>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace millrace::storage {

void ReadWindow::MoveTo(uint64_t offset) {
  begin_ = end_ = 0;
  offset_ = offset;
}

void ReadWindow::Consume(size_t n) {
  CHECK_LE(n, size());
  begin_ += n;
  offset_ += n;
}

absl::Status ReadWindow::Resize(size_t capacity) {
  char* moved = static_cast<char*>(std::realloc(buffer_.get(), capacity));
  if (moved == nullptr) {
    return NoMemoryError(
        Cat("no memory for a record of more than ", HumanBytes(size())));
  }
  // realloc freed or moved the old block.
  static_cast<void>(buffer_.release());
  buffer_.reset(moved);
  capacity_ = capacity;
  return absl::OkStatus();
}

absl::StatusOr<size_t> ReadWindow::Extend(ReadFile& file, uint64_t want,
                                          uint64_t size_max) {
  if (begin_ > 0) {
    std::memmove(buffer_.get(), data(), size());
    end_ = size();
    begin_ = 0;
  }
  if (capacity_ > base_bytes_ && end_ <= base_bytes_ / 2) {
    // A large record is behind us; its memory goes back.
    MR_RETURN_IF_ERROR(Resize(base_bytes_));
  } else if (capacity_ == 0) {
    MR_RETURN_IF_ERROR(Resize(base_bytes_));
  } else if (end_ == capacity_) {
    MR_RETURN_IF_ERROR(Resize(static_cast<size_t>(std::max<uint64_t>(
        capacity_ + 1,
        std::min<uint64_t>(uint64_t{capacity_} * 2, size_max)))));
  }
  const size_t room =
      static_cast<size_t>(std::min<uint64_t>({want, capacity_ - end_}));
  MR_ASSIGN_OR_RETURN(const size_t n,
                      file.ReadAt(end_offset(), buffer_.get() + end_, room));
  end_ += n;
  return n;
}

}  // namespace millrace::storage
