#include "master/service/fault_names.h"

namespace millrace::master {

std::string_view FaultName(const proto::LogEntry& entry) {
  switch (entry.entry_case()) {
    case proto::LogEntry::kTermStarted:
      return "TermStarted";
    case proto::LogEntry::kJobSubmitted:
      return "JobSubmitted";
    case proto::LogEntry::kPlanned:
      return "Planned";
    case proto::LogEntry::kMapWon:
      return "MapWon";
    case proto::LogEntry::kReduceWon:
      return "ReduceWon";
    case proto::LogEntry::kDecided:
      return "Decided";
    case proto::LogEntry::kCommitted:
      return "Committed";
    case proto::LogEntry::kCleaned:
      return "Cleaned";
    default:
      return "other";
  }
}

std::string_view FaultName(const proto::MasterMessage& message) {
  if (message.has_welcome()) return "welcome";
  if (message.has_ack()) return "ack";
  if (message.has_drop_job()) return "drop_job";
  if (!message.has_grant()) return "other";
  switch (message.grant().task_case()) {
    case proto::Grant::kPlan:
      return "plan";
    case proto::Grant::kMap:
      return "map";
    case proto::Grant::kReduce:
      return "reduce";
    case proto::Grant::kCheck:
      return "check";
    case proto::Grant::kPublish:
      return "publish";
    default:
      return "other";
  }
}

}  // namespace millrace::master
