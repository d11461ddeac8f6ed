#include "tests/sim/raft/network.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace millrace::raftsim {

Network::Network(sim::EventQueue& queue, Random& random, FaultCounts& counts)
    : queue_(queue),
      random_(random),
      counts_(counts),
      links_(static_cast<size_t>(kEndpoints) * kEndpoints) {}

void Network::SetWeather(const Weather& weather) {
  weather_ = weather;
  loss_.counted = duplication_.counted = reordering_.counted = false;
  delay_.counted = weather.delay_max <= Weather().delay_max;
}

Network::Cut Network::Separate(
    Fault fault, const std::vector<std::pair<Endpoint, Endpoint>>& links) {
  const Cut cut = static_cast<Cut>(cuts_.size());
  cuts_.push_back({fault});
  for (const auto& [from, to] : links) link(from, to).cuts.push_back(cut);
  return cut;
}

void Network::Restore(Cut cut) {
  for (Link& link : links_) std::erase(link.cuts, cut);
}

void Network::Heal() {
  SetWeather(Weather());
  for (Link& link : links_) link.cuts.clear();
}

void Network::Send(Endpoint from, Endpoint to, std::function<void()> deliver) {
  Link& on = link(from, to);
  if (!on.cuts.empty()) {
    for (Cut cut : on.cuts) cuts_[static_cast<size_t>(cut)].Touch(&counts_);
    return;
  }
  if (Happens(weather_.loss)) {
    loss_.Touch(&counts_);
    return;
  }
  int copies = 1;
  if (Happens(weather_.duplication)) {
    duplication_.Touch(&counts_);
    copies = 2;
  }
  const auto shared =
      std::make_shared<const std::function<void()>>(std::move(deliver));
  const auto spread = static_cast<uint64_t>(
      absl::ToInt64Microseconds(weather_.delay_max - weather_.delay_min));
  for (; copies > 0; --copies) {
    const auto delay =
        weather_.delay_min +
        absl::Microseconds(static_cast<int64_t>(random_.Uniform(spread + 1)));
    absl::Duration arrival = queue_.now() + delay;
    if (delay > Weather().delay_max) delay_.Touch(&counts_);
    if (Happens(weather_.reordering)) {
      reordering_.Touch(&counts_);
      // Most are overtaken by a few; some come when nobody expects them any
      // more, terms later.
      const uint64_t most = random_.Uniform(8) == 0 ? 6'000'000 : 400'000;
      arrival +=
          absl::Microseconds(static_cast<int64_t>(random_.Uniform(most)));
    } else {
      arrival = std::max(arrival, on.last_arrival);
      on.last_arrival = arrival;
    }
    queue_.At(arrival,
              [this, from, to, shared] { Deliver(from, to, *shared); });
  }
}

void Network::Deliver(Endpoint from, Endpoint to,
                      const std::function<void()>& deliver) {
  const Link& on = link(from, to);
  if (on.cuts.empty()) {
    deliver();
    return;
  }
  for (Cut cut : on.cuts) cuts_[static_cast<size_t>(cut)].Touch(&counts_);
}

}  // namespace millrace::raftsim
