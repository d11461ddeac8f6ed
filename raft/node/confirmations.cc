#include "raft/node/confirmations.h"

#include "common/strings.h"

namespace millrace::raft {
namespace {

absl::Status DoesNotLead(uint64_t term) {
  return absl::FailedPreconditionError(
      Av(Cat("this master does not lead term ", term)));
}

}  // namespace

void Confirmations::Ask(uint64_t term, Answer done) {
  waiting_.push_back({term, std::move(done)});
}

bool Confirmations::BeginRound(Core& core, uint64_t leading, Answers* answers) {
  if (waiting_.empty() || !in_round_.empty()) return false;
  std::vector<Call> waiting = std::move(waiting_);
  waiting_.clear();
  for (Call& call : waiting) {
    if (call.term == leading && call.term != 0) {
      in_round_.push_back(std::move(call.done));
    } else {
      answers->emplace_back(std::move(call.done), DoesNotLead(call.term));
    }
  }
  if (in_round_.empty()) return false;
  const absl::Status asked = core.ReadIndex(++round_);
  if (asked.ok()) return true;
  for (Answer& done : in_round_) answers->emplace_back(std::move(done), asked);
  in_round_.clear();
  return false;
}

void Confirmations::OnRead(const ReadState& read, Answers* answers) {
  if (read.id != round_) return;
  for (Answer& done : in_round_) {
    if (read.index.has_value()) {
      confirmed_.emplace(*read.index, std::move(done));
    } else {
      answers->emplace_back(std::move(done),
                            absl::FailedPreconditionError(
                                "this master lost its leadership meanwhile"));
    }
  }
  in_round_.clear();
}

void Confirmations::OnHandedOver(uint64_t index, Answers* answers) {
  const auto end = confirmed_.upper_bound(index);
  for (auto i = confirmed_.begin(); i != end; ++i) {
    answers->emplace_back(std::move(i->second), absl::OkStatus());
  }
  confirmed_.erase(confirmed_.begin(), end);
}

std::vector<Confirmations::Answer> Confirmations::TakeAll() {
  std::vector<Answer> all = std::move(in_round_);
  in_round_.clear();
  for (Call& call : waiting_) all.push_back(std::move(call.done));
  waiting_.clear();
  for (auto& [index, done] : confirmed_) all.push_back(std::move(done));
  confirmed_.clear();
  return all;
}

}  // namespace millrace::raft
