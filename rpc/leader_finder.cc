#include "rpc/leader_finder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/address.h"

namespace millrace::rpc {

absl::StatusOr<std::vector<std::string>> ParseMasters(std::string_view list) {
  std::vector<std::string> masters;
  for (absl::string_view piece : absl::StrSplit(Av(list), ',')) {
    MR_ASSIGN_OR_RETURN(const Address address, ParseAddress(ToStd(piece)));
    if (address.port == 0) {
      return absl::InvalidArgumentError(Av(
          Cat("not an address of a master: ", address.ToString(), ": port 0")));
    }
    std::string text = address.ToString();
    if (std::find(masters.begin(), masters.end(), text) == masters.end()) {
      masters.push_back(std::move(text));
    }
  }
  return masters;
}

LeaderFinder::LeaderFinder(std::vector<std::string> masters,
                           const BackoffOptions& backoff,
                           std::unique_ptr<Random> random)
    : masters_(std::move(masters)),
      random_(std::move(random)),
      backoff_(backoff, *random_) {
  CHECK(!masters_.empty());
  current_ = masters_.front();
  next_ = 1 % masters_.size();
}

std::string LeaderFinder::Current() const {
  const absl::MutexLock lock(&mu_);
  return current_;
}

void LeaderFinder::Leads(const std::string& address) {
  const absl::MutexLock lock(&mu_);
  if (address != current_) return;
  tried_ = 0;
  hints_ = 0;
  backoff_.Reset();
}

absl::Duration LeaderFinder::Failed(const std::string& address,
                                    const std::string& hint) {
  const absl::MutexLock lock(&mu_);
  if (address != current_) return absl::ZeroDuration();
  if (!hint.empty() && hint != address && hints_ < masters_.size()) {
    ++hints_;
    current_ = hint;
    return absl::ZeroDuration();
  }
  // A hint may have led to the one that the list would name next.
  if (masters_[next_] == address) next_ = (next_ + 1) % masters_.size();
  current_ = masters_[next_];
  next_ = (next_ + 1) % masters_.size();
  if (++tried_ < masters_.size()) return absl::ZeroDuration();
  tried_ = 0;
  hints_ = 0;
  return backoff_.Next();
}

}  // namespace millrace::rpc
