// Invariants: what members take for committed, and for held by others.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "raft/core/membership.h"
#include "tests/sim/raft/invariants.h"

namespace millrace::raftsim {

using raft::EntryId;
using raft::Membership;
using raft::NodeId;
using raft::Role;

void Invariants::CheckMatch(NodeId id, const Member& member,
                            const MemberView& before) {
  const uint64_t leading = member.view.hard_state.term;
  for (const auto& pair : member.view.match) {
    const auto& [node, match] = pair;
    if (match == 0 || (before.hard_state.term == leading &&
                       std::find(before.match.begin(), before.match.end(),
                                 pair) != before.match.end())) {
      continue;
    }
    std::optional<uint64_t> term = member.TermOf(match);
    // Behind its snapshot all is committed.
    if (!term.has_value() && match <= member.base) {
      term = committed_[match - 1].term;
    }
    if (!term.has_value()) {
      Violate(6, Cat(Name(id), " takes ", Name(node), " to hold entry ", match,
                     "; its own log ends at ", member.last_index()));
      return;
    }
    const DurableLog* disk = DiskOf(node);
    // Who follows a later leader may have cut it off since.
    if (disk != nullptr && disk->hard_state().term > leading) continue;
    if (disk == nullptr || !disk->Holds(match, *term)) {
      Violate(6, Cat(Name(id), " leads term ", leading, " and takes ",
                     Name(node), " to hold entry ", match, " of term ", *term,
                     ", which is not durable there"));
      return;
    }
  }
}

void Invariants::CheckCommit(NodeId id, Member& member,
                             const MemberView& before) {
  const uint64_t commit = member.view.hard_state.commit;
  if (commit > member.last_index()) {
    Violate(6, Cat(Name(id), " takes entry ", commit,
                   " for committed; its log ends at ", member.last_index()));
    return;
  }
  const uint64_t known = std::min(commit, commit_index());
  if (known > member.base &&
      member.ChainOf(known) != committed_[known - 1].chain) {
    Violate(5, Cat(Name(id), " takes another entry ", known,
                   " for committed than was committed"));
    return;
  }
  if (commit <= commit_index()) return;
  // Changes may be committed and applied in this very event, and raise the
  // commit index by themselves. Which of the memberships counted in the end is
  // not visible from here.
  const uint64_t term = *member.TermOf(commit);
  uint64_t counted = before.applied;
  uint64_t through = member.view.applied;
  // A leader that dies in the event in which it commits is not seen to do so;
  // but it counted, not the one that heard of it.
  const auto leader = leaders_.find(member.view.hard_state.term);
  if (leader != leaders_.end() && leader->second != id) {
    counted = members_[leader->second].view.applied;
    through = commit;
  }
  Membership group = MembershipAt(counted);
  bool durable = DurableOnQuorum(commit, term, group);
  for (uint64_t i = counted + 1; i <= through; ++i) {
    const Entry* entry = member.Find(i);
    if (durable || entry == nullptr || !entry->change.has_value()) continue;
    group = raft::ApplyChange(group, *entry->change).value_or(group);
    durable = DurableOnQuorum(commit, term, group);
  }
  if (!durable) {
    Violate(6, Cat(Name(id), " takes entry ", commit, " of term ", term,
                   " for committed, which is not durable on a quorum: ",
                   DescribeDisks(group)));
    return;
  }
  if (const NodeId other = ElectableWithout(commit, term, group);
      other != raft::kNobody) {
    Violate(4, Cat(Name(id), " takes entry ", commit, " of term ", term,
                   " for committed, and ", Name(other),
                   " can be elected without it"));
    return;
  }
  Commit(id, member, commit);
}

void Invariants::Commit(NodeId id, const Member& member, uint64_t commit) {
  const uint64_t commit_term = member.view.hard_state.term;
  for (uint64_t i = commit_index() + 1; i <= commit; ++i) {
    const Entry* entry = member.Find(i);
    if (entry == nullptr) {
      Violate(6, Cat(Name(id), " takes entries up to ", commit,
                     " for committed and does not have entry ", i));
      return;
    }
    committed_.push_back({entry->term, commit_term, entry->chain});
    if (!entry->change.has_value()) continue;
    const Membership& old = membership();
    const auto changed = raft::ApplyChange(old, *entry->change);
    if (!changed.ok()) continue;  // Refused when it is applied.
    std::set<NodeId> differ;
    for (const auto* pair : {&old, &*changed}) {
      for (const auto& [node, m] : *pair) {
        const auto voter = [node = node](const Membership& group) {
          const auto found = group.find(node);
          return found != group.end() && found->second.voter;
        };
        if (voter(old) != voter(*changed)) differ.insert(node);
      }
    }
    if (differ.size() > 1) {
      Violate(10, Cat("change ", i, " changes ", differ.size(), " voters"));
    }
    memberships_[i] = *changed;
    ++reach_.changes;
  }
  // Who leads a later term must have it.
  for (const auto& [other, m] : members_) {
    if (m.alive && m.view.role == Role::kLeader &&
        m.view.hard_state.term > commit_term && commit > m.base &&
        m.ChainOf(commit) != committed_[commit - 1].chain) {
      Violate(4, Cat(Name(other), " leads term ", m.view.hard_state.term,
                     " without entry ", commit, ", committed by ", Name(id),
                     " in term ", commit_term));
    }
  }
}

bool Invariants::DurableOnQuorum(uint64_t index, uint64_t term,
                                 const Membership& group) {
  size_t voters = 0;
  size_t holding = 0;
  for (const auto& [node, m] : group) {
    if (!m.voter) continue;
    ++voters;
    const DurableLog* disk = DiskOf(node);
    if (disk != nullptr && disk->Holds(index, term)) ++holding;
  }
  return 2 * holding > voters;
}

NodeId Invariants::ElectableWithout(uint64_t index, uint64_t term,
                                    const Membership& group) {
  // Of a voter without a disk nothing can be said. One whose disk is lost
  // neither stands nor votes.
  std::vector<std::pair<NodeId, EntryId>> ends;
  size_t voters = 0;
  for (const auto& [node, m] : group) {
    if (!m.voter) continue;
    ++voters;
    const auto found = members_.find(node);
    if (found == members_.end() || found->second.lost) continue;
    if (const DurableLog* disk = DiskOf(node)) {
      ends.emplace_back(node, disk->last());
    }
  }
  const auto up_to_date = [](const EntryId& a, const EntryId& b) {
    return a.term != b.term ? a.term > b.term : a.index >= b.index;
  };
  for (const auto& [node, last] : ends) {
    if (DiskOf(node)->Holds(index, term)) continue;
    const auto votes = static_cast<size_t>(std::count_if(
        ends.begin(), ends.end(),
        [&](const auto& other) { return up_to_date(last, other.second); }));
    if (2 * votes > voters) return node;
  }
  return raft::kNobody;
}

std::string Invariants::DescribeDisks(const Membership& group) {
  std::string text;
  for (const auto& [node, m] : group) {
    if (!m.voter) continue;
    const DurableLog* disk = DiskOf(node);
    if (!text.empty()) text.append(", ");
    text.append(disk == nullptr
                    ? Cat(Name(node), " has none")
                    : Cat(Name(node), " has entries up to ", disk->last().index,
                          " of term ", disk->last().term));
  }
  return text;
}

}  // namespace millrace::raftsim
