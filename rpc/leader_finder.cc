#include "rpc/leader_finder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/address.h"

namespace millrace::rpc {
namespace {

// A group has seven masters at most, and some more while they are replaced.
constexpr size_t kLearnedMax = 16;

}  // namespace

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
    : initial_(std::move(masters)),
      random_(std::move(random)),
      masters_(initial_),
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

std::vector<std::string> LeaderFinder::masters() const {
  const absl::MutexLock lock(&mu_);
  return masters_;
}

bool LeaderFinder::IsInitial(const std::string& address) const {
  return std::find(initial_.begin(), initial_.end(), address) != initial_.end();
}

void LeaderFinder::Learn(const std::vector<std::string>& masters) {
  if (masters.empty()) return;
  std::vector<std::string> all(
      masters.begin(), masters.begin() + std::min(masters.size(), kLearnedMax));
  for (const std::string& address : initial_) {
    if (std::find(all.begin(), all.end(), address) == all.end()) {
      all.push_back(address);
    }
  }
  const absl::MutexLock lock(&mu_);
  if (all == masters_) return;
  masters_ = std::move(all);
  next_ = 0;
  tried_ = 0;
}

}  // namespace millrace::rpc
