#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

// Field number and wire type, one byte each: 2 is length-delimited, 0 a varint.
constexpr char kPieceTag = (1 << 3) | 2;   // Of FetchSlice.
constexpr char kHeaderTag = (1 << 3) | 2;  // These of FetchPiece.
constexpr char kOffsetTag = (2 << 3) | 0;
constexpr char kDataTag = (3 << 3) | 2;

void AppendVarint(uint64_t v, std::string* to) {
  for (; v >= 0x80; v >>= 7) to->push_back(static_cast<char>(v | 0x80));
  to->push_back(static_cast<char>(v));
}

}  // namespace

void AppendPiece(const proto::FetchHeader* header, uint64_t offset,
                 size_t data_bytes, std::string* to) {
  std::string piece;
  if (header != nullptr) {
    const size_t bytes = header->ByteSizeLong();
    piece.reserve(bytes + 32);
    piece.push_back(kHeaderTag);
    AppendVarint(bytes, &piece);
    header->AppendToString(&piece);
  }
  if (offset != 0) {
    piece.push_back(kOffsetTag);
    AppendVarint(offset, &piece);
  }
  if (data_bytes != 0) {
    piece.push_back(kDataTag);
    AppendVarint(data_bytes, &piece);
  }
  to->push_back(kPieceTag);
  AppendVarint(piece.size() + data_bytes, to);
  *to += piece;
}

void AppendRefusal(const proto::FetchRefusal& refusal, std::string* to) {
  proto::FetchPiece piece;
  *piece.mutable_refusal() = refusal;
  to->push_back(kPieceTag);
  AppendVarint(piece.ByteSizeLong(), to);
  piece.AppendToString(to);
}

}  // namespace millrace::worker
