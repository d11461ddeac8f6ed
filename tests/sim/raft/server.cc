#include "tests/sim/raft/server.h"

#include <cstdlib>
#include <optional>

#include "common/strings.h"

namespace millrace::raftsim {

std::string AddressOf(int machine) { return Cat("machine:", machine); }

int MachineOf(const std::string& address) {
  const size_t colon = address.find(':');
  return colon == std::string::npos ? 0 : std::atoi(&address[colon + 1]);
}

Server::Server(raft::NodeId self, std::unique_ptr<Subject> subject,
               ServerLog& log, Host& host, Invariants& invariants)
    : self_(self),
      subject_(std::move(subject)),
      log_(log),
      host_(host),
      invariants_(invariants) {}

void Server::Refuse(const Request& request, const ReplyTo& reply) const {
  Reply refusal;
  refusal.session = request.session;
  refusal.number = request.number;
  refusal.hint = hint_;
  reply(refusal);
}

void Server::Ask(const Request& request, ReplyTo reply) {
  if (!leading_) {
    Refuse(request, reply);
    return;
  }
  if (request.read) {
    log_.ConfirmLeading(term_, [this, request, reply](absl::Status status) {
      if (!status.ok()) {
        Refuse(request, reply);
        return;
      }
      reply({request.session, request.number, true, subject_->Read(request)});
    });
    return;
  }
  waiting_[{request.session, request.number}] = reply;
  if (!log_.Propose(term_, {subject_->Encode(request)}).ok()) {
    waiting_.erase({request.session, request.number});
    Refuse(request, reply);
  }
}

void Server::OnCommitted(std::vector<raft::CommittedEntry> entries) {
  for (const raft::CommittedEntry& entry : entries) {
    if (entry.index <= applied_) {
      invariants_.Violate(
          5, Cat("entry ", entry.index, " is applied after entry ", applied_));
      return;
    }
    applied_ = entry.index;
    const std::optional<Answer> answer = subject_->Apply(entry);
    invariants_.OnApplied(self_, entry, subject_->hash());
    if (!answer.has_value()) continue;
    const auto found = waiting_.find({answer->session, answer->number});
    if (found == waiting_.end()) continue;
    const ReplyTo reply = std::move(found->second);
    waiting_.erase(found);
    reply({answer->session, answer->number, true, *answer});
  }
}

void Server::OnSnapshot(uint64_t index, uint64_t /*term*/,
                        std::unique_ptr<ByteSource> state) {
  if (index < applied_) {
    invariants_.Violate(9, Cat("a snapshot up to entry ", index,
                               " replaces a state at entry ", applied_));
  }
  if (const absl::Status status = subject_->Load(*state); !status.ok()) {
    host_.Die(status);
    return;
  }
  applied_ = index;
  invariants_.OnSnapshot(self_, index, subject_->hash());
}

void Server::OnSnapshotWanted(SnapshotTaken done) {
  // A state machine on a loop of its own gets to it a little later.
  host_.After(host_.ApplyTime(), Step::kSnapshotTaken, [this, done] {
    invariants_.OnSnapshot(self_, applied_, subject_->hash());
    done(applied_, subject_->Freeze());
  });
}

void Server::OnLeading(uint64_t term) {
  leading_ = true;
  term_ = term;
  hint_ = host_.machine();
  host_.trace().Note("serves", host_.machine(), {{"term", term}});
}

void Server::OnFollowing(uint64_t term, std::string leader_address) {
  leading_ = false;
  hint_ = MachineOf(leader_address);
  host_.trace().Note(
      "follows", host_.machine(),
      {{"term", term}, {"machine", static_cast<uint64_t>(hint_)}});
  // Their fate is unknown; who asked asks again.
  for (const auto& [key, reply] : std::exchange(waiting_, {})) {
    Request request;
    std::tie(request.session, request.number) = key;
    Refuse(request, reply);
  }
}

}  // namespace millrace::raftsim
