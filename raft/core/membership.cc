#include "raft/core/membership.h"

#include <algorithm>
#include <utility>

#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"

// All numbers are little-endian.
//
//   change      u8 'C'  u8 version (1)  u8 kind  u64 node
//               u16 address length, address   u64 checksum
//   membership  u8 'M'  u8 version (1)  u16 members
//               { u64 node  u8 voter (0, 1)  u16 address length, address } ...
//               u64 checksum
//
// Members stand in ascending order. The checksum is XXH3-64 of all before it:
// entries have one in the log, snapshots in their chunks, but a membership that
// is read wrongly lets two majorities not meet.

namespace millrace::raft {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kChecksumBytes = 8;

void PutNumber(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    out.push_back(static_cast<char>(value >> (8 * i)));
  }
}

void PutAddress(std::string& out, const std::string& address) {
  PutNumber(out, address.size(), 2);
  out += address;
}

std::string WithChecksum(std::string bytes) {
  PutNumber(bytes, Hash64(bytes), kChecksumBytes);
  return bytes;
}

uint64_t NumberAt(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<uint8_t>(bytes[i]);
  }
  return value;
}

// Takes fields off the front; once something is missing, everything is.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  uint64_t Number(size_t bytes) { return NumberAt(Take(bytes)); }
  std::string Address() { return std::string(Take(Number(2))); }
  bool AllRead() const { return !short_ && left_.empty(); }

 private:
  std::string_view Take(size_t bytes) {
    if (bytes > left_.size()) {
      short_ = true;
      bytes = 0;
    }
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return taken;
  }

  std::string_view left_;
  bool short_ = false;
};

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(
      Av(Cat("raft: bytes that are no ", what, " were read as one")));
}

// What stands before the checksum, if that is right.
absl::StatusOr<std::string_view> Body(std::string_view bytes,
                                      std::string_view what) {
  if (bytes.size() < kChecksumBytes) return Damaged(what);
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  if (NumberAt(bytes.substr(body.size())) != Hash64(body)) return Damaged(what);
  return body;
}

absl::Status CheckMember(NodeId node, const std::string& address) {
  if (node == kNobody) {
    return absl::InvalidArgumentError("raft: a change of no member");
  }
  if (address.size() > kAddressBytesMax) {
    return absl::InvalidArgumentError(
        Av(Cat("raft: the address of member ", node, " has ", address.size(),
               " bytes; the most are ", kAddressBytesMax)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeMembershipChange(const MembershipChange& change) {
  std::string out = "C";
  PutNumber(out, kVersion, 1);
  PutNumber(out, static_cast<uint8_t>(change.kind), 1);
  PutNumber(out, change.node, 8);
  PutAddress(out, change.address);
  return WithChecksum(std::move(out));
}

absl::StatusOr<MembershipChange> DecodeMembershipChange(
    std::string_view bytes) {
  constexpr std::string_view kWhat = "change of membership";
  MR_ASSIGN_OR_RETURN(const std::string_view body, Body(bytes, kWhat));
  Fields fields(body);
  const bool known = fields.Number(1) == 'C' && fields.Number(1) == kVersion;
  const uint64_t kind = fields.Number(1);
  MembershipChange change;
  change.kind = static_cast<MembershipChange::Kind>(kind);
  change.node = fields.Number(8);
  change.address = fields.Address();
  if (!known || !fields.AllRead() ||
      kind > static_cast<uint64_t>(MembershipChange::Kind::kUpdate)) {
    return Damaged(kWhat);
  }
  return change;
}

std::string EncodeMembership(const Membership& membership) {
  std::string out = "M";
  PutNumber(out, kVersion, 1);
  PutNumber(out, membership.size(), 2);
  for (const auto& [node, member] : membership) {
    PutNumber(out, node, 8);
    PutNumber(out, member.voter ? 1 : 0, 1);
    PutAddress(out, member.address);
  }
  return WithChecksum(std::move(out));
}

absl::StatusOr<Membership> DecodeMembership(std::string_view bytes) {
  constexpr std::string_view kWhat = "membership";
  MR_ASSIGN_OR_RETURN(const std::string_view body, Body(bytes, kWhat));
  Fields fields(body);
  bool sound = fields.Number(1) == 'M' && fields.Number(1) == kVersion;
  const uint64_t members = fields.Number(2);
  Membership membership;
  NodeId last = kNobody;
  for (uint64_t i = 0; sound && i < members; ++i) {
    const NodeId node = fields.Number(8);
    const uint64_t voter = fields.Number(1);
    std::string address = fields.Address();
    sound = node > last && voter <= 1;
    membership[node] = {voter == 1, std::move(address)};
    last = node;
  }
  if (!sound || !fields.AllRead()) return Damaged(kWhat);
  return membership;
}

absl::StatusOr<Membership> ApplyChange(const Membership& membership,
                                       const MembershipChange& change) {
  using Kind = MembershipChange::Kind;
  Membership next = membership;
  if (change.kind == Kind::kNone) return next;
  MR_RETURN_IF_ERROR(CheckMember(change.node, change.address));
  switch (change.kind) {
    case Kind::kNone:
      break;
    case Kind::kAddVoter:
    case Kind::kAddLearner:
      next[change.node].voter = change.kind == Kind::kAddVoter;
      break;
    case Kind::kRemove:
      next.erase(change.node);
      break;
    case Kind::kUpdate:
      break;
  }
  const auto member = next.find(change.node);
  if (member != next.end() && !change.address.empty()) {
    member->second.address = change.address;
  }
  if (next.size() > kMembersMax) {
    return absl::InvalidArgumentError(
        Av(Cat("raft: a group has at most ", kMembersMax, " members")));
  }
  for (const auto& [node, of_node] : next) {
    if (of_node.voter) return next;
  }
  return absl::InvalidArgumentError(
      Av(Cat("raft: without member ", change.node,
             " the group would have no voter left")));
}

size_t CountVoters(const Membership& membership) {
  return static_cast<size_t>(
      std::count_if(membership.begin(), membership.end(),
                    [](const auto& member) { return member.second.voter; }));
}

}  // namespace millrace::raft
