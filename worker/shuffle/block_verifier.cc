#include "worker/shuffle/block_verifier.h"

#include <algorithm>
#include <cstring>

#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/encoding.h"

namespace millrace::worker {

using engine::kBlockHeaderBytes;

absl::Status BlockVerifier::Wrong(std::string_view what) const {
  return absl::DataLossError(
      Av(Cat("map ", identity_.map_index, ", partition ", partition_,
             ", block ", blocks_, " of ", entry_.blocks, ": ", what)));
}

absl::Status BlockVerifier::TakeHeader() {
  engine::BlockHeader header;
  if (const char* wrong =
          engine::ParseBlockHeader(identity_, header_, &header)) {
    return Wrong(wrong);
  }
  if (header.partition != partition_) return Wrong("of another partition");
  if (header.number != blocks_) return Wrong("another block's number");
  // bytes_ counts the header already.
  if (header.stored_bytes > entry_.bytes - bytes_) {
    return Wrong("it is longer than the partition");
  }
  if (header.raw_bytes > entry_.largest_block_bytes) {
    return Wrong("it is larger than the index allows");
  }
  payload_left_ = header.stored_bytes;
  // The checksum stands in front of what it covers.
  hash_.Reset();
  hash_.Update({header_ + 8, kBlockHeaderBytes - 8});
  return absl::OkStatus();
}

absl::Status BlockVerifier::EndBlock() {
  if (hash_.Digest() != engine::Get64(header_)) {
    return Wrong("its checksum does not agree");
  }
  ++blocks_;
  header_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status BlockVerifier::Add(std::string_view bytes) {
  if (bytes.size() > entry_.bytes - bytes_) {
    return Wrong("there are more bytes than the index promises");
  }
  while (!bytes.empty()) {
    if (header_bytes_ < kBlockHeaderBytes) {
      if (blocks_ == entry_.blocks) return Wrong("there are too many blocks");
      const size_t n =
          std::min(bytes.size(), kBlockHeaderBytes - header_bytes_);
      std::memcpy(header_ + header_bytes_, bytes.data(), n);
      header_bytes_ += n;
      bytes_ += n;
      bytes.remove_prefix(n);
      if (header_bytes_ < kBlockHeaderBytes) break;
      MR_RETURN_IF_ERROR(TakeHeader());
    } else {
      const size_t n = std::min<uint64_t>(bytes.size(), payload_left_);
      hash_.Update(bytes.substr(0, n));
      payload_left_ -= n;
      bytes_ += n;
      bytes.remove_prefix(n);
    }
    if (payload_left_ == 0) MR_RETURN_IF_ERROR(EndBlock());
  }
  if (bytes_ == entry_.bytes && !complete()) {
    return Wrong("the partition ends within a block, or has too few");
  }
  return absl::OkStatus();
}

}  // namespace millrace::worker
