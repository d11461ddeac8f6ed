#include "supervisor/bounded_log.h"

#include <algorithm>
#include <cstring>

#include "common/strings.h"

namespace millrace::supervisor {

void BoundedLog::Append(std::string_view text) {
  total_ += text.size();
  const size_t to_head = std::min(text.size(), head_bytes_ - head_.size());
  head_.append(text.substr(0, to_head));
  text.remove_prefix(to_head);
  if (text.size() > tail_bytes_) text.remove_prefix(text.size() - tail_bytes_);

  const size_t to_grow = std::min(text.size(), tail_bytes_ - tail_.size());
  tail_.append(text.substr(0, to_grow));
  text.remove_prefix(to_grow);
  while (!text.empty()) {
    const size_t n = std::min(text.size(), tail_.size() - tail_start_);
    std::memcpy(tail_.data() + tail_start_, text.data(), n);
    tail_start_ = (tail_start_ + n) % tail_.size();
    text.remove_prefix(n);
  }
}

void BoundedLog::Clear() {
  total_ = 0;
  head_.clear();
  tail_.clear();
  tail_start_ = 0;
}

std::string BoundedLog::Text() const {
  std::string text = head_;
  const uint64_t missing = total_ - head_.size() - tail_.size();
  if (missing > 0) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    text += Cat("[... ", missing, " bytes left out ...]\n");
  }
  text.append(tail_, tail_start_);
  text.append(tail_, 0, tail_start_);
  return text;
}

}  // namespace millrace::supervisor
