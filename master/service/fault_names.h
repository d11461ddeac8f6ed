// How the fault points of a master are called that depend on what passes them:
// "propose.Decided", "apply.MapWon", "send.grant".
#ifndef MILLRACE_MASTER_SERVICE_FAULT_NAMES_H_
#define MILLRACE_MASTER_SERVICE_FAULT_NAMES_H_

#include <string_view>

#include "common/fault_point.h"
#include "common/strings.h"
#include "proto/messages/log_entry.pb.h"
#include "proto/messages/worker.pb.h"

namespace millrace::master {

std::string_view FaultName(const proto::LogEntry& entry);
std::string_view FaultName(const proto::MasterMessage& message);

// FaultPoint of "<where>.<name>"; costs a load where no fault is set.
template <typename Message>
void FaultPointOf(std::string_view where, const Message& message) {
  if (FaultsSet()) FaultPoint(Cat(where, ".", FaultName(message)));
}

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_FAULT_NAMES_H_
