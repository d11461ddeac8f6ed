#include "worker/agent/spool_account.h"

#include <algorithm>

#include "common/counted.h"
#include "common/strings.h"

namespace millrace::worker {
namespace {

uint64_t Less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

void SpoolAccount::Measured(uint64_t free_bytes,
                            const std::map<AttemptUid, uint64_t>& written) {
  measured_ = true;
  free_bytes_ = free_bytes;
  for (const auto& [attempt, bytes] : written) {
    const auto at = live_.find(attempt);
    if (at != live_.end()) at->second.written = bytes;
  }
}

uint64_t SpoolAccount::written_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [attempt, live] : live_) bytes += live.written;
  return bytes;
}

uint64_t SpoolAccount::Room(bool reduce) const {
  uint64_t room = Less(free_bytes_, limits_.free_bytes_min);
  if (limits_.spool_bytes_max > 0) {
    room = std::min(room, Less(limits_.spool_bytes_max, spool_bytes()));
  }
  for (const auto& [attempt, live] : live_) {
    if (live.reduce && !reduce) continue;
    room = Less(room, Less(live.reserved, live.written));
  }
  return room;
}

bool SpoolAccount::HasRoom(bool reduce, uint64_t bytes) const {
  if (!measured_ || bytes == 0) return true;
  const bool alone =
      std::none_of(live_.begin(), live_.end(), [reduce](const auto& other) {
        return other.second.reduce == reduce && other.second.reserved > 0;
      });
  return alone || Room(reduce) >= bytes;
}

bool SpoolAccount::Reserve(const AttemptUid& attempt, bool reduce,
                           uint64_t bytes) {
  if (!HasRoom(reduce, bytes)) {
    if (!reduce) wanted_ = bytes;
    return false;
  }
  live_[attempt] = {reduce, bytes, 0};
  return true;
}

void SpoolAccount::Keep(const AttemptUid& attempt, uint64_t bytes) {
  Forget(attempt);
  kept_[attempt] = bytes;
  kept_bytes_ += bytes;
}

void SpoolAccount::Forget(const AttemptUid& attempt) {
  const auto at = kept_.find(attempt);
  if (at == kept_.end()) return;
  kept_bytes_ -= at->second;
  kept_.erase(at);
}

void SpoolAccount::Review() {
  if (!measured_) return;
  const uint64_t floor = limits_.free_bytes_min;
  floor_reached_ = free_bytes_ < (floor_reached_ ? floor + floor / 4 : floor);
  const uint64_t max = limits_.spool_bytes_max;
  limit_reached_ =
      max > 0 && spool_bytes() >= (limit_reached_ ? max - max / 8 : max);
  if (wanted_ > 0 && HasRoom(/*reduce=*/false, wanted_)) wanted_ = 0;
  low_ = full() || wanted_ > 0;
}

std::string SpoolAccount::Why() const {
  if (floor_reached_) {
    return Cat("only ", HumanBytes(free_bytes_), " are free, and ",
               HumanBytes(limits_.free_bytes_min),
               " have to be (--min-free-disk)");
  }
  if (limit_reached_) {
    return Cat("the spool has ", HumanBytes(spool_bytes()), " of ",
               HumanBytes(limits_.spool_bytes_max), " (--spool-limit)");
  }
  if (wanted_ == 0) return "";
  return Cat("a map that needs some ", HumanBytes(wanted_), " would find ",
             HumanBytes(Room(/*reduce=*/false)), " beside ",
             Counted(live_.size(), "attempt"));
}

std::optional<AttemptUid> SpoolAccount::Excess() const {
  const uint64_t max = limits_.spool_bytes_max;
  if (max == 0 || spool_bytes() <= max) return std::nullopt;
  const auto most = std::max_element(
      live_.begin(), live_.end(), [](const auto& a, const auto& b) {
        return a.second.written < b.second.written;
      });
  if (most == live_.end() || most->second.written == 0) return std::nullopt;
  return most->first;
}

uint64_t SpoolAccount::WrittenBy(const AttemptUid& attempt) const {
  const auto at = live_.find(attempt);
  return at == live_.end() ? 0 : at->second.written;
}

}  // namespace millrace::worker
