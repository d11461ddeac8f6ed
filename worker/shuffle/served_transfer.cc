#include "worker/shuffle/served_transfer.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

// A header beyond this goes in a message of its own, without data beside it.
constexpr size_t kHeaderBesideDataMax = 1 << 20;

}  // namespace

ServedTransfer::ServedTransfer(std::vector<FetchTarget> targets,
                               OpenOutputs& outputs, SlicePool& slices)
    : targets_(std::move(targets)),
      outputs_(outputs),
      slices_(slices),
      shared_bytes_(std::min(kSharedBytes, slices.slice_bytes())) {}

bool ServedTransfer::Next(ServedMessage* message) {
  *message = ServedMessage();
  for (int opened = 0; at_ < targets_.size();) {
    if (!section_.has_value()) {
      if (opened == kSharedSections) break;
      ++opened;
      section_.emplace(targets_[at_]);
      header_.emplace();
      if (absl::Status s = section_->Open(outputs_, &*header_); !s.ok()) {
        Refuse(s, message);
        continue;
      }
    }
    if (Append(message)) break;
  }
  return !message->head.empty();
}

bool ServedTransfer::Append(ServedMessage* message) {
  std::string& head = message->head;
  const size_t header_bytes = header_.has_value() ? header_->ByteSizeLong() : 0;
  const uint64_t offset = section_->offset();
  const uint64_t left = section_->left();
  const proto::FetchHeader* header = header_.has_value() ? &*header_ : nullptr;
  if (header_bytes > kHeaderBesideDataMax) {
    if (!head.empty()) return true;
    AppendPiece(header, offset, 0, &head);
    header_.reset();
    if (left == 0) EndSection();
    return true;
  }
  if (head.size() + header_bytes + left <= shared_bytes_) {
    const size_t before = head.size();
    AppendPiece(header, offset, left, &head);
    const size_t at = head.size();
    head.resize(at + left);
    const absl::Status read = section_->Read(head.data() + at, left);
    if (read.ok()) {
      EndSection();
    } else {
      head.resize(before);
      Refuse(read, message);
    }
    return false;
  }
  // A large one. It is read to where it can stay.
  if (left > 0) {
    const size_t size = std::min<uint64_t>(left, slices_.slice_bytes());
    auto buffer = slices_.Take();
    if (absl::Status s = section_->Read(buffer->data(), size); !s.ok()) {
      Refuse(s, message);
      return false;
    }
    message->data = std::move(buffer);
    message->data_bytes = size;
  }
  AppendPiece(header, offset, message->data_bytes, &head);
  header_.reset();
  if (section_->left() == 0) EndSection();
  return true;
}

void ServedTransfer::Refuse(const absl::Status& why, ServedMessage* message) {
  proto::FetchRefusal refusal;
  refusal.set_code(static_cast<uint32_t>(why.code()));
  refusal.set_message(std::string(ToStd(why.message())));
  AppendRefusal(refusal, &message->head);
  EndSection();
}

void ServedTransfer::EndSection() {
  section_.reset();
  header_.reset();
  ++at_;
}

}  // namespace millrace::worker
