#include "storage/input/read_buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace millrace::storage {
namespace {

constexpr size_t kPage = 4096;

size_t RoundToPages(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

ReadBuffer::ReadBuffer(size_t read_bytes) : read_bytes_(read_bytes) {
  // Room for a read behind the beginning of a record that is not whole yet.
  Reserve(2 * read_bytes);
}

ReadBuffer::~ReadBuffer() {
  if (data_ != nullptr) munmap(data_, capacity_);
}

void ReadBuffer::Reserve(size_t bytes) {
  bytes = RoundToPages(bytes);
  void* memory = data_ == nullptr
                     ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                     : mremap(data_, capacity_, bytes, MREMAP_MAYMOVE);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<char*>(memory);
  capacity_ = bytes;
}

char* ReadBuffer::Extend(size_t bytes) {
  const size_t kept = size();
  if (begin_ > 0) {
    std::memmove(data_, data_ + begin_, kept);
    begin_ = 0;
    end_ = kept;
  }
  const size_t need = kept + bytes;
  const size_t usual = RoundToPages(2 * read_bytes_);
  if (need > capacity_) {
    Reserve(need);
  } else if (capacity_ > usual && need <= usual) {
    Reserve(usual);
  }
  char* const at = data_ + end_;
  end_ += bytes;
  return at;
}

}  // namespace millrace::storage
