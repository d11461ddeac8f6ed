#include "master/group/holders_core.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"

namespace millrace::master {
namespace {

// Settled blobs that are remembered; more only while they are wanted. What is
// forgotten is asked for again.
constexpr size_t kRememberedMax = 100'000;

}  // namespace

bool HoldersCore::IsMajority(const std::set<raft::NodeId>& some,
                             const std::set<raft::NodeId>& all) const {
  size_t count = 0;
  for (const raft::NodeId node : all) count += some.count(node);
  return count > all.size() / 2;
}

bool HoldersCore::Enough(const Blob& blob) const {
  return IsMajority(blob.holders, voters_) &&
         IsMajority(blob.holders, voters_after_);
}

absl::Duration HoldersCore::Wait(int failures) const {
  return std::min(options_.retry_max,
                  options_.retry_min * (1 << std::min(failures, 10)));
}

void HoldersCore::Spread(const std::string& sha256, const Blob& blob) {
  for (auto& [node, peer] : peers_) {
    if (blob.holders.count(node) > 0) continue;
    if (std::find(peer.asked.begin(), peer.asked.end(), sha256) ==
        peer.asked.end()) {
      peer.wanted.insert(sha256);
    }
  }
}

std::vector<HoldersCore::Effect> HoldersCore::SetGroup(
    raft::NodeId self, std::set<raft::NodeId> voters,
    std::set<raft::NodeId> voters_after, absl::Duration now) {
  std::vector<Effect> effects;
  if (self == self_ && voters == voters_ && voters_after == voters_after_) {
    return effects;
  }
  self_ = self;
  voters_ = std::move(voters);
  voters_after_ = std::move(voters_after);
  std::set<raft::NodeId> others = voters_;
  others.insert(voters_after_.begin(), voters_after_.end());
  others.erase(self_);
  std::erase_if(peers_,
                [&](const auto& peer) { return !others.contains(peer.first); });
  for (const raft::NodeId node : others) peers_[node];
  const std::set<std::string> wanted = open_;
  for (const std::string& sha256 : wanted) {
    Spread(sha256, blobs_[sha256]);
    AnswerIfEnough(sha256, effects);
  }
  Pump(now, effects);
  return effects;
}

std::vector<HoldersCore::Effect> HoldersCore::Want(
    WantId want, const std::map<std::string, bool>& blobs, absl::Duration now) {
  std::vector<Effect> effects;
  if (blobs_.size() > kRememberedMax) {
    std::erase_if(blobs_,
                  [](const auto& blob) { return blob.second.wants.empty(); });
  }
  std::set<std::string>& waiting = wants_[want];
  for (const auto& [sha256, here] : blobs) {
    Blob& blob = blobs_[sha256];
    if (here) {
      blob.holders.insert(self_);
    } else {
      blob.holders.erase(self_);
    }
    if (Enough(blob)) continue;
    if (blob.wants.empty()) {
      blob.fetches = 0;
      blob.fetch_at = now;
    }
    blob.wants.insert(want);
    open_.insert(sha256);
    waiting.insert(sha256);
    Spread(sha256, blob);
  }
  if (waiting.empty()) {
    wants_.erase(want);
    effects.push_back(Settled{want, absl::OkStatus()});
  }
  Pump(now, effects);
  return effects;
}

std::vector<HoldersCore::Effect> HoldersCore::OnFetched(
    const std::string& sha256, const absl::Status& status, absl::Duration now) {
  std::vector<Effect> effects;
  const auto found = blobs_.find(sha256);
  if (found == blobs_.end()) return effects;
  Blob& blob = found->second;
  blob.fetching = false;
  if (status.ok()) {
    blob.holders.insert(self_);
    AnswerIfEnough(sha256, effects);
  } else if (absl::IsNotFound(status)) {
    Answer(sha256, status, effects);
  } else {
    blob.fetch_at = now + Wait(blob.fetches++);
  }
  Pump(now, effects);
  return effects;
}

std::vector<HoldersCore::Effect> HoldersCore::OnAnswer(
    uint64_t ask_id, const absl::Status& status,
    const std::set<std::string>& missing, absl::Duration now) {
  std::vector<Effect> effects;
  const auto found =
      std::find_if(peers_.begin(), peers_.end(), [&](const auto& peer) {
        return !peer.second.asked.empty() && peer.second.ask_id == ask_id;
      });
  if (found == peers_.end()) return effects;  // Of an earlier term or group.
  const raft::NodeId node = found->first;
  Peer& peer = found->second;
  const Blobs asked = std::exchange(peer.asked, {});
  bool incomplete = !status.ok();
  for (const std::string& sha256 : asked) {
    const auto at = blobs_.find(sha256);
    if (at == blobs_.end()) continue;
    if (status.ok() && missing.count(sha256) == 0) {
      at->second.holders.insert(node);
    } else if (!at->second.wants.empty()) {
      incomplete = true;
      peer.wanted.insert(sha256);
    }
  }
  if (incomplete) {
    peer.ask_at = now + Wait(peer.failures++);
  } else {
    peer.failures = 0;
  }
  for (const std::string& sha256 : asked) AnswerIfEnough(sha256, effects);
  Pump(now, effects);
  return effects;
}

std::vector<HoldersCore::Effect> HoldersCore::Tick(absl::Duration now) {
  std::vector<Effect> effects;
  Pump(now, effects);
  return effects;
}

void HoldersCore::AnswerIfEnough(const std::string& sha256,
                                 std::vector<Effect>& effects) {
  const auto found = blobs_.find(sha256);
  if (found == blobs_.end() || !Enough(found->second)) return;
  Answer(sha256, absl::OkStatus(), effects);
}

void HoldersCore::Answer(const std::string& sha256, const absl::Status& status,
                         std::vector<Effect>& effects) {
  open_.erase(sha256);
  for (const WantId want : std::exchange(blobs_[sha256].wants, {})) {
    std::set<std::string>& waiting = wants_[want];
    waiting.erase(sha256);
    if (status.ok() && !waiting.empty()) continue;
    for (const std::string& other : waiting) {
      std::set<WantId>& wants = blobs_[other].wants;
      wants.erase(want);
      if (wants.empty()) open_.erase(other);
    }
    wants_.erase(want);
    effects.push_back(Settled{want, status});
  }
}

void HoldersCore::Pump(absl::Duration now, std::vector<Effect>& effects) {
  for (const std::string& sha256 : open_) {
    Blob& blob = blobs_[sha256];
    if (blob.fetching || blob.holders.count(self_) > 0 || now < blob.fetch_at) {
      continue;
    }
    blob.fetching = true;
    effects.push_back(FetchHere{sha256});
  }
  for (auto& [node, peer] : peers_) {
    if (!peer.asked.empty() || now < peer.ask_at) continue;
    while (!peer.wanted.empty() && peer.asked.size() < options_.ask_max) {
      std::string sha256 = *peer.wanted.begin();
      peer.wanted.erase(peer.wanted.begin());
      const auto at = blobs_.find(sha256);
      if (at == blobs_.end() || at->second.holders.count(node) > 0) continue;
      // One that is settled is still spread to all, but not for ever.
      if (at->second.wants.empty() && peer.failures > 0) continue;
      peer.asked.push_back(std::move(sha256));
    }
    if (peer.asked.empty()) continue;
    peer.ask_id = next_ask_++;
    effects.push_back(Ask{peer.ask_id, node, peer.asked});
  }
}

absl::Duration HoldersCore::NextDeadline() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [node, peer] : peers_) {
    if (peer.asked.empty() && !peer.wanted.empty()) {
      next = std::min(next, peer.ask_at);
    }
  }
  for (const std::string& sha256 : open_) {
    const Blob& blob = blobs_.at(sha256);
    if (!blob.fetching && blob.holders.count(self_) == 0) {
      next = std::min(next, blob.fetch_at);
    }
  }
  return next;
}

bool HoldersCore::Release(raft::NodeId holder, const std::string& sha256) {
  const auto found = blobs_.find(sha256);
  if (found == blobs_.end()) return true;
  if (!found->second.wants.empty()) return false;
  if (const auto peer = peers_.find(holder); peer != peers_.end()) {
    const Blobs& asked = peer->second.asked;
    if (std::find(asked.begin(), asked.end(), sha256) != asked.end()) {
      return false;
    }
    peer->second.wanted.erase(sha256);
  }
  found->second.holders.erase(holder);
  return true;
}

void HoldersCore::Reset() {
  blobs_.clear();
  open_.clear();
  wants_.clear();
  for (auto& [node, peer] : peers_) peer = Peer();
}

}  // namespace millrace::master
