#include "storage/output/dead_letter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

constexpr size_t kFlushBytes = 64 << 10;
// A multiple of three, so that pieces of base64 can stand end to end.
constexpr size_t kPieceBytes = 12 << 10;

}  // namespace

std::string DeadLetterName(uint32_t map) {
  return absl::StrFormat("_dead_letter-%05d", map);
}

absl::StatusOr<std::unique_ptr<DeadLetterWriter>> DeadLetterWriter::Create(
    FileSystem& fs, const std::string& path) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<PartWriter> part,
                      PartWriter::Create(fs, path));
  return std::unique_ptr<DeadLetterWriter>(
      new DeadLetterWriter(std::move(part)));
}

absl::Status DeadLetterWriter::FlushIfFull() {
  if (pending_.size() < kFlushBytes) return absl::OkStatus();
  const absl::Status status = part_->Append(pending_);
  pending_.clear();
  return status;
}

absl::Status DeadLetterWriter::AddEscaped(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      pending_ += '\\';
      pending_ += c;
    } else if (c == '\n') {
      pending_ += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&pending_, "\\u%04x", byte);
    } else {
      pending_ += c;
    }
    MR_RETURN_IF_ERROR(FlushIfFull());
  }
  return absl::OkStatus();
}

absl::Status DeadLetterWriter::AddBase64(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece =
        bytes.substr(0, std::min(bytes.size(), kPieceBytes));
    pending_ += absl::Base64Escape(Av(piece));
    bytes.remove_prefix(piece.size());
    MR_RETURN_IF_ERROR(FlushIfFull());
  }
  return absl::OkStatus();
}

absl::Status DeadLetterWriter::Add(const proto::BadRecord& bad,
                                   std::string_view file,
                                   std::string_view record) {
  const auto text = [this](std::string_view name, std::string_view value) {
    pending_ += Cat("\"", name, "\": \"");
    // A path, alone of all of them, may be anything.
    absl::Status status =
        AddEscaped(IsUtf8(value) ? std::string(value) : Printable(value, 4096));
    pending_ += "\", ";
    return status;
  };
  pending_ += "{";
  MR_RETURN_IF_ERROR(text("file", file));
  pending_ +=
      Cat("\"offset\": ", bad.offset(), ", \"bytes\": ", record.size(), ", ");
  MR_RETURN_IF_ERROR(text("cause", proto::FailureCause_Name(bad.cause())));
  MR_RETURN_IF_ERROR(text("message", bad.message()));
  MR_RETURN_IF_ERROR(text("stack", bad.stack()));
  if (IsUtf8(record)) {
    pending_ += "\"record\": \"";
    MR_RETURN_IF_ERROR(AddEscaped(record));
  } else {
    pending_ += "\"record_base64\": \"";
    MR_RETURN_IF_ERROR(AddBase64(record));
  }
  pending_ += "\"}\n";
  ++records_;
  return FlushIfFull();
}

absl::StatusOr<PartSummary> DeadLetterWriter::Finish() {
  MR_RETURN_IF_ERROR(part_->Append(pending_));
  pending_.clear();
  return part_->Finish();
}

}  // namespace millrace::storage
