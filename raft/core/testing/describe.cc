#include "raft/core/testing/describe.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

std::string TypeName(MessageType type) {
  switch (type) {
    case MessageType::kAppend:
      return "MsgApp";
    case MessageType::kAppendResponse:
      return "MsgAppResp";
    case MessageType::kPreVote:
      return "MsgPreVote";
    case MessageType::kPreVoteResponse:
      return "MsgPreVoteResp";
    case MessageType::kVote:
      return "MsgVote";
    case MessageType::kVoteResponse:
      return "MsgVoteResp";
    case MessageType::kHeartbeat:
      return "MsgHeartbeat";
    case MessageType::kHeartbeatResponse:
      return "MsgHeartbeatResp";
    case MessageType::kSnapshot:
      return "MsgSnap";
    case MessageType::kTimeoutNow:
      return "MsgTimeoutNow";
  }
  return "?";
}

std::string Ids(const Membership& membership, bool voters) {
  std::vector<NodeId> ids;
  for (const auto& [id, member] : membership) {
    if (member.voter == voters) ids.push_back(id);
  }
  return absl::StrJoin(ids, " ");
}

}  // namespace

std::string DescribeRole(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kPreCandidate:
      return "StatePreCandidate";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
  }
  return "?";
}

std::string DescribeChange(const MembershipChange& change) {
  using Kind = MembershipChange::Kind;
  std::string letter = "?";
  if (change.kind == Kind::kAddVoter) letter = "v";
  if (change.kind == Kind::kAddLearner) letter = "l";
  if (change.kind == Kind::kRemove) letter = "r";
  if (change.kind == Kind::kUpdate) letter = "u";
  return Cat(letter, change.node);
}

MembershipChange ParseChange(const std::string& text) {
  using Kind = MembershipChange::Kind;
  MembershipChange change;
  CHECK_GE(text.size(), 2u) << text;
  change.node = std::stoull(text.substr(1));
  if (change.node == kNobody) return change;
  const size_t kind = std::string_view("vlru").find(text[0]);
  CHECK_NE(kind, std::string_view::npos) << text;
  constexpr Kind kKinds[] = {Kind::kAddVoter, Kind::kAddLearner, Kind::kRemove,
                             Kind::kUpdate};
  change.kind = kKinds[kind];
  return change;
}

std::string DescribeEntry(const LogEntry& entry) {
  std::string text = Cat(entry.term, "/", entry.index);
  if (entry.kind == kMembershipEntry) {
    const auto change = DecodeMembershipChange(entry.payload);
    return Cat(
        text, " EntryConfChange ",
        change.ok() ? DescribeChange(*change) : change.status().ToString());
  }
  return Cat(text, " EntryNormal \"", absl::CEscape(Av(entry.payload)), "\"");
}

std::string DescribeEntries(const std::vector<LogEntry>& entries) {
  std::string text;
  for (const LogEntry& entry : entries) text += DescribeEntry(entry) + "\n";
  return text;
}

std::string DescribeMessage(const Message& message) {
  // Of a refused append, the place is the append's and the term the hint's.
  EntryId log = message.prev;
  if (message.type == MessageType::kAppendResponse)
    log.term = message.hint.term;
  std::string text = absl::StrFormat(
      "%x->%x %s Term:%d Log:%d/%d", message.from, message.to,
      TypeName(message.type), message.term, log.term, log.index);
  if (message.rejected) {
    // Of votes, etcd-raft's have none.
    const bool append = message.type == MessageType::kAppendResponse;
    text += Cat(" Rejected (Hint: ", append ? message.hint.index : 0, ")");
  }
  if (message.commit != 0) text += Cat(" Commit:", message.commit);
  if (message.entries.size() == 1) {
    text += Cat(" Entries:[", DescribeEntry(message.entries[0]), "]");
  } else if (message.entries.size() > 1) {
    text += " Entries:[";
    for (const LogEntry& entry : message.entries) {
      text += Cat("\n  ", DescribeEntry(entry));
    }
    text += "\n]";
  }
  if (message.snapshot.has_value()) {
    text += Cat("\n  Snapshot: ", DescribeSnapshot(*message.snapshot));
  }
  return text;
}

std::string DescribeHardState(const HardState& state) {
  std::string text = Cat("Term:", state.term);
  if (state.vote != kNobody) text += Cat(" Vote:", state.vote);
  return Cat(text, " Commit:", state.commit);
}

std::string DescribeSnapshot(const SnapshotMeta& snapshot) {
  return Cat("Index:", snapshot.last.index, " Term:", snapshot.last.term,
             " ConfState:Voters:[", Ids(snapshot.membership, true),
             "] VotersOutgoing:[] Learners:[", Ids(snapshot.membership, false),
             "] LearnersNext:[] AutoLeave:false");
}

std::string DescribeProgress(const ProgressStatus& progress) {
  std::string text = "StateProbe";
  if (progress.state == ProgressStatus::State::kReplicate) {
    text = "StateReplicate";
  } else if (progress.state == ProgressStatus::State::kSnapshot) {
    text = "StateSnapshot";
  }
  text += Cat(" match=", progress.match, " next=", progress.next);
  if (progress.learner) text += " learner";
  if (progress.paused) text += " paused";
  if (progress.pending_snapshot > 0) {
    text += Cat(" pendingSnap=", progress.pending_snapshot);
  }
  if (!progress.recently_active) text += " inactive";
  if (progress.inflight > 0) {
    text += Cat(" inflight=", progress.inflight);
    if (progress.inflight_full) text += "[full]";
  }
  return text;
}

std::string DescribeMembership(const Membership& membership) {
  std::string text = Cat("voters=(", Ids(membership, true), ")");
  const std::string learners = Ids(membership, false);
  if (!learners.empty()) text += Cat(" learners=(", learners, ")");
  return text;
}

}  // namespace millrace::raft
