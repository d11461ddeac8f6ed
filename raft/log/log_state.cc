#include "raft/log/log_state.h"

#include <algorithm>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

template <typename... Args>
absl::Status Broken(const Args&... args) {
  return absl::InternalError(Av(Cat(args...)));
}

}  // namespace

LogState::LogState(uint64_t base_index, uint64_t base_term,
                   const HardState& hard)
    : hard_(hard),
      base_index_(base_index),
      last_index_(base_index),
      runs_({{base_index, base_term}}) {}

std::optional<uint64_t> LogState::TermOf(uint64_t index) const {
  if (index < base_index_ || index > last_index_) return std::nullopt;
  auto run = std::upper_bound(
      runs_.begin(), runs_.end(), index,
      [](uint64_t i, const TermRun& r) { return i < r.first_index; });
  return std::prev(run)->term;
}

absl::Status LogState::SetHardState(const HardState& next) {
  if (next.term < hard_.term) {
    return Broken("the term goes back from ", hard_.term, " to ", next.term);
  }
  if (next.term == hard_.term && hard_.vote != 0 && next.vote != hard_.vote) {
    return Broken("a second vote in term ", next.term, ", for ", next.vote,
                  " after ", hard_.vote);
  }
  if (next.commit < hard_.commit) {
    return Broken("the commit index goes back from ", hard_.commit, " to ",
                  next.commit);
  }
  if (next.commit > last_index_) {
    return Broken("entry ", next.commit, " is committed, but the log ends at ",
                  last_index_);
  }
  hard_ = next;
  return absl::OkStatus();
}

absl::Status LogState::CheckTruncate(uint64_t from) const {
  if (from <= hard_.commit || from <= base_index_) {
    return Broken("entry ", from, " cannot be removed, committed are ",
                  std::max(hard_.commit, base_index_));
  }
  if (from > last_index_) {
    return Broken("entry ", from, " cannot be removed, the log ends at ",
                  last_index_);
  }
  return absl::OkStatus();
}

absl::Status LogState::Truncate(uint64_t from) {
  if (absl::Status status = CheckTruncate(from); !status.ok()) return status;
  last_index_ = from - 1;
  while (runs_.size() > 1 && runs_.back().first_index > last_index_) {
    runs_.pop_back();
  }
  while (!extents_.empty() && extents_.back().first_index > last_index_) {
    extents_.pop_back();
  }
  if (!extents_.empty()) {
    EntryExtent& last = extents_.back();
    last.count = std::min(last.count, last_index_ - last.first_index + 1);
  }
  return absl::OkStatus();
}

absl::Status LogState::AddEntries(const EntryExtent& extent,
                                  const std::vector<uint64_t>& terms) {
  if (extent.first_index != last_index_ + 1) {
    return Broken("entry ", extent.first_index, " follows entry ", last_index_);
  }
  uint64_t term = last_term();
  for (uint64_t next : terms) {
    if (next < term) {
      return Broken("an entry of term ", next, " follows one of term ", term);
    }
    term = next;
  }
  if (term > hard_.term) {
    return Broken("an entry of term ", term, " in term ", hard_.term);
  }
  for (uint64_t next : terms) {
    ++last_index_;
    if (next != runs_.back().term) runs_.push_back({last_index_, next});
  }
  extents_.push_back(extent);
  extents_.back().count = terms.size();
  return absl::OkStatus();
}

uint64_t LogState::RecordEndUpTo(uint64_t index) const {
  // The first record that ends behind it.
  const auto behind = std::partition_point(
      extents_.begin(), extents_.end(), [index](const EntryExtent& e) {
        return e.first_index + e.count - 1 <= index;
      });
  return behind == extents_.begin()
             ? base_index_
             : std::prev(behind)->first_index + std::prev(behind)->count - 1;
}

void LogState::DropThrough(uint64_t index) {
  CHECK_LE(index, hard_.commit);
  const std::optional<uint64_t> term = TermOf(index);
  CHECK(term.has_value());
  std::erase_if(extents_, [index](const EntryExtent& e) {
    return e.first_index + e.count - 1 <= index;
  });
  CHECK(extents_.empty() || extents_.front().first_index == index + 1);
  base_index_ = index;
  std::erase_if(runs_,
                [index](const TermRun& r) { return r.first_index <= index; });
  runs_.insert(runs_.begin(), {index, *term});
}

void LogState::Reset(uint64_t index, uint64_t term) {
  CHECK_LE(term, hard_.term);
  base_index_ = last_index_ = index;
  hard_.commit = std::max(hard_.commit, index);
  runs_ = {{index, term}};
  extents_.clear();
}

const EntryExtent* LogState::Find(uint64_t index) const {
  if (index <= base_index_ || index > last_index_) return nullptr;
  auto extent = std::upper_bound(
      extents_.begin(), extents_.end(), index,
      [](uint64_t i, const EntryExtent& e) { return i < e.first_index; });
  return &*std::prev(extent);
}

}  // namespace millrace::raft
