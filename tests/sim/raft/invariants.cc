#include "tests/sim/raft/invariants.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/strings.h"
#include "raft/core/membership.h"

namespace millrace::raftsim {

using raft::EntryId;
using raft::HardState;
using raft::LogEntry;
using raft::Membership;
using raft::MessageType;
using raft::NodeId;
using raft::Role;

namespace {

bool SameVoters(const Membership& a, const Membership& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.first == y.first && x.second.voter == y.second.voter;
      });
}

std::string DescribeVoters(const Membership& membership) {
  std::string text;
  for (const auto& [node, member] : membership) {
    text.append(Cat(text.empty() ? "" : ", ", node % 10000,
                    member.voter ? "" : " (learner)"));
  }
  return text;
}

}  // namespace

std::optional<uint64_t> Invariants::Member::ChainOf(uint64_t index) const {
  if (index == base) return base_chain;
  if (const Entry* entry = Find(index)) return entry->chain;
  return std::nullopt;
}

std::optional<uint64_t> Invariants::Member::TermOf(uint64_t index) const {
  if (index == base) return base_term;
  if (const Entry* entry = Find(index)) return entry->term;
  return std::nullopt;
}

void Invariants::Violate(int number, const std::string& what) {
  if (violation_.empty()) violation_ = Cat("invariant ", number, ": ", what);
}

std::string Invariants::Name(NodeId id) const {
  // Ids are random; the first digits tell them apart in a story.
  return Cat("member ", id % 10000);
}

DurableLog* Invariants::DiskOf(NodeId id) {
  const auto found = members_.find(id);
  if (found == members_.end() || found->second.disk == nullptr) return nullptr;
  DurableLog& disk = *found->second.disk;
  const std::string wrong = disk.Refresh();
  if (!wrong.empty()) Violate(7, Cat(Name(id), ", its disk: ", wrong));
  return &disk;
}

// ------------------------------------------------------------ life of a member

void Invariants::Started(NodeId id, const raft::SimDisk& disk,
                         const std::string& directory,
                         const raft::LogStore& log, uint64_t applied,
                         const Membership& membership) {
  // A founder may take itself for the group before any entry says so.
  if (members_.empty()) memberships_[0] = membership;
  // Who joins knows nobody before the log tells it.
  const bool knows = applied > 0 || !membership.empty();
  if (knows && (applied > commit_index() ||
                !SameVoters(membership, MembershipAt(applied)))) {
    Violate(9, Cat(Name(id), " starts at entry ", applied,
                   " with a membership that was not there: ",
                   DescribeVoters(membership), "; there were ",
                   DescribeVoters(MembershipAt(applied))));
  }
  Member& member = members_[id];
  const HardState hard = log.hard_state();
  if (member.disk != nullptr && !std::exchange(member.lost, false)) {
    const DurableLog& before = *member.disk;
    const HardState& was = before.hard_state();
    const bool forgot_vote =
        hard.term == was.term && was.vote != 0 && hard.vote != was.vote;
    if (hard.term < was.term || forgot_vote || hard.commit < was.commit) {
      Violate(7,
              Cat(Name(id), " starts with term ", hard.term, ", vote for ",
                  hard.vote, ", commit ", hard.commit, "; durable were term ",
                  was.term, ", vote for ", was.vote, ", commit ", was.commit));
    }
    // What was about to be cut off may be so.
    const uint64_t last = std::min(before.last_index(), member.cut_from - 1);
    const auto term = log.Term(last);
    const auto chain = before.ChainOf(last);
    const bool kept =
        log.first_index() > last + 1 || (term.ok() && chain.has_value() &&
                                         book_.ChainOf(last, *term) == *chain);
    if (!kept) {
      Violate(12, Cat(Name(id), " starts with a log up to ", log.last_index(),
                      "; durable were entries up to ", last));
    }
  }
  member.alive = true;
  member.cut_from = UINT64_MAX;
  member.disk = std::make_unique<DurableLog>(disk, directory, book_);
  member.view = {hard, Role::kFollower, applied, {}, membership};
  member.entries.clear();
  member.base = log.first_index() - 1;
  member.base_term = log.Term(member.base).value_or(0);
  const auto base_chain = book_.ChainOf(member.base, member.base_term);
  if (!base_chain.has_value()) {
    Violate(12, Cat(Name(id), " starts with a log behind entry ", member.base,
                    " of term ", member.base_term, ", which nobody ever had"));
    return;
  }
  member.base_chain = *base_chain;
  if (log.last_index() > member.base) {
    const auto entries =
        log.Read(member.base + 1, log.last_index() + 1, UINT64_MAX);
    if (!entries.ok()) {
      Violate(12, Cat(Name(id), " starts and cannot read its log: ",
                      ToStd(entries.status().message())));
      return;
    }
    for (const LogEntry& entry : *entries) Append(id, member, entry);
  }
  member.segments = DiskOf(id)->segments();
  if (hard.commit <= commit_index()) return;
  if (commit_index() > 0) {
    Violate(6, Cat(Name(id), " starts with entry ", hard.commit,
                   " committed; it has never been"));
    return;
  }
  Commit(id, member, hard.commit);  // What founded the group.
}

void Invariants::Stopped(NodeId id) {
  Member& member = members_[id];
  member.alive = false;
  if (member.disk == nullptr) return;
  reach_.segments += DiskOf(id)->segments() - member.segments;
  member.disk->Freeze();
}

void Invariants::Lost(NodeId id) {
  Stopped(id);
  members_[id].lost = true;
}

// ----------------------------------------------------------------- every event

void Invariants::Append(NodeId id, Member& member, const LogEntry& entry) {
  if (entry.index != member.last_index() + 1) {
    Violate(3, Cat(Name(id), " puts entry ", entry.index, " behind entry ",
                   member.last_index()));
    return;
  }
  const uint64_t before =
      member.entries.empty() ? member.base_chain : member.entries.back().chain;
  Entry kept;
  kept.term = entry.term;
  kept.chain = Extend(
      before, HashOfEntry(entry.index, entry.term, entry.kind, entry.payload));
  if (entry.kind == raft::kMembershipEntry) {
    auto change = raft::DecodeMembershipChange(entry.payload);
    if (!change.ok()) {
      Violate(10, Cat("entry ", entry.index, " is no change of membership: ",
                      ToStd(change.status().message())));
    } else {
      kept.change = *std::move(change);
    }
  }
  member.entries.push_back(std::move(kept));
  if (!book_.Record(entry.index, entry.term, member.entries.back().chain)) {
    Violate(3, Cat(Name(id), " has another entry ", entry.index, " of term ",
                   entry.term, ", or others before it, than another member"));
  }
}

void Invariants::OnWrite(NodeId id, const raft::LogWrite& write,
                         const MemberView& now) {
  Member& member = members_[id];
  const MemberView& before = member.view;
  const bool leads = before.role == Role::kLeader &&
                     now.role == Role::kLeader &&
                     before.hard_state.term == now.hard_state.term;
  if (write.snapshot.has_value()) {
    const EntryId last = write.snapshot->last;
    if (last.index > commit_index() ||
        committed_[last.index - 1].term != last.term) {
      Violate(9, Cat(Name(id), " takes a snapshot up to entry ", last.index,
                     " of term ", last.term, ", which is not committed"));
      return;
    }
    if (leads) Violate(2, Cat(Name(id), " leads and takes a snapshot over"));
    ++reach_.begun_anew;
    // What is not of the snapshot goes, also what stands behind its end.
    for (uint64_t i = member.base + 1; i <= member.last_index(); ++i) {
      if (i > last.index || member.ChainOf(i) != committed_[i - 1].chain) {
        member.cut_from = std::min(member.cut_from, i);
        break;
      }
    }
    member.base = last.index;
    member.base_term = last.term;
    member.base_chain = committed_[last.index - 1].chain;
    member.entries.clear();
  }
  if (write.truncate_from.has_value()) {
    const uint64_t from = *write.truncate_from;
    if (leads) {
      Violate(2, Cat(Name(id), " leads term ", now.hard_state.term,
                     " and cuts its log off at entry ", from));
    }
    if (from <= before.hard_state.commit || from <= member.base ||
        from > member.last_index()) {
      Violate(6, Cat(Name(id), " cuts off entry ", from, ", with entries ",
                     member.base + 1, " to ", member.last_index(),
                     ", committed up to ", before.hard_state.commit));
      return;
    }
    member.entries.resize(from - 1 - member.base);
    ++reach_.cut_off;
    member.cut_from = std::min(member.cut_from, from);
  }
  for (const LogEntry& entry : write.entries) {
    Append(id, member, entry);
    if (!violation_.empty()) return;
    if (now.role == Role::kLeader && entry.term == now.hard_state.term &&
        entry.kind == raft::kMembershipEntry) {
      CheckChange(id, member, now);
    }
  }
}

// The last entry of `member`, which leads, changes the membership.
void Invariants::CheckChange(NodeId id, const Member& member,
                             const MemberView& now) {
  const uint64_t index = member.last_index();
  for (uint64_t i = std::max(now.applied, member.base) + 1; i < index; ++i) {
    if (member.Find(i)->change.has_value()) {
      Violate(10, Cat(Name(id), " leads and proposes change ", index,
                      " while change ", i, " is not applied"));
    }
  }
  const uint64_t commit = now.hard_state.commit;
  if (member.TermOf(commit) != now.hard_state.term) {
    Violate(10, Cat(Name(id), " leads term ", now.hard_state.term,
                    " and proposes change ", index,
                    " before it has committed an entry of its term"));
  }
}

void Invariants::OnSend(NodeId id, const raft::Message& message) {
  Member& member = members_[id];
  const bool grants =
      message.type == MessageType::kVoteResponse && !message.rejected;
  if (grants || message.type == MessageType::kVote) {
    const NodeId vote = grants ? message.to : id;
    const auto [known, fresh] = member.votes.emplace(message.term, vote);
    if (!fresh && known->second != vote) {
      Violate(7, Cat(Name(id), " votes for ", Name(vote), " in term ",
                     message.term, ", after a vote for ", Name(known->second)));
    }
  }
  if (!durability_rule_) return;
  // These speak of terms that nobody has.
  if (message.type == MessageType::kPreVote ||
      message.type == MessageType::kPreVoteResponse) {
    return;
  }
  DurableLog* disk = DiskOf(id);
  if (disk == nullptr) return;
  const HardState& durable = disk->hard_state();
  if (durable.term < message.term) {
    Violate(11, Cat(Name(id), " speaks in term ", message.term,
                    ", durable is term ", durable.term));
  }
  // A message that was overtaken by a newer term speaks of the past.
  if (durable.term > message.term) return;
  if ((grants || message.type == MessageType::kVote) &&
      durable.vote != (grants ? message.to : id)) {
    Violate(11, Cat(Name(id), " votes in term ", message.term,
                    ", and the vote is not durable"));
  }
  // Who follows another by now, in this term, may have cut that log off; the
  // votes that it still asks for will not count.
  const bool stands = member.view.role == Role::kCandidate &&
                      member.view.hard_state.term == message.term;
  if (message.type == MessageType::kVote && stands && message.prev.index > 0 &&
      !disk->Holds(message.prev.index, message.prev.term)) {
    Violate(11, Cat(Name(id), " asks for votes with a log up to ",
                    message.prev.index, " of term ", message.prev.term,
                    ", which is not durable"));
  }
  if (message.type == MessageType::kAppendResponse && !message.rejected &&
      member.view.hard_state.term == message.term) {
    const uint64_t index = message.prev.index;
    const auto term = member.TermOf(index);
    const bool held = term.has_value() ? disk->Holds(index, *term)
                                       : index <= disk->last_index() ||
                                             index <= disk->snapshot_index();
    if (!held) {
      Violate(11, Cat(Name(id), " acknowledges entries up to ", index,
                      " in term ", message.term, ", durable are entries up to ",
                      disk->last_index()));
    }
  }
}

void Invariants::AfterEvent(NodeId id, const MemberView& view) {
  Member& member = members_[id];
  const DurableLog* disk = DiskOf(id);
  if (member.cut_from != UINT64_MAX && disk != nullptr &&
      disk->last_index() == member.last_index() &&
      disk->ChainOf(disk->last_index()) == member.ChainOf(disk->last_index())) {
    member.cut_from = UINT64_MAX;
  }
  if (!member.alive || view == member.view) return;
  const MemberView before = std::exchange(member.view, view);
  const HardState& hard = view.hard_state;
  const HardState& was = before.hard_state;
  if (hard.term < was.term ||
      (hard.term == was.term && was.vote != 0 && hard.vote != was.vote)) {
    Violate(7,
            Cat(Name(id), " goes from term ", was.term, ", vote for ", was.vote,
                ", to term ", hard.term, ", vote for ", hard.vote));
  }
  if (hard.commit < was.commit) {
    Violate(6, Cat(Name(id), ": the commit index falls from ", was.commit,
                   " to ", hard.commit));
  }
  if (view.applied > hard.commit || view.applied < before.applied) {
    Violate(6, Cat(Name(id), " has applied ", view.applied, ", before that ",
                   before.applied, "; committed is ", hard.commit));
  }
  if (view.role == Role::kLeader &&
      (before.role != Role::kLeader || hard.term != was.term)) {
    CheckLeader(id, member);
  }
  if (view.role == Role::kLeader) CheckMatch(id, member, before);
  if (hard.commit > was.commit) CheckCommit(id, member, before);
  CheckMembership(id, view);
}

// It is the one of what is applied. While a snapshot is being installed it is
// that of the snapshot already, so any up to what is committed will do.
void Invariants::CheckMembership(NodeId id, const MemberView& view) {
  if (view.applied == 0 && view.membership.empty()) return;  // It joins.
  auto at = std::prev(memberships_.upper_bound(view.applied));
  const auto end = memberships_.upper_bound(view.hard_state.commit);
  for (; at != end; ++at) {
    if (SameVoters(view.membership, at->second)) return;
  }
  Violate(10, Cat(Name(id), " counts votes of ",
                  DescribeVoters(view.membership), " with ", view.applied,
                  " entries applied, where the members are ",
                  DescribeVoters(MembershipAt(view.applied))));
}

void Invariants::CheckLeader(NodeId id, const Member& member) {
  const uint64_t term = member.view.hard_state.term;
  const auto [leader, fresh] = leaders_.emplace(term, id);
  if (!fresh && leader->second != id) {
    Violate(1, Cat(Name(id), " and ", Name(leader->second), " both lead term ",
                   term));
  }
  ++reach_.leaders;
  uint64_t index = commit_index();
  while (index > 0 && committed_[index - 1].commit_term >= term) --index;
  if (index <= member.base) return;  // Its snapshot was checked when it came.
  if (member.ChainOf(index) != committed_[index - 1].chain) {
    Violate(4, Cat(Name(id), " leads term ", term, " without entry ", index,
                   ", which was committed in term ",
                   committed_[index - 1].commit_term));
  }
}

// ------------------------------------------------------------------ the state

void Invariants::OnApplied(NodeId id, const raft::CommittedEntry& entry,
                           uint64_t hash) {
  if (entry.index > commit_index() ||
      committed_[entry.index - 1].term != entry.term) {
    Violate(5, Cat(Name(id), " applies entry ", entry.index, " of term ",
                   entry.term, ", which is not committed"));
    return;
  }
  const uint64_t payload = Hash64(entry.payload);
  if (payloads_.emplace(entry.index, payload).first->second != payload) {
    Violate(5, Cat(Name(id), " applies another entry ", entry.index,
                   " than another member"));
  }
  if (states_.emplace(entry.index, hash).first->second != hash) {
    Violate(9, Cat(Name(id), " has another state after entry ", entry.index,
                   " than another member"));
  }
}

void Invariants::OnSnapshot(NodeId id, uint64_t index, uint64_t hash) {
  ++reach_.snapshots;
  const auto after = states_.upper_bound(index);
  const uint64_t expected =
      after == states_.begin() ? empty_state_ : std::prev(after)->second;
  if (hash != expected) {
    Violate(9, Cat(Name(id), " has a snapshot at entry ", index,
                   " that is not the state there"));
  }
}

// --------------------------------------------------------------- for others

bool Invariants::ChangeUnderWay() const {
  for (const auto& [id, member] : members_) {
    if (member.lost) continue;
    for (uint64_t i = std::max(member.base, commit_index()) + 1;
         i <= member.last_index(); ++i) {
      if (member.Find(i)->change.has_value()) return true;
    }
  }
  return false;
}

bool Invariants::KnowsMembership(NodeId id) {
  const DurableLog* disk = DiskOf(id);
  const uint64_t change = memberships_.rbegin()->first;
  return disk != nullptr && (disk->hard_state().commit >= change ||
                             disk->snapshot_index() >= change);
}

bool Invariants::Converged(const std::set<NodeId>& members) const {
  std::set<std::pair<uint64_t, uint64_t>> ends;
  for (NodeId id : members) {
    const auto found = members_.find(id);
    if (found == members_.end() || !found->second.alive) return false;
    const Member& member = found->second;
    const uint64_t last = member.last_index();
    if (member.view.hard_state.commit != last || member.view.applied != last) {
      return false;
    }
    ends.insert({last, member.ChainOf(last).value_or(0)});
  }
  return ends.size() == 1;
}

}  // namespace millrace::raftsim
