// What a master answers that does not lead. Without gRPC.
#ifndef MILLRACE_RPC_NOT_LEADER_H_
#define MILLRACE_RPC_NOT_LEADER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace millrace::rpc {

struct NotLeader {
  std::string leader_address;  // Empty: not known.
  uint64_t term = 0;
  // All masters of the group; empty: not known.
  std::vector<std::string> masters = {};
};

// kFailedPrecondition with the detail that LeaderChannel follows: what a master
// answers that does not lead. `why`: in place of the usual text.
absl::Status NotLeaderError(const NotLeader& not_leader,
                            std::string_view why = "");
// Null: the status is something else.
std::optional<NotLeader> AsNotLeader(const absl::Status& status);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_NOT_LEADER_H_
