// What is replicated, and what clients do to it: the object whose histories are
// judged. One per process of a member; plus what clients and the judge need to
// know of it.
#ifndef MILLRACE_TESTS_SIM_RAFT_SUBJECT_H_
#define MILLRACE_TESTS_SIM_RAFT_SUBJECT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "common/random.h"
#include "raft/replicated_log.h"
#include "tests/sim/raft/linearizability.h"

namespace millrace::raftsim {

// One request of one session. A session has one request under way, and repeats
// it with the same number until it knows the answer.
struct Request {
  uint64_t session = 0;
  uint64_t number = 0;
  bool read = false;  // Leaves no trace in the log.
  uint32_t kind = 0;
  uint32_t object = 0;
  uint64_t argument = 0;
};

struct Answer {
  uint64_t session = 0;
  uint64_t number = 0;
  uint64_t value = 0;
  // Arguments of earlier requests that made the object what the answer says.
  std::vector<uint64_t> seen;
};

// The state machine. Deterministic: equal entries, equal states.
class Subject {
 public:
  virtual ~Subject() = default;

  // What is proposed for a request that is no read.
  virtual std::string Encode(const Request& request) const = 0;
  // nullopt: the entry answers nobody.
  virtual std::optional<Answer> Apply(const raft::CommittedEntry& entry) = 0;
  virtual Answer Read(const Request& request) const = 0;

  // Of all that is in it.
  virtual uint64_t hash() const = 0;
  // Held still: later changes are not in it.
  virtual raft::FrozenState Freeze() const = 0;
  virtual absl::Status Load(ByteSource& source) = 0;
};

// What clients do, and what they may be told.
class Workload {
 public:
  virtual ~Workload() = default;

  virtual std::unique_ptr<Subject> NewSubject() const = 0;
  // The next request of a client, without session and number. No two have the
  // same argument, unless they are reads.
  virtual Request Next(Random& random) = 0;
  // A client was answered.
  virtual void Saw(const Request& /*request*/, const Answer& /*answer*/) {}
  // Reads that show all there is at the end.
  virtual std::vector<Request> LastReads() const = 0;
  // Of one object, sequential.
  virtual Specification specification() const = 0;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SUBJECT_H_
