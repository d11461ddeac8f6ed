// How a simulated master comes to its state: by the log alone, from a snapshot
// and the tail of the log, or, as a standby, from what another leader sends it.
#include <utility>

#include "common/strings.h"
#include "master/state/state_snapshot.h"
#include "master/state/testing/byte_strings.h"
#include "tests/sim/cluster_sim.h"

namespace millrace::sim {

void ClusterSim::OnApplied(uint64_t index, const Proposal& proposal,
                           const master::ApplyResult& result,
                           const master::State& state) {
  if (index <= checked_) return;
  checked_ = index;
  checker_.OnApplied(proposal.entry, result, state);
}

std::unique_ptr<master::State> ClusterSim::Restored(const std::string& bytes) {
  master::testing::StringSource source(
      bytes, static_cast<size_t>(1 + random_->Uniform(100'000)));
  auto state = master::State::Restore(source, options_.state_mutant);
  if (state.ok()) return *std::move(state);
  checker_.Violate(Cat("I17: ", ToStd(state.status().message())));
  return std::make_unique<master::State>(options_.state_mutant);
}

std::string ClusterSim::Written(const master::StateSnapshot& snapshot) {
  master::testing::StringSink sink;
  const absl::Status written = snapshot.WriteTo(sink);
  if (!written.ok()) checker_.Violate(Cat("I17: ", ToStd(written.message())));
  return std::move(sink.bytes);
}

void ClusterSim::ApplyFrom(uint64_t index, master::State& state) {
  const auto compare = [&] {
    if (hash_index_ > 0 && state.applied_index() == hash_index_ &&
        state.Hash() != hash_) {
      checker_.Violate("I17: the replayed state is another");
    }
  };
  compare();
  for (uint64_t i = index; i < log_.size(); ++i) {
    const master::ApplyResult result =
        state.Apply(i + 1, log_[i].term, log_[i].entry);
    OnApplied(i + 1, log_[i], result, state);
    compare();
  }
}

void ClusterSim::RecoverState() {
  writing_snapshot_ = false;
  if (!snapshot_.has_value()) {
    state_ = std::make_unique<master::State>(options_.state_mutant);
    return ApplyFrom(0, *state_);
  }
  ++result_.restored;
  state_ = Restored(snapshot_->bytes);
  Note(Cat("master begins with a snapshot of entry ", snapshot_->index));
  ApplyFrom(snapshot_->index + (options_.skip_behind_snapshot ? 1 : 0),
            *state_);
  master::State replayed(options_.state_mutant);
  ApplyFrom(0, replayed);
  if (state_->Hash() != replayed.Hash()) {
    checker_.Violate("I17: snapshot and tail are not what the whole log says");
  }
}

void ClusterSim::TakeSnapshotIfDue() {
  if (snapshot_every_ == 0 || writing_snapshot_) return;
  const uint64_t index = state_->applied_index();
  if (index < last_snapshot_ + snapshot_every_) return;
  last_snapshot_ = index;
  writing_snapshot_ = true;
  // Written in one piece later on: whatever changes meanwhile must not show.
  queue_.After(Between(0.1, 3000), [this, life = life_, hash = state_->Hash(),
                                    frozen = state_->Freeze()] {
    if (life != life_) return;  // A file that is not complete does not count.
    writing_snapshot_ = false;
    if (frozen->Hash() != hash) {
      checker_.Violate("I17: a state that was frozen has changed");
    }
    if (snapshot_.has_value() && snapshot_->index >= frozen->applied_index()) {
      return;
    }
    snapshot_ = {frozen->applied_index(), Written(*frozen)};
    ++result_.snapshots;
  });
}

void ClusterSim::InstallSnapshot(const std::vector<Proposal>& entries) {
  if (queue_.now() < stalled_until_) {
    inbox_.push_back([this, entries] { InstallSnapshot(entries); });
    return;
  }
  const std::unique_ptr<master::State> elsewhere =
      Restored(Written(*state_->Freeze()));
  for (const Proposal& proposal : entries) {
    const uint64_t index = elsewhere->applied_index() + 1;
    const master::ApplyResult result =
        elsewhere->Apply(index, proposal.term, proposal.entry);
    OnApplied(index, proposal, result, *elsewhere);
  }
  snapshot_ = {elsewhere->applied_index(), Written(*elsewhere->Freeze())};
  last_snapshot_ = snapshot_->index;
  Note(Cat("the standby gets the state at entry ", snapshot_->index));
  ++result_.installed;
  state_->Swap(*Restored(snapshot_->bytes));
  if (state_->Hash() != elsewhere->Hash()) {
    checker_.Violate("I17: the state that was sent is another");
  }
  Feed(master::StateRestored{});
}

}  // namespace millrace::sim
