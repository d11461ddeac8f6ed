#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

// Field number and wire type, one byte each: 2 is length-delimited, 0 a varint.
constexpr char kHeaderTag = (1 << 3) | 2;
constexpr char kOffsetTag = (2 << 3) | 0;
constexpr char kDataTag = (3 << 3) | 2;

void AppendVarint(uint64_t v, std::string* to) {
  for (; v >= 0x80; v >>= 7) to->push_back(static_cast<char>(v | 0x80));
  to->push_back(static_cast<char>(v));
}

}  // namespace

std::string EncodeSlicePrefix(const proto::FetchHeader* header, uint64_t offset,
                              size_t data_bytes) {
  std::string prefix;
  if (header != nullptr) {
    const std::string bytes = header->SerializeAsString();
    prefix.reserve(bytes.size() + 32);
    prefix.push_back(kHeaderTag);
    AppendVarint(bytes.size(), &prefix);
    prefix += bytes;
  }
  if (offset != 0) {
    prefix.push_back(kOffsetTag);
    AppendVarint(offset, &prefix);
  }
  if (data_bytes != 0) {
    prefix.push_back(kDataTag);
    AppendVarint(data_bytes, &prefix);
  }
  return prefix;
}

}  // namespace millrace::worker
