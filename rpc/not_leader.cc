#include "rpc/not_leader.h"

#include "absl/strings/cord.h"
#include "common/strings.h"
#include "proto/messages/client.pb.h"

namespace millrace::rpc {
namespace {

constexpr std::string_view kNotLeaderUrl =
    "type.googleapis.com/millrace.proto.NotLeader";

}  // namespace

absl::Status NotLeaderError(const NotLeader& not_leader, std::string_view why) {
  std::string text(why);
  if (text.empty()) {
    text = not_leader.leader_address.empty()
               ? "this master does not lead; the leader is not known"
               : Cat("this master does not lead; ", not_leader.leader_address,
                     " does");
  }
  absl::Status status = absl::FailedPreconditionError(Av(text));
  proto::NotLeader detail;
  for (const std::string& master : not_leader.masters) {
    detail.add_masters(master);
  }
  detail.set_leader_address(not_leader.leader_address);
  detail.set_term(not_leader.term);
  status.SetPayload(Av(kNotLeaderUrl), absl::Cord(detail.SerializeAsString()));
  return status;
}

std::optional<NotLeader> AsNotLeader(const absl::Status& status) {
  if (!absl::IsFailedPrecondition(status)) return std::nullopt;
  const auto payload = status.GetPayload(Av(kNotLeaderUrl));
  proto::NotLeader detail;
  if (!payload.has_value() || !detail.ParseFromString(std::string(*payload))) {
    return std::nullopt;
  }
  return NotLeader{detail.leader_address(),
                   detail.term(),
                   {detail.masters().begin(), detail.masters().end()}};
}

}  // namespace millrace::rpc
