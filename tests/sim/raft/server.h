// What a master is above its log, as small as can be: takes requests, proposes
// them while it leads, applies what is committed, answers.
#ifndef MILLRACE_TESTS_SIM_RAFT_SERVER_H_
#define MILLRACE_TESTS_SIM_RAFT_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/types.h"
#include "raft/replicated_log.h"
#include "tests/sim/raft/clients.h"
#include "tests/sim/raft/host.h"
#include "tests/sim/raft/invariants.h"
#include "tests/sim/raft/subject.h"

namespace millrace::raftsim {

// The part of ReplicatedLog that a server uses.
class ServerLog {
 public:
  virtual ~ServerLog() = default;
  virtual absl::Status Propose(uint64_t term,
                               std::vector<std::string> payloads) = 0;
  virtual void ConfirmLeading(uint64_t term,
                              std::function<void(absl::Status)> done) = 0;
};

class Server final : public raft::LogSink {
 public:
  using ReplyTo = std::function<void(const Reply&)>;

  // All references outlive this.
  Server(raft::NodeId self, std::unique_ptr<Subject> subject, ServerLog& log,
         Host& host, Invariants& invariants);

  void Ask(const Request& request, ReplyTo reply);
  bool leading() const { return leading_; }

  void OnCommitted(std::vector<raft::CommittedEntry> entries) override;
  void OnSnapshot(uint64_t index, uint64_t term,
                  std::unique_ptr<ByteSource> state) override;
  void OnSnapshotWanted(SnapshotTaken done) override;
  void OnLeading(uint64_t term) override;
  void OnFollowing(uint64_t term, std::string leader_address) override;

 private:
  void Refuse(const Request& request, const ReplyTo& reply) const;

  const raft::NodeId self_;
  const std::unique_ptr<Subject> subject_;
  ServerLog& log_;
  Host& host_;
  Invariants& invariants_;

  bool leading_ = false;
  uint64_t term_ = 0;  // While leading.
  int hint_ = 0;
  uint64_t applied_ = 0;  // Of the last entry, or the snapshot, that it holds.
  // By session and number.
  std::map<std::pair<uint64_t, uint64_t>, ReplyTo> waiting_;
};

// Members' addresses say which machine they are on.
std::string AddressOf(int machine);
int MachineOf(const std::string& address);  // 0: none.

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SERVER_H_
