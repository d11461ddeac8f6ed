// The network between machines and clients: it loses, doubles, delays and
// reorders messages, and links can be cut in one direction.
#ifndef MILLRACE_TESTS_SIM_RAFT_NETWORK_H_
#define MILLRACE_TESTS_SIM_RAFT_NETWORK_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/raft/faults.h"

namespace millrace::raftsim {

// A machine (1, 2, ...) or a client (kFirstClient, ...).
using Endpoint = int;
inline constexpr Endpoint kFirstClient = 10;
inline constexpr Endpoint kEndpoints = 20;

// What happens to messages between two endpoints. Probabilities in millionths.
struct Weather {
  uint32_t loss = 0;
  uint32_t duplication = 0;
  uint32_t reordering = 0;  // A message that others may overtake.
  absl::Duration delay_min = absl::Microseconds(50);
  absl::Duration delay_max = absl::Microseconds(500);
};

// Thread-compatible.
class Network {
 public:
  // All outlive this.
  Network(sim::EventQueue& queue, Random& random, FaultCounts& counts);

  // Calls `deliver` when the message arrives: never, once or twice. In the
  // order of sending, as on a stream, but for what is reordered.
  void Send(Endpoint from, Endpoint to, std::function<void()> deliver);

  // For all links; `from` that differs from fair weather counts as faults.
  void SetWeather(const Weather& weather);
  // Links may be cut several times and are whole when each cut is taken back.
  // Messages on their way are lost.
  using Cut = int;
  Cut Separate(Fault fault,
               const std::vector<std::pair<Endpoint, Endpoint>>& links);
  void Restore(Cut cut);
  // Fair weather, no cuts.
  void Heal();
  bool Connected(Endpoint from, Endpoint to) const {
    return link(from, to).cuts.empty();
  }

 private:
  struct Link {
    std::vector<Cut> cuts;
    absl::Duration last_arrival;
  };

  Link& link(Endpoint from, Endpoint to) {
    return links_[static_cast<size_t>(from * kEndpoints + to)];
  }
  const Link& link(Endpoint from, Endpoint to) const {
    return links_[static_cast<size_t>(from * kEndpoints + to)];
  }
  bool Happens(uint32_t millionths) {
    return millionths > 0 && random_.Uniform(1'000'000) < millionths;
  }
  void Deliver(Endpoint from, Endpoint to,
               const std::function<void()>& deliver);

  sim::EventQueue& queue_;
  Random& random_;
  FaultCounts& counts_;
  Weather weather_;
  Stretch loss_{Fault::kLoss};
  Stretch duplication_{Fault::kDuplication};
  Stretch reordering_{Fault::kReordering};
  Stretch delay_{Fault::kDelay};
  std::vector<Link> links_;
  std::vector<Stretch> cuts_;  // By Cut.
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_NETWORK_H_
