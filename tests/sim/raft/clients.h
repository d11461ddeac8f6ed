// Clients: each asks for one thing after the other, of whichever member it
// believes to lead, and repeats itself until it knows the answer or loses
// patience. What they saw is the history that is judged in the end.
//
// A client that lost patience goes on with a new session, so what became of its
// request remains unknown for ever.
#ifndef MILLRACE_TESTS_SIM_RAFT_CLIENTS_H_
#define MILLRACE_TESTS_SIM_RAFT_CLIENTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/raft/linearizability.h"
#include "tests/sim/raft/network.h"
#include "tests/sim/raft/subject.h"
#include "tests/sim/raft/trace.h"

namespace millrace::raftsim {

// What a member says to a client.
struct Reply {
  uint64_t session = 0;
  uint64_t number = 0;
  bool answered = false;  // Else: ask elsewhere, or later.
  Answer answer;
  int hint = 0;  // The machine to ask; 0: not known.
};

struct ClientOptions {
  int clients = 3;
  // Between an answer and the next request: up to twice this.
  absl::Duration think = absl::Milliseconds(300);
  absl::Duration answer_timeout = absl::Milliseconds(1500);
  absl::Duration patience = absl::Seconds(8);
};

// What clients need of the world.
class Servers {
 public:
  virtual ~Servers() = default;
  // On the way to a machine. `reply` is called when, and if, it says something.
  virtual void Ask(Endpoint from, int machine, const Request& request,
                   std::function<void(const Reply&)> reply) = 0;
  // Machines that may be asked, in order.
  virtual std::vector<int> machines() const = 0;
};

// Thread-compatible.
class Clients {
 public:
  // All outlive this.
  Clients(const ClientOptions& options, Workload& workload, Servers& servers,
          sim::EventQueue& queue, Random& random, Trace& trace);

  void Start();
  // From here on the group gets no more than it can do at its slowest.
  void SlowDown() { slow_ = true; }
  // No more requests after those under way.
  void Stop() { stopped_ = true; }
  bool idle() const;
  // Reads everything, with one client that never loses patience. REQUIRES:
  // idle().
  void ReadAll();

  uint64_t answered() const { return answered_; }
  uint64_t given_up() const { return given_up_; }

  struct Judgement {
    std::string wrong;  // Why the history cannot have happened; "": it can.
    uint64_t steps = 0;
    uint64_t undecided = 0;  // Objects whose history is too hard to judge.
  };
  Judgement Judge() const;

 private:
  struct Client {
    Endpoint endpoint = 0;
    uint64_t session = 0;
    uint64_t number = 0;
    bool busy = false;
    Request request;
    size_t operation = 0;  // In its history.
    int machine = 0;       // That it asks.
    uint64_t attempt = 0;
    absl::Duration give_up_at;
  };

  void Think(Client& client);
  void Begin(Client& client, const Request& request);
  void TryOnce(Client& client);
  void TryAgain(Client& client, uint64_t attempt, absl::Duration after);
  void OnReply(Client& client, uint64_t attempt, const Reply& reply);
  void Finish(Client& client);
  std::vector<Operation> HistoryOf(uint32_t object) const;

  const ClientOptions options_;
  Workload& workload_;
  Servers& servers_;
  sim::EventQueue& queue_;
  Random& random_;
  Trace& trace_;

  std::vector<Client> clients_;
  std::vector<Request> last_reads_;
  bool slow_ = false;
  bool patient_ = false;
  bool stopped_ = false;
  uint64_t next_session_ = 1;
  uint64_t moments_ = 0;
  uint64_t answered_ = 0;
  uint64_t given_up_ = 0;
  std::map<uint32_t, std::vector<Operation>> history_;  // By object.
  std::set<uint64_t> seen_;  // Arguments whose effect an answer showed.
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_CLIENTS_H_
